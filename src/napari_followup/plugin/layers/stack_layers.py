"""Stacks as image layers, for the reader and the sample data.

Visits on different grids become one layer each (`visit_layers`): every image lies where its file
says, in the axes of the first. Its voxels are moved and scaled, not rotated; the file's affine is
in the metadata, where *Align visits* and *Longitudinal stack* read it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.utils.notifications import show_info
from numpy.typing import NDArray

from napari_followup.plugin.layers.layers import KEY, NAMES, LayerTuple
from napari_followup.plugin.layers.result_layers import MASK_COLORS
from napari_followup.series.stack import VisitStack

__all__ = [
    "apart_layers",
    "cohort_layers",
    "contrast_of",
    "stack_layers",
    "truth_layer",
    "visit_layers",
]

SAMPLE, MANY = 1_000_000, 100_000  # voxels used at most; more than this get percentiles
TRUTH_COLORS = {0: "transparent", 1: "#00d5c8", None: "#ffd60a"}


def stack_layers(stack: VisitStack) -> list[LayerTuple]:
    """Make one image layer a modality: ``(visit, z, y, x)``, or ``(visit, y, x)`` if planar.

    The visit axis has scale 1 and unit pixel, so that its slider counts visits. Ages are in the
    metadata.
    """
    return [
        _image_layer([stack], modality, _name(stack.subject, stack, modality))
        for modality in range(stack.shape[1])
    ]


def cohort_layers(stacks: Sequence[VisitStack], name: str = "cohort") -> list[LayerTuple]:
    """Put subjects of one shape into one layer; else make one layer a subject.

    ``(subject, visit, z, y, x)``, or ``(subject, visit, y, x)`` if planar.
    """
    first = stacks[0]
    alike = all(
        (stack.shape, stack.spacing, stack.unit) == (first.shape, first.spacing, first.unit)
        for stack in stacks
    )
    if len(stacks) == 1 or not alike:
        return [layer for stack in stacks for layer in stack_layers(stack)]
    return [
        _image_layer(stacks, modality, _name(name, first, modality), is_cohort=True)
        for modality in range(first.shape[1])
    ]


def truth_layer(stack: VisitStack, truth: NDArray[np.bool_], name: str) -> LayerTuple:
    """Make a mask ``(visit, z, y, x)`` a labels layer that lies on the series' image layer."""
    axes = _axes(stack)
    values = truth[:, 0] if "z" not in axes else truth
    shown = {"colormap": TRUTH_COLORS, "opacity": 0.8}
    attributes = {"name": name, **_placed([stack], axes), **shown}
    return values.astype(np.uint8), attributes, "labels"


def _image_layer(
    stacks: Sequence[VisitStack], modality: int, name: str, *, is_cohort: bool = False
) -> LayerTuple:
    first = stacks[0]
    axes = ("s" if is_cohort else "") + _axes(first)
    images = [s.images[:, modality] if "z" in axes else s.images[:, modality, 0] for s in stacks]
    data = np.stack(images) if is_cohort else images[0]
    attributes = {"name": name, **_placed(stacks, axes), "colormap": "gray"}
    attributes["metadata"][KEY]["modality"] = first.modalities[modality]
    if isinstance(saved := first.provenance.get("layer"), dict):
        return _saved_layer(data, attributes, saved)
    if isinstance(data, np.ndarray):
        attributes["contrast_limits"] = contrast_of(data)
    return data, attributes, "image"


def _saved_layer(data: Any, attributes: dict[str, Any], saved: dict[str, Any]) -> LayerTuple:
    """Restore the kind and the metadata of a layer that was saved."""
    about = attributes["metadata"][KEY]
    kept: dict[str, Any] = {name: saved[name] for name in ("result", "source") if name in saved}
    for name in ("is_observed", "is_imputed"):
        if np.shape(saved.get(name, 0)) == np.shape(about[name]):
            kept[name] = saved[name]
    attributes["metadata"] = {KEY: about | kept}
    if "result" in saved:
        attributes["name"] = f"{attributes['name']} {saved['result']}"
    if saved.get("kind") == "labels" and data.dtype.kind in "ui":
        return data, attributes | {"colormap": MASK_COLORS, "opacity": 0.6}, "labels"
    if isinstance(data, np.ndarray):
        attributes["contrast_limits"] = contrast_of(data)
    return data, attributes, "image"


def _placed(stacks: Sequence[VisitStack], axes: str) -> dict[str, Any]:
    """Scale, units, axis labels and metadata."""
    first = stacks[0]
    scale = dict(zip("zyx", first.spacing, strict=True))
    about: dict[str, Any] = {
        "axes": axes,
        "ages": [stack.ages.tolist() for stack in stacks],
        "is_observed": [stack.is_observed.tolist() for stack in stacks],
        "is_imputed": [(~stack.is_observed & ~stack.is_missing).tolist() for stack in stacks],
        "subject": [stack.subject for stack in stacks],
    }
    if "s" not in axes:
        about = {name: values if name == "axes" else values[0] for name, values in about.items()}
    about |= {"ages_known": all(s.ages_known for s in stacks), "affine": first.affine.tolist()}
    if provenance := {name: value for name, value in first.provenance.items() if name != "layer"}:
        about["provenance"] = provenance
    return {
        "scale": tuple(scale.get(letter, 1.0) for letter in axes),
        "units": tuple(first.unit if letter in scale else "pixel" for letter in axes),
        "axis_labels": tuple(NAMES[letter] for letter in axes),
        "metadata": {KEY: about},
    }


