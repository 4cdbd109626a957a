"""Where in a layer the viewer's sliders stand, and how to move them to a visit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["covers", "go_to_visit", "position"]


def position(viewer: Any, layer: Any, axes: str) -> dict[str, int]:
    """One index for each letter of `axes`, kept inside the layer."""
    inside = np.clip(_index(viewer, layer), 0, _sizes(layer) - 1)
    return dict(zip(axes, inside.tolist(), strict=True))


def covers(viewer: Any, layer: Any, axes: str) -> bool:
    """Whether the visit slider stands inside a layer; so it does where it has no such axis."""
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
