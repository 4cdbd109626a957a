"""Layers as stacks for files: whatever a layer is, its grid, its visits and what made it are kept.

Our layers say what their axes are. Of others the axis labels count, then the units: lengths are
z, y and x, one axis before them is that of the visits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from napari.utils.transforms import Affine
from numpy.typing import NDArray

from napari_followup.plugin.layers.layers import AXES, WORDS, Source, about, series_of, voxel_of
from napari_followup.series.stack import VisitStack

__all__ = ["place_of", "plain_layer", "saved_axes", "stack_of", "subjects_of"]

TO_WORLD = np.eye(4)[[2, 1, 0, 3]]  # napari's (z, y, x) to our world's (x, y, z)
STILL = 1e-6  # voxels
LOCAL = ("scale", "translate", "rotate", "shear")
OF_IMPUTED = ("spread",)  # results that observed visits have none of


def plain_layer(data: Any, attributes: Mapping[str, Any]) -> SimpleNamespace:
    """Make of a layer's data and attributes what the functions below take; a thread may have it."""
    shape = (data[0] if attributes.get("multiscale") else data).shape
    return SimpleNamespace(**attributes, data=data, ndim=len(shape))


def subjects_of(layer: Any) -> list[str]:
    """Name the subjects of a layer; one that names none is called as its source, or as itself."""
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
        "image" or "labels"; kept in the provenance, for whoever opens the file.

    Returns
    -------
    VisitStack
        On the grid of the file that the layer came from, moved as the layer was moved since.

    Raises
    ------
    ValueError, TypeError
        If the axes are not clear, it is in colour, or a visit of what is no result of ours is
        partly NaN.
    """
    said = about(layer)
    source = _source(layer)
    affine, spacing = place_of(source)
    about_it = source.about | {"affine": affine.tolist()}
    source = replace(source, spacing=spacing, about=about_it)
    stack = series_of(source, subject, provenance=_said(said, kind)).stack
    modality = str(source.about.get("modality", source.about.get("result", "image")))
    names = stack.modalities if stack.shape[1] > 1 else (modality,)
    return replace(stack, modalities=names)


def place_of(source: Source) -> tuple[NDArray[np.float64], tuple[float, float, float]]:
    """Give the affine of the file that a layer came from, moved as the layer was moved since.

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
    if not np.allclose(moved, np.eye(4), rtol=0, atol=STILL):
        base = base @ moved
    z, y, x = np.linalg.norm(base[:3, :3], axis=0).tolist()
    return base, (z, y, x)


def saved_axes(layer: Any) -> str:
    """Say what the axes of a layer are, one letter each.

    Raises
    ------
    ValueError
        If that is not clear.
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
    """Take what is to be written, with an axis of visits."""
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


def _said(about: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Provenance for the file, and what the layer says that a series has no place for."""
    names = ("result", "source", "is_observed", "is_imputed")
    kept = {name: about[name] for name in names if name in about}
    return {**about.get("provenance", {}), "layer": {"kind": kind, **kept}}


def _example(ndim: int) -> Sequence[str]:
    return ("subject", "visit", "z", "y", "x")[-ndim:] if ndim != 3 else ("visit", "y", "x")
