"""Save results and layers: the files, on the grid and with the visits and provenance of a layer.

Layers of this plugin name their axes. Of other layers, the axis labels decide, then the units: axes
in units of length are z, y and x, one axis before them is the visits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from napari.utils.transforms import Affine
from numpy.typing import NDArray

from napari_followup.io.formats import write_stack
from napari_followup.io.replacing import Parts, file_stem, write_json
from napari_followup.io.save_results import FORMATS, MAPS, lesion_rows, result_parts
from napari_followup.io.table import write_table
from napari_followup.plugin.layers.layers import (
    AXES,
    WORDS,
    LayerTuple,
    Series,
    Source,
    about,
    series_of,
    voxel_of,
)
from napari_followup.plugin.layers.result_layers import Found, mask_of
from napari_followup.series.results import Detection
from napari_followup.series.stack import VisitStack

__all__ = [
    "detection_parts",
    "layer_parts",
    "place_of",
    "plain_layer",
    "saved_axes",
    "stack_of",
    "subjects_of",
    "with_mask",
    "write_image",
    "write_labels",
]

TO_WORLD = np.eye(4)[[2, 1, 0, 3]]  # napari's (z, y, x) to our world's (x, y, z)
UNMOVED = 1e-6  # voxels
LOCAL = ("scale", "translate", "rotate", "shear")
OF_IMPUTED = ("spread",)  # results of imputed visits alone


def plain_layer(data: Any, attributes: Mapping[str, Any]) -> SimpleNamespace:
    """Layer for the functions below from its data and attributes; safe to use in a thread."""
    shape = (data[0] if attributes.get("multiscale") else data).shape
    return SimpleNamespace(**attributes, data=data, ndim=len(shape))


def subjects_of(layer: Any) -> list[str]:
    """Name the subjects of a layer: as it names them, else after its source or itself."""
    return _source(layer).subjects


def stack_of(layer: Any, subject: int = 0, kind: str = "image") -> VisitStack:
    """Make a stack of one subject of a layer.

    Parameters
    ----------
    layer
        As `plain_layer` gives it.
    subject
        Its number.
    kind
        "image" or "labels"; kept in the provenance.

    Returns
    -------
    VisitStack
        On the grid of the layer's file, moved as the layer was moved since.

    Raises
    ------
    ValueError, TypeError
        If the axes are unknown, the layer is in colour, or it is no result of this plugin and a
        visit is partly NaN.
    """
    said = about(layer)
    source = _source(layer)
    affine, spacing = place_of(source)
    about_it = source.about | {"affine": affine.tolist()}
    source = replace(source, spacing=spacing, about=about_it)
    stack = series_of(source, subject, provenance=_provenance(said, kind)).stack
    modality = str(source.about.get("modality", source.about.get("result", "image")))
    names = stack.modalities if stack.shape[1] > 1 else (modality,)
    return replace(stack, modalities=names)


def place_of(source: Source) -> tuple[NDArray[np.float64], tuple[float, float, float]]:
    """Affine of a layer's file, moved as the layer was moved since.

    Parameters
    ----------
    source
        The layer.

    Returns
    -------
    ndarray, tuple of float
        ``(4, 4)``, voxel (z, y, x) to world (x, y, z), and the size of a voxel, in ``source.unit``.
        The affine of a layer that was not moved is the file's to the last bit.
    """
    affine = source.about.get("affine")
    base = TO_WORLD if affine is None else np.asarray(affine, dtype=np.float64)
    sizes = np.array([1.0, 1.0, 1.0]) if affine is None else np.linalg.norm(base[:3, :3], axis=0)
    moved = np.linalg.inv(np.diag([*sizes, 1.0])) @ _to_space(source)
    if not np.allclose(moved, np.eye(4), rtol=0, atol=UNMOVED):
        base = base @ moved
    z, y, x = np.linalg.norm(base[:3, :3], axis=0).tolist()
    return base, (z, y, x)


def saved_axes(layer: Any) -> str:
    """Axes of a layer, one letter each.

    Raises
    ------
    ValueError
        If they are unknown.
    """
    labels = "".join(WORDS.get(str(label).lower(), " ") for label in layer.axis_labels)
    lengths = [unit.is_compatible_with("mm") for unit in layer.units]
    spatial = lengths[::-1].index(False) if False in lengths else len(lengths)
    by_units = "v" * (layer.ndim - spatial) + "zyx"[-spatial:] if spatial > 1 else ""
    by_count = "yx" if layer.ndim == 2 else ""
    for said in (str(about(layer).get("axes", "")), labels, by_units, by_count):
        if len(said) == layer.ndim == len(set(said)) and set("yx") <= set(said) <= set(AXES):
            return said
    raise ValueError(
        f"cannot tell what the {layer.ndim} axes of {layer.name!r} are; name them, as in "
        f"layer.axis_labels = {_example(layer.ndim)}, or give z, y and x a unit of length"
    )


def _source(layer: Any) -> Source:
    """Source of a layer, with an axis of visits."""
    if getattr(layer, "rgb", False):
        raise ValueError(f"{layer.name!r} is in colour; split it into channels and save them")
    axes, said = saved_axes(layer), about(layer)
    data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    spacing, unit = voxel_of(layer, axes)
    ages = said.get("ages") if said.get("ages_known", True) else None
    if said.get("result") in OF_IMPUTED:
        said = {name: value for name, value in said.items() if name != "is_observed"}
    if "v" not in axes:
        data, axes = data[None], f"v{axes}"
    return Source(
        name=str(said.get("source", layer.name)),
        data=data,
        axes=axes,
        ages=None if ages is None else np.asarray(ages, dtype=np.float64),
        geometry={name: getattr(layer, name) for name in (*LOCAL, "affine", "units")},
        about=said,
        spacing=spacing,
        unit=unit,
    )


def _to_space(source: Source) -> NDArray[np.float64]:
    """Matrix (4, 4) from voxels (z, y, x) to napari's world (z, y, x), in the source's unit."""
    given = source.geometry
    ndim = len(given["scale"])
    own = Affine(**{name: np.asarray(given[name]) for name in LOCAL}, ndim=ndim)
    whole = np.asarray(given["affine"]) @ own.affine_matrix
    axes = source.axes[-ndim:]  # the geometry may lack the axis of visits
    space = np.diag([*source.spacing, 1.0])
    there = [letter for letter in "zyx" if letter in axes]
    rows = [axes.index(letter) for letter in there]
    units = [given["units"][row] for row in rows]
    factors = [float((1 * unit).to("mm").magnitude) if source.unit == "mm" else 1 for unit in units]
    places = ["zyx".index(letter) for letter in there]
    space[np.ix_(places, places)] = whole[np.ix_(rows, rows)] * np.array(factors)[:, None]
    space[places, 3] = whole[rows, -1] * factors
    return space


def _provenance(about: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Provenance for the file, with what a series has no field for."""
    names = ("result", "source", "is_observed", "is_imputed")
    kept = {name: about[name] for name in names if name in about}
    return {**about.get("provenance", {}), "layer": {"kind": kind, **kept}}


