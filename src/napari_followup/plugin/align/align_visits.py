"""Align visits: bring the visits of one subject onto one grid, ready to compare.

`align_visits` takes napari layers and returns layer data tuples; it needs no window. The widget
*Align visits* makes its controls from the annotations of `align_visits` and runs it in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray

from napari_followup.plugin.align.gathered import Gathered, gather
from napari_followup.plugin.layers.layers import (
    GivenMask,
    LayerTuple,
    Series,
    Source,
    given_mask,
    on_voxels,
    result_layer,
    to_layer_axes,
)
from napari_followup.plugin.layers.stack_layers import contrast_of
from napari_followup.plugin.layers.visits import of_one_visit
from napari_followup.plugin.run.report import Report
from napari_followup.series.grid import resampled
from napari_followup.series.stack import VisitStack, add_step

__all__ = ["align_visits"]

UNSAVED = ("layers", "report")  # arguments that are no settings for the provenance
MASK_COLORS = {0: "transparent", 1: "#00d5c8", None: "#ffd60a"}
Mask = NDArray[np.bool_] | None  # (z, y, x), or (visit, z, y, x)


def align_visits(
    layers: Sequence[Image] | Gathered,
    reference: int | None = None,
    *,
    register: bool = True,
    modality: int = 0,
    interpolation: Literal["nearest", "linear", "cubic"] = "linear",
    seed: int = 0,
    spacing: float | None = None,
    even_shading: bool = False,
    mask: Literal["none", "brain"] | Labels | GivenMask | None = "none",
    blank_outside: bool = True,
    percentile: float | None = None,
    margin: float | None = None,
    report: Report | None = None,
) -> list[LayerTuple]:
    """Bring visits onto one grid, and prepare their intensities.

    The steps are taken in this order: registration, voxel size, shading, mask, intensities, field
    of view.

    Parameters
    ----------
    layers
        Layers of one subject: one layer that holds all visits, its modalities, or a layer a visit;
        or what `gather` made of them.
    reference
        The visit that stays in place, counted from 0 by age. Its grid is the result's. Without it,
        the first visit that has an image.
    register
        Register every visit to the reference (rigid) and resample it; else resample only.
    modality
        Used for the registration and the brain mask; the other modalities follow.
    interpolation
        How images are resampled.
    seed
        Chooses the voxels that the registration samples.
    spacing
        Size of isotropic voxels, in the layer's unit; without it, the reference's voxels.
    even_shading
        Correct the smooth shading of the scanner (N4 bias field correction).
    mask
        Region to keep, on the grid of the reference: none, a rough brain mask, or labels.
    blank_outside
        Set voxels outside the mask to 0.
    percentile
        Percentile of each image's foreground that becomes 1; without it, intensities stay.
    margin
        Crop to the mask, or to the subject, with this margin in the layer's unit.
    report
        Progress and stop.

    Returns
    -------
    list of LayerTuple
        One image a modality, and the mask as labels if there is one. They lie on the reference's
        layer; their provenance names the steps and the visits.

    Raises
    ------
    ImportError
        If SimpleITK is needed and not installed.
    ValueError
        If there is one visit to register, or a step cannot be done; the message names it.
    Cancelled
        If the report was stopped.
    """
    settings = {name: value for name, value in locals().items() if name not in UNSAVED}
    settings["mask"] = mask if isinstance(mask, str) else "given"
    from napari_followup.alignment.preprocess import bias_corrected, masked, scaled

    visits = layers if isinstance(layers, Gathered) else gather(layers)
    report = report or Report()
    report.phase("Reading the visits")
    stacks = visits.stacks()
    place = _reference(visits, stacks, reference, register)
    grid = stacks[visits.places[place][0]]
    stack = _on_one_grid(stacks, grid, place, settings, report)
    found = None if isinstance(mask, str) else _given(visits, mask, place, register)
    if spacing is not None:
        report.phase("Resampling to isotropic voxels")
        stack, found = _respaced(stack, found, spacing, interpolation)
    if even_shading:
        report.phase("Correcting the shading")
        stack = bias_corrected(stack, mask=found, on_step=report)
    if mask == "brain":
        report.phase("Computing the brain mask")
        found = _brain(stack, modality)
    if found is not None and blank_outside:
        stack = masked(stack, found)
    if percentile is not None:
        report.phase("Scaling the intensities")
        stack = scaled(stack, percentile=percentile)
    if margin is not None:
        report.phase("Cropping to the subject")
        stack, found = _cropped(stack, found, margin)
    report.phase("Making the layers")
    return _layers(visits, place, grid, stack, found, settings)


def _reference(
    visits: Gathered, stacks: Sequence[VisitStack], reference: int | None, register: bool
) -> int:
    """Position by age of the visit whose grid is taken."""
    if register and len(visits.places) < 2:
        raise ValueError(
            "there is one visit only; check the layers of two or more, choose a layer with "
            "several visits, or leave registration out"
        )
    if reference is not None:
        return reference
    if len(stacks) == 1:
        return int(np.argmin(stacks[0].is_missing))  # the first that is not
    missing = [bool(stacks[group].is_missing.all()) for group, *_ in visits.places]
    return missing.index(False)


def _on_one_grid(
    stacks: Sequence[VisitStack],
    grid: VisitStack,
    reference: int,
    settings: Mapping[str, Any],
    report: Report,
) -> VisitStack:
    """Make one stack of all visits: registered, or resampled in place."""
    from napari_followup.alignment.align import align, check_alike
    from napari_followup.alignment.resample import regridded

    if settings["register"]:
        names = ("modality", "interpolation", "seed")
        chosen = {name: settings[name] for name in names}
        return align(stacks, reference=reference, on_step=_registering(report), **chosen)
    if len(stacks) == 1:
        return stacks[0]
    report.phase("Resampling onto one grid")
    check_alike(stacks)
    interpolation = settings["interpolation"]
    parts = [
        stack if stack is grid else regridded(stack, like=grid, interpolation=interpolation)
        for stack in stacks
    ]
    return replace(
        grid,
        images=np.concatenate([np.asarray(part.images, np.float32) for part in parts]),
        ages=np.concatenate([part.ages for part in parts]),
        is_observed=np.concatenate([part.is_observed for part in parts]),
        provenance=add_step(
            grid.provenance,
            "regridded",
            interpolation=interpolation,
            visits=[part.provenance.get("steps", [])[-1:] for part in parts],
        ),
    )


def _registering(report: Report) -> Callable[[int, int], bool]:
    """Report which visit is being registered."""
    from napari_followup.alignment.rigid import LEVELS

    report.phase("Registering")

    def step(done: int, total: int) -> bool:
        count = total // len(LEVELS)
        report.detail(f"visit {min(done // len(LEVELS) + 1, count)} of {count} that are moved")
        return report(done, total)

    return step


def _given(
    visits: Gathered, mask: Labels | GivenMask | None, reference: int, register: bool
) -> NDArray[np.bool_]:
    """Take the reference's mask; the union of all visits' masks if a stack is not registered."""
    group, visit, _ = visits.places[reference]
    moves = register or len(visits.groups) > 1
    return given_mask(mask).on(visits.groups[group][0], visit if moves else None)


def _respaced(
    old: VisitStack, mask: Mask, spacing: float, interpolation: str
) -> tuple[VisitStack, Mask]:
    from napari_followup.alignment.resample import regridded

    stack = regridded(old, spacing=spacing, interpolation=interpolation)
    if mask is not None:
        voxels = np.linalg.inv(old.affine) @ stack.affine
        mask = resampled(mask, voxels, stack.shape[2:], interpolation="nearest")[0] > 0
    return stack, mask


def _brain(stack: VisitStack, modality: int) -> NDArray[np.bool_]:
    from napari_followup.alignment.preprocess import brain_mask

    mask = np.asarray(brain_mask(stack, modality=modality).any(axis=0))
    if not mask.any():
        raise ValueError(
            f"no brain was found in {stack.subject!r}; give a mask as labels, or take none"
        )
    return mask


def _cropped(old: VisitStack, mask: Mask, margin: float) -> tuple[VisitStack, Mask]:
    from napari_followup.alignment.resample import cropped

    stack = cropped(old, mask=mask, margin=margin)
    if mask is not None:
        cut = stack.provenance["steps"][-1]
        mask = mask[tuple(slice(*ends) for ends in zip(cut["start"], cut["stop"], strict=True))]
    return stack, mask


def _layers(
    visits: Gathered,
    reference: int,
    grid: VisitStack,
    stack: VisitStack,
    mask: Mask,
    settings: Mapping[str, Any],
) -> list[LayerTuple]:
    """Make the layers of a result on the layer of its reference, whose stack was `grid`."""
    group = visits.groups[visits.places[reference][0]]
    provenance = _provenance(visits, stack, settings)
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
        layers.append(result_layer(target, data, "aligned", "image", provenance, **shown))
    if mask is not None:
        layers.append(_mask_layer(_target(group[0], visits, grid, series), mask, provenance))
    return layers


def _target(source: Source, visits: Gathered, grid: VisitStack, series: Series) -> Source:
    """Describe the result as a source: the reference's layer with all visits, on their grid."""
    stack = series.stack
    sizes = dict(zip("vmzyx", stack.shape, strict=True))
    place = np.argsort(series.order)
    rows = {
        "ages": stack.ages,
        "is_observed": stack.is_observed,
        "is_imputed": ~stack.is_observed & ~stack.is_missing,
    }
    entries = {name: values[place].tolist() for name, values in rows.items()}
    voxels = np.linalg.inv(grid.affine) @ stack.affine
    return replace(
        source,
        name=source.name if len(visits.groups) == 1 else _shared_name(source, stack),
        data=np.broadcast_to(np.float32(0), tuple(sizes[letter] for letter in source.axes)),
        ages=np.asarray(entries["ages"]) if stack.ages_known else None,
        geometry=_from_first_visit(on_voxels(source.geometry, source.axes, voxels), source.axes),
        about={**source.about, **entries, "affine": stack.affine.tolist()},
    )