def _axes(stack: VisitStack) -> str:
    return "vyx" if stack.shape[2] == 1 else "vzyx"


def _name(name: str, stack: VisitStack, modality: int) -> str:
    return name if stack.shape[1] == 1 else f"{name} {stack.modalities[modality]}"


def contrast_of(data: NDArray[Any]) -> tuple[float, float]:
    """Contrast limits: darkest and brightest value, or percentiles of many values.

    napari itself uses the first visit only, which may be missing.
    """
    seen = data.ravel()[:: max(1, data.size // SAMPLE)]
    seen = seen[np.isfinite(seen)]
    shares = (0.5, 99.8) if seen.size >= MANY else (0.0, 100.0)
    low, high = np.percentile(seen, shares).tolist() if seen.size else (0.0, 1.0)
    return low, high if low < high else low + 1.0


APART = (
    "{}: the visits lie on different grids, so each is a layer of its own. Align visits registers "
    "them; Longitudinal stack resamples them onto the first visit's grid without registration."
)
NO_IMAGE = (
    "{}: the visit at {} has no image and so no layer. Align visits leaves it out; the command "
    "napari-followup align keeps it as a missing visit."
)
LEAST_ALONG = 0.8  # cosine of the largest angle between an axis and that of the first visit


def apart_layers(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> list[LayerTuple]:
    """Read visits that do not share a grid as one layer each.

    Parameters
    ----------
    path
        A table, a folder, or files with a visit each.

    Returns
    -------
    list of LayerTuple
        One a visit and modality; one a modality for subjects whose visits share a grid. Empty if
        those of all subjects do, or there is only one visit.

    Raises
    ------
    ReadError
        If a visit cannot be read.
    """
    by_subject: dict[str, list[VisitStack]] = {}
    for visit in _visits(path):
        by_subject.setdefault(visit.subject, []).append(visit)
    layers: list[LayerTuple] = []
    notes, apart = [], []
    for subject, visits in by_subject.items():
        joined = _joined(visits)
        apart += [subject] if joined is None else []
        notes += _without_image(visits) if joined is None else []
        layers += visit_layers(_seen(visits)) if joined is None else stack_layers(joined)
    if not apart:
        return []
    show_info(" ".join([APART.format(", ".join(apart)), *notes]))
    return layers


def visit_layers(visits: Sequence[VisitStack]) -> list[LayerTuple]:
    """Make one layer a visit and modality; `visits` of one subject by age, each on its own grid.

    On the visit axis, the first layer lies at 0, the second at 1, and so on.
    """
    layers = []
    for number, visit in enumerate(visits):
        corner = _corner(visit, visits[0])
        when = f", age {visit.ages[0]:.5g}" if visit.ages_known else ""
        for data, attributes, kind in stack_layers(visit):
            attributes["translate"] = (number, *corner[-(len(attributes["scale"]) - 1) :])
            attributes["name"] = f"{attributes['name']}, visit {number + 1}{when}"
            layers.append((data, attributes, kind))
    return layers


def _visits(path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[VisitStack]:
    from napari_followup.io import files_in, read_visits
    from napari_followup.io.kinds import TABLES, suffix_of

    if not isinstance(path, str | os.PathLike):
        return read_visits(path, keep_missing=True)
    given = Path(path)
    files = files_in(given) if given.is_dir() else [given]
    if not all(file == given or suffix_of(file) in TABLES for file in files):
        return []  # series in files of their own
    if given.is_file() and suffix_of(given) not in TABLES:
        return []
    return [visit for file in files for visit in read_visits(file, keep_missing=True)]


def _seen(visits: Sequence[VisitStack]) -> list[VisitStack]:
    """Leave out the visits without an image: they have no grid."""
    return [visit.select(~visit.is_missing) for visit in visits]


def _without_image(visits: Sequence[VisitStack]) -> list[str]:
    """Write a note for each visit without an image."""
    number, notes = 0, []
    for stack in visits:
        for age, is_missing in zip(stack.ages, stack.is_missing, strict=True):
            number += 1
            when = f"age {age:.5g}" if stack.ages_known else f"place {number}"
            notes += [NO_IMAGE.format(stack.subject, when)] if is_missing else []
    return notes


def _joined(visits: Sequence[VisitStack]) -> VisitStack | None:
    from napari_followup.io import ReadError, join_visits

    try:
        return join_visits(visits)
    except ReadError:
        return None


def _corner(visit: VisitStack, first: VisitStack) -> NDArray[np.float64]:
    """Place of the first voxel (z, y, x) in the viewer, exact for the middle of the image.

    Zero if the axes of the two differ too much, or no place in space is known.
    """
    if visit.unit != "mm" or first.unit != "mm":
        return np.zeros(3)
    between = np.linalg.inv(first.affine) @ visit.affine * np.array([[*first.spacing, 1.0]]).T
    along = between[:3, :3] / np.asarray(visit.spacing)
    if np.diag(along).min() < LEAST_ALONG:
        return np.zeros(3)
    middle = (np.asarray(visit.shape[2:]) - 1) / 2
    corner = (between @ [*middle, 1.0])[:3] - middle * np.asarray(visit.spacing)
    return np.asarray(np.round(corner, 6)) + 0.0  # no -0
