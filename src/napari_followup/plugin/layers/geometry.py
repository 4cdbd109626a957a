"""Where a layer lies, once it has one axis less or more, or other voxels.

A geometry is what `Source` keeps of a layer: scale, translate, rotate, shear, affine, units and
axis labels, by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from napari.utils.transforms import Affine
from numpy.typing import NDArray

__all__ = ["on_voxels", "with_visits", "without_axis"]

Geometry = Mapping[str, Any]


def without_axis(geometry: Geometry, axis: int) -> dict[str, Any]:
    """Leave one axis out."""
    return {name: _without(name, value, axis) for name, value in geometry.items()}


def with_visits(geometry: Geometry) -> dict[str, Any]:
    """Put an axis of visits in front: scale 1, unit pixel, nothing turned."""
    size = len(geometry["scale"])
    shear = np.eye(size + 1)
    shear[1:, 1:] = _shear_matrix(np.asarray(geometry["shear"]), size)
    return {
        "scale": (1.0, *geometry["scale"]),
        "translate": (0.0, *geometry["translate"]),
        "rotate": _framed(np.asarray(geometry["rotate"])),
        "shear": shear,
        "affine": _framed(np.asarray(geometry["affine"])),
        "units": ("pixel", *geometry["units"]),
        "axis_labels": ("visit", *geometry["axis_labels"]),
    }


def on_voxels(geometry: Geometry, axes: str, voxels: NDArray[np.float64]) -> dict[str, Any]:
    """Keep the place in the world on a grid of other voxels.

    Parameters
    ----------
    geometry
        Of the layer.
    axes
        One letter an axis of it.
    voxels
        ``(4, 4)``, voxel (z, y, x) of the new grid to that of the old one, axis along axis.
    """
    ratio, start = np.ones(len(axes)), np.zeros(len(axes))
    for row, letter in enumerate("zyx"):
        if letter in axes:
            ratio[axes.index(letter)] = voxels[row, row]
            start[axes.index(letter)] = voxels[row, 3]
    parts = {name: geometry[name] for name in ("scale", "rotate", "shear")}
    linear = Affine(**parts, ndim=len(axes)).linear_matrix
    return {
        **geometry,
        "scale": tuple((np.asarray(geometry["scale"]) * ratio).tolist()),
        "translate": tuple((np.asarray(geometry["translate"]) + linear @ start).tolist()),
    }


def _without(name: str, value: Any, axis: int) -> Any:
    if name in ("units", "axis_labels"):
        return value[:axis] + value[axis + 1 :]
    value = np.asarray(value)
    if name == "shear" and value.ndim == 1:
        size = round((1 + np.sqrt(1 + 8 * len(value))) / 2)
        kept = np.delete(np.delete(_shear_matrix(value, size), axis, 0), axis, 1)
        return kept[np.triu_indices(size - 1, 1)]
    kept = np.delete(value, axis, 0)
    return np.delete(kept, axis, 1) if value.ndim == 2 else kept


def _shear_matrix(shear: NDArray[Any], size: int) -> NDArray[np.float64]:
    """Whole matrix: napari lists what stands above the diagonal."""
    if shear.ndim == 2:
        return shear
    whole = np.eye(size)
    whole[np.triu_indices(size, 1)] = shear
    return whole


def _framed(matrix: NDArray[Any]) -> NDArray[np.float64]:
    whole = np.eye(len(matrix) + 1)
    whole[1:, 1:] = matrix
    return whole
