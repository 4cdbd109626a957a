"""Where in a layer the viewer's sliders stand, and how to move them to a visit."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["go_to_visit", "position"]


def position(viewer: Any, layer: Any, axes: str) -> dict[str, int]:
    """One index for each letter of `axes`, kept inside the layer."""
    found = np.rint(np.asarray(layer.world_to_data(viewer.dims.point)[-layer.ndim :], dtype=float))
    shape = layer.data[0].shape if getattr(layer, "multiscale", False) else layer.data.shape
    inside = np.clip(found.astype(int), 0, np.asarray(shape[: layer.ndim]) - 1)
    return dict(zip(axes, inside.tolist(), strict=True))


def go_to_visit(viewer: Any, layer: Any, axes: str, visit: int) -> None:
    """Move the visit slider to an index of the layer's visit axis."""
    axis = axes.index("v")
    point = np.asarray(layer.world_to_data(viewer.dims.point)[-layer.ndim :], dtype=float)
    point[axis] = visit
    viewer.dims.set_point(viewer.dims.ndim - layer.ndim + axis, layer.data_to_world(point)[axis])