def _example(ndim: int) -> Sequence[str]:
    return ("subject", "visit", "z", "y", "x")[-ndim:] if ndim != 3 else ("visit", "y", "x")


Writer = Callable[[Path], Any]


def detection_parts(found: Found, form: str, *, stages: bool = False) -> Parts:
    """List the files of a detection; of several subjects a folder each, and a common table.

    Parameters
    ----------
    found
        As segmented now.
    form
        One of `FORMATS`.
    stages
        Whether every stage of the score is written.

    Returns
    -------
    Parts
        How each file is written, by its path in the folder.
    """
    seen = [_placed(each, found.source) for each in found.detections if each is not None]
    taken: set[str] = set()
    parts: dict[str, Writer] = {}
    for each in seen:
        maps = (*MAPS, *each.scores) if stages else MAPS
        stem = file_stem(each.stack.subject, taken)
        place = f"{stem}/" if len(found.detections) > 1 else ""
        own = result_parts(each, format=form, maps=maps, name=stem)
        parts |= {f"{place}{name}": write for name, write in own.items()}
    if len(found.detections) > 1:
        parts["visits.csv"] = lambda path: write_table(
            path, [row for each in seen for row in lesion_rows(each)]
        )
    return parts


def layer_parts(layers: Sequence[LayerTuple], form: str) -> Parts:
    """List the files of results that are layers: each layer, and how it was made.

    Parameters
    ----------
    layers
        As ``layer.as_layer_data_tuple()`` gives them.
    form
        One of `FORMATS`.

    Returns
    -------
    Parts
        As from `detection_parts`.

    Raises
    ------
    ValueError
        If the axes of a layer are unknown.
    """
    parts: dict[str, Writer] = {}
    for data, attributes, kind in layers:
        layer = plain_layer(data, attributes)
        subjects, taken, said = subjects_of(layer), set[str](), about(layer)
        result = file_stem(str(said.get("result", "image")))
        for number, subject in enumerate(subjects):
            stem = file_stem(subject, taken)
            place = f"{stem}/{stem}" if len(subjects) > 1 else stem
            write = partial(_write_layer, layer, number, kind)
            parts[f"{place}_{result}{FORMATS[form]}"] = write
        start = "" if len(subjects) > 1 else f"{stem}_"
        made = {"source": said.get("source"), **said.get("provenance", {})}
        parts[f"{start}{result}_provenance.json"] = partial(write_json, values=made)
    return parts


