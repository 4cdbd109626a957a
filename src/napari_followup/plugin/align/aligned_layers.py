"""Aligned series as layers that lie on the reference's, with all that was done to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.plugin.align.gathered import Gathered
from napari_followup.plugin.layers.layers import (
    LayerTuple,
    Series,
    Source,
    on_voxels,
    result_layer,
    to_layer_axes,
)
from napari_followup.plugin.layers.stack_layers import contrast_of
from napari_followup.plugin.layers.visits import of_one_visit
from napari_followup.series.stack import VisitStack

__all__ = ["aligned_layers"]

MASK_COLORS = {0: "transparent", 1: "#00d5c8", None: "#ffd60a"}


def aligned_layers(
    visits: Gathered,
    reference: int,
    grid: VisitStack,
    stack: VisitStack,
    mask: NDArray[np.bool_] | None = None,
    *,
    settings: Mapping[str, Any],
) -> list[LayerTuple]:
    """Make layers of a stack that came of several layers, or of one.

    Parameters
    ----------
    visits
        The layers it came of.
    reference
        Position by age of the visit on whose layer they are to lie.
    grid
        That layer's stack.
    stack
        The result, perhaps of other voxels than `grid`, axis along axis.
    mask
        ``(z, y, x)`` bool, on the grid of `stack`.
    settings
        For the provenance.

    Returns
    -------
    list of LayerTuple
        An image a modality, then the mask as labels if there is one.
    """
    group = visits.groups[visits.places[reference][0]]
    said = _provenance(visits, stack, settings)
    series = Series(stack=stack, order=visits.order)
    layers = []
    for number, source in enumerate(group):
        target = _target(source, visits, grid, series)
        images = np.asarray(stack.images)
        images = images if "m" in source.axes else images[:, number]
        data = to_layer_axes(target, [series], [images])
        shown = {
            "colormap": source.display.get("colormap", "gray"),
            "contrast_limits": contrast_of(data),
        }
        layers.append(result_layer(target, data, "aligned", "image", said, **shown))
    if mask is not None:
        layers.append(_mask_layer(_target(group[0], visits, grid, series), mask, said))
    return layers


def _target(source: Source, visits: Gathered, grid: VisitStack, series: Series) -> Source:
    """Give the reference's source the visits and the grid of the results."""
    stack = series.stack
    sizes = dict(zip("vmzyx", stack.shape, strict=True))
    place = np.argsort(series.order)
    rows = {
        "ages": stack.ages,
        "is_observed": stack.is_observed,
        "is_imputed": ~stack.is_observed & ~stack.is_missing,
    }
    said = {name: values[place].tolist() for name, values in rows.items()}
    voxels = np.linalg.inv(grid.affine) @ stack.affine
    return replace(
        source,
        name=source.name if len(visits.groups) == 1 else _shared_name(source, stack),
        data=np.broadcast_to(np.float32(0), tuple(sizes[letter] for letter in source.axes)),
        ages=np.asarray(said["ages"]) if stack.ages_known else None,
        geometry=_from_first_visit(on_voxels(source.geometry, source.axes, voxels), source.axes),
        about={**source.about, **said, "affine": stack.affine.tolist()},
    )


def _from_first_visit(geometry: dict[str, Any], axes: str) -> dict[str, Any]:
    """Begin at the visit slider's zero: a layer that held one visit may lie at its own place."""
    translate = np.array(geometry["translate"], dtype=float)
    translate[axes.index("v")] = 0.0
    return {**geometry, "translate": tuple(translate.tolist())}


def _shared_name(source: Source, stack: VisitStack) -> str:
    """Name for the visits of several layers: the subject's, and the modality's of several."""
    if "subject" not in source.about:
        return source.name
    modality = source.about.get("modality", "")
    return stack.subject if len(stack.modalities) == 1 else f"{stack.subject} {modality}".strip()


def _mask_layer(target: Source, mask: NDArray[np.bool_], said: dict[str, Any]) -> LayerTuple:
    """Mask as labels, the same at every visit."""
    target = of_one_visit(target)
    mask = mask if "z" in target.axes else mask[0]
    colors = {"colormap": MASK_COLORS, "opacity": 0.4, "visible": False}
    return result_layer(target, mask.astype(np.uint8), "brain mask", "labels", said, **colors)


def _provenance(visits: Gathered, stack: VisitStack, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Software, layers, settings, and each step with what came of it."""
    said = dict(stack.provenance)
    return {
        **said,
        "software": "napari-followup",
        "version": version("napari-followup"),
        "layers": [source.name for source in visits.sources],
        "settings": dict(settings),
        "notes": _notes(visits, said),
    }


def _notes(visits: Gathered, said: dict[str, Any]) -> list[str]:
    """Say what the user should know of each visit, and of the layers."""
    names = visits.subjects
    notes = [f"taken as one subject: {' and '.join(names)}"] if len(names) > 1 else []
    last = next((s for s in reversed(said.get("steps", [])) if s["step"] == "align"), None)
    for visit in () if last is None else last["visits"]:
        notes.append(f"{visit['visit']}: {'; '.join([*_moved(visit), *visit['notes']])}")
    return notes


def _moved(visit: Mapping[str, Any]) -> list[str]:
    """Say how far a visit was moved; nothing of the reference, and of a missing one."""
    moved = visit.get("mean_displacement")
    if not moved:
        return []
    return [f"moved by {moved:.1f} mm on average, correlation {visit['correlation']:.2f}"]