def _from_first_visit(geometry: dict[str, Any], axes: str) -> dict[str, Any]:
    """Start at visit 0: a layer of one visit may lie at that visit's place on the slider."""
    translate = np.array(geometry["translate"], dtype=float)
    translate[axes.index("v")] = 0.0
    return {**geometry, "translate": tuple(translate.tolist())}


def _shared_name(source: Source, stack: VisitStack) -> str:
    """Name the result of several layers: the subject, and the modality if there are several."""
    if "subject" not in source.about:
        return source.name
    modality = source.about.get("modality", "")
    return stack.subject if len(stack.modalities) == 1 else f"{stack.subject} {modality}".strip()


def _mask_layer(target: Source, mask: NDArray[np.bool_], provenance: dict[str, Any]) -> LayerTuple:
    """Mask as labels, the same at every visit."""
    target = of_one_visit(target)
    mask = mask if "z" in target.axes else mask[0]
    colors = {"colormap": MASK_COLORS, "opacity": 0.4, "visible": False}
    return result_layer(target, mask.astype(np.uint8), "brain mask", "labels", provenance, **colors)


def _provenance(visits: Gathered, stack: VisitStack, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Collect software, layers, settings, and the steps with their results."""
    provenance = dict(stack.provenance)
    return {
        **provenance,
        "software": "napari-followup",
        "version": version("napari-followup"),
        "layers": [source.name for source in visits.sources],
        "settings": dict(settings),
        "notes": _notes(visits, provenance),
    }


def _notes(visits: Gathered, provenance: dict[str, Any]) -> list[str]:
    """Write what the user should know of the layers and of each visit."""
    names = visits.subjects
    notes = [f"taken as one subject: {' and '.join(names)}"] if len(names) > 1 else []
    last = next((s for s in reversed(provenance.get("steps", [])) if s["step"] == "align"), None)
    for visit in () if last is None else last["visits"]:
        notes.append(f"{visit['visit']}: {'; '.join([*_moved(visit), *visit['notes']])}")
    return notes


def _moved(visit: Mapping[str, Any]) -> list[str]:
    """Write how far a visit was moved; nothing for the reference and for a missing visit."""
    moved = visit.get("mean_displacement")
    if not moved:
        return []
    return [f"moved by {moved:.1f} mm on average, correlation {visit['correlation']:.2f}"]
