"""The visits of a layer: observed, imputed or missing; and where the viewer's sliders are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.plugin.layers.layers import Source, without_axis
from napari_followup.series.stack import VisitStack

__all__ = [
    "IMPUTED",
    "OBSERVED",
    "covers",
    "entry",
    "go_to_visit",
    "of_one_visit",
    "one_subject",
    "outline",
    "position",
    "visit_kind",
    "visit_kinds",
]

OBSERVED, IMPUTED, MISSING, UNSEEN = "observed", "imputed", "missing", "not observed"


def entry(values: Any, subject: int | None, visit: int) -> Any:
    """Value at a visit, from the subject's row if there are rows; None if there is no value."""
    if values is not None and subject is not None and np.ndim(values) == 2:
        values = values[subject] if subject < len(values) else None
    return values[visit] if values is not None and visit < len(values) else None


def visit_kind(data: Any, meta: Mapping[str, Any], where: Mapping[str, int]) -> str:
    """Kind of one visit, by the layer's metadata and, if they do not tell, by one plane.

    Parameters
    ----------
    data
        The layer's data, perhaps lazy.
    meta
        Metadata of the layer's visits, with ``"axes"``.
    where
        One index for each axis; those of y and x do not matter.

    Returns
    -------
    str
        ``"observed"``, ``"imputed"``, ``"missing"``, or ``"not observed"`` if it is one of the last
        two and a mask cannot tell which.
    """
    visit, subject = where["v"], where.get("s")
    is_observed = entry(meta.get("is_observed"), subject, visit)
    is_imputed = entry(meta.get("is_imputed"), subject, visit)
    if is_imputed:
        return IMPUTED
    if is_observed:
        return OBSERVED
    if is_observed is not None and is_imputed is not None:
        return MISSING
    if data.dtype.kind == "f" and _is_blank(data, str(meta["axes"]), where):
        return MISSING
    if is_observed is None:
        return OBSERVED
    return UNSEEN if "result" in meta and data.dtype.kind != "f" else IMPUTED


def visit_kinds(data: Any, meta: Mapping[str, Any], where: Mapping[str, int]) -> list[str]:
    """Kinds of all visits of the subject at `where`, as `visit_kind`.

    A lazy array without metadata is not loaded: all its visits count as observed.
    """
    count = data.shape[str(meta["axes"]).index("v")]
    if meta.get("is_observed") is None and not isinstance(data, np.ndarray):
        return [OBSERVED] * count
    return [visit_kind(data, meta, {**where, "v": visit}) for visit in range(count)]


def outline(source: Source, subject: int = 0) -> VisitStack:
    """Make a series of single pixels with a subject's ages and missing visits; loads no image.

    Raises
    ------
    ValueError, TypeError
        As `VisitStack.from_array`.
    """
    where = dict.fromkeys(source.axes, 0) | ({"s": subject} if "s" in source.axes else {})
    kinds = np.array(visit_kinds(source.data, {**source.about, "axes": source.axes}, where))
    images = np.where(kinds == MISSING, np.nan, 0.0).astype(np.float32)
    ages = source.ages
    return VisitStack.from_array(
        images[:, None, None],
        ages=ages[subject] if ages is not None and ages.ndim == 2 else ages,
        is_observed=kinds == OBSERVED,
        subject=source.subjects[subject],
    )


def one_subject(source: Source, subject: int) -> Source:
    """Take one subject out of a source of several, with its place in space."""
    axis, name = source.axes.index("s"), source.subjects[subject]
    own = {
        key: source.about[key][subject]
        for key in ("ages", "is_observed", "is_imputed")
        if np.ndim(source.about.get(key, 0)) == 2
    }
    ages = source.ages
    return replace(
        source,
        name=f"{source.name} {name}",
        data=source.data[(slice(None),) * axis + (subject,)],
        axes=source.axes.replace("s", ""),
        ages=ages[subject] if ages is not None and ages.ndim == 2 else ages,
        geometry=without_axis(source.geometry, axis),
        about={**source.about, **own, "subject": name, "axes": source.axes.replace("s", "")},
    )


def of_one_visit(source: Source) -> Source:
    """Remove the axis of visits, for a result that is the same at all of them."""
    axis = source.axes.index("v")
    kept = ("subject", "affine")
    own: dict[str, Any] = {name: source.about[name] for name in kept if name in source.about}
    return replace(
        source,
        data=source.data[(slice(None),) * axis + (0,)],
        axes=source.axes.replace("v", ""),
        ages=None,
        geometry=without_axis(source.geometry, axis),
        about=own,
    )


def _is_blank(data: Any, axes: str, where: Mapping[str, int]) -> bool:
    """Whether all pixels of the plane at `where` are NaN."""
    plane = np.asarray(data[tuple(slice(None) if a in "yx" else where[a] for a in axes)])
    return bool(np.isnan(plane.flat[0]) and np.isnan(plane).all())


def position(viewer: Any, layer: Any, axes: str) -> dict[str, int]:
    """Where the sliders are in a layer: one index a letter of `axes`, clipped to the layer."""
    inside = np.clip(_index(viewer, layer), 0, _sizes(layer) - 1)
    return dict(zip(axes, inside.tolist(), strict=True))


def covers(viewer: Any, layer: Any, axes: str) -> bool:
    """Whether the visit slider is inside a layer; True without an axis of visits."""
    if "v" not in axes or len(axes) != layer.ndim:
        return True
    visit = axes.index("v")
    return bool(0 <= _index(viewer, layer)[visit] < _sizes(layer)[visit])


def _index(viewer: Any, layer: Any) -> NDArray[np.intp]:
    point = np.asarray(layer.world_to_data(viewer.dims.point)[-layer.ndim :], dtype=float)
    index: NDArray[np.intp] = np.rint(point).astype(np.intp)
    return index


def _sizes(layer: Any) -> NDArray[np.intp]:
    shape = layer.data[0].shape if getattr(layer, "multiscale", False) else layer.data.shape
    return np.asarray(shape[: layer.ndim])


def go_to_visit(viewer: Any, layer: Any, axes: str, visit: int) -> None:
    """Move the visit slider to an index of the layer's visit axis."""
    axis = axes.index("v")
    point = np.asarray(layer.world_to_data(viewer.dims.point)[-layer.ndim :], dtype=float)
    point[axis] = visit
    viewer.dims.set_point(viewer.dims.ndim - layer.ndim + axis, layer.data_to_world(point)[axis])