def with_mask(found: Found, labels: NDArray[Any]) -> Found:
    """Give the detections the mask of its layer, if the layer was painted on.

    Parameters
    ----------
    found
        As segmented now.
    labels
        Data of the mask layer; of another shape, it belongs to another detection.

    Returns
    -------
    Found
        The same, or with other masks and ``"mask_edited"`` in their provenance.
    """
    mask = mask_of(found)
    if labels.shape != mask.shape or np.array_equal(labels != 0, mask != 0):
        return found
    detections = tuple(
        None if each is None or series is None else _painted(each, series, found.source, labels, n)
        for n, (each, series) in enumerate(zip(found.detections, found.series, strict=True))
    )
    return replace(found, detections=detections)


def _placed(detection: Detection, source: Source) -> Detection:
    """Add the layer's name to the provenance, and put the maps where the layer lies."""
    stack = detection.stack
    affine, spacing = place_of(source)
    if not np.allclose(affine, stack.affine, rtol=0, atol=1e-9):
        stack = stack.with_images(stack.images, affine=affine, spacing=spacing)
    provenance = {**detection.provenance, "source": source.name}
    return replace(detection, stack=stack, provenance=provenance)


def _painted(
    detection: Detection, series: Series, source: Source, labels: NDArray[Any], subject: int
) -> Detection:
    letters = [letter for letter in AXES if letter in source.axes]
    moved = labels.transpose([source.axes.index(letter) for letter in letters])
    whole = moved[tuple(slice(None) if letter in letters else None for letter in AXES)]
    mask = (whole[subject, series.order] != 0).any(axis=1)
    provenance = {**detection.provenance, "mask_edited": True}
    return replace(detection, mask=mask, provenance=provenance)


def _write_layer(layer: Any, subject: int, kind: str, path: Path) -> None:
    write_stack(path, stack_of(layer, subject, kind))


def write_image(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write an image layer, as napari hands it over; give the files that were written.

    Raises
    ------
    RuntimeError
        If its axes are unknown, or the format cannot hold it.
    OSError
        If nothing can be written there.
    """
    return _write(path, data, attributes, "image")


def write_labels(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a labels layer; as `write_image`."""
    return _write(path, data, attributes, "labels")


def _write(path: str, data: Any, attributes: Mapping[str, Any], kind: str) -> list[str]:
    from napari_followup.io import write_stack
    from napari_followup.io.npz import write_npz_cohort

    layer = plain_layer(data, attributes)
    try:
        stacks = [stack_of(layer, n, kind) for n in range(len(subjects_of(layer)))]
        if len(stacks) == 1:
            write_stack(path, stacks[0])
        elif path.lower().endswith(".npz"):
            write_npz_cohort(path, stacks)
        else:
            raise ValueError(
                f"{layer.name!r} holds {len(stacks)} subjects, this format one; save as .npz, or "
                "use the button Save results, which writes one folder a subject"
            )
    except (TypeError, ValueError) as error:
        # napari takes a ValueError for "no writer found" and drops its text.
        raise RuntimeError(f"{Path(path).name!r} was not written: {error}") from error
    return [path]
