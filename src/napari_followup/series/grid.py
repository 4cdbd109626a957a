"""Voxel grids: where voxels lie in the world, and images brought from one grid onto another.

An affine takes voxel (z, y, x) to world (x, y, z); two of them give the matrix from the voxels of
one grid to those of another, which is all that resampling needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import affine_transform, gaussian_filter

__all__ = ["ORDERS", "SAME_PLACE", "apart", "background", "resampled", "spacing_of"]

SAME_PLACE = 0.01  # largest distance in voxels at which two grids count as one
ORDERS: dict[str, Literal[0, 1, 3]] = {"nearest": 0, "linear": 1, "cubic": 3}


def resampled(
    image: ArrayLike,
    voxels: NDArray[np.float64],
    shape: Sequence[int],
    *,
    interpolation: str = "linear",
    fill: float = 0.0,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Bring an image onto another grid.

    Parameters
    ----------
    image
        ``(z, y, x)``.
    voxels
        ``(4, 4)``, voxel (z, y, x) of the new grid to voxel (z, y, x) of `image`.
    shape
        Of the new grid, ``(z, y, x)``.
    interpolation
        "nearest", "linear" or "cubic". Onto larger voxels the image is smoothed first, except for
        "nearest", which keeps labels what they are.
    fill
        Value of the new voxels that lie outside `image`.

    Returns
    -------
    tuple of NDArray
        The new image, float32, and which of its voxels lie inside the old one, bool.

    Raises
    ------
    ValueError
        If `interpolation` is none of these.
    """
    if interpolation not in ORDERS:
        raise ValueError(f"interpolation: got {interpolation!r}; give one of {', '.join(ORDERS)}")
    values = np.asarray(image, dtype=np.float32)
    inside = _inside(voxels, shape, values.shape)
    if interpolation != "nearest":
        values = _without_detail(values, voxels)
    # Up to half a voxel beyond the outermost centres still belongs to the image: its edge is
    # repeated there, where affine_transform's own fill would begin at the centres.
    values = affine_transform(
        values,
        voxels[:3, :3],
        voxels[:3, 3],
        output_shape=tuple(shape),
        order=ORDERS[interpolation],
        mode="nearest",
    )
    return np.where(inside, values, np.float32(fill)), inside


def background(image: ArrayLike) -> float:
    """Intensity of what surrounds the subject: the first percentile, the dark end without noise."""
    return float(np.percentile(np.asarray(image), 1.0))


def spacing_of(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    """Size of a voxel (z, y, x), in the affine's unit."""
    z, y, x = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return z, y, x


def _without_detail(image: NDArray[np.float32], voxels: NDArray[np.float64]) -> NDArray[np.float32]:
    """Smooth away what the new, larger voxels could not hold."""
    steps = np.abs(voxels[:3, :3]).max(axis=1)  # old voxels between two new ones
    # A tilt alone, which makes steps a little above 1, must not blur.
    sigma = np.where(steps > 1.2, 0.5 * np.sqrt(np.maximum(steps**2 - 1, 0)), 0.0)
    return np.asarray(gaussian_filter(image, sigma, mode="nearest")) if sigma.any() else image


def _inside(
    voxels: NDArray[np.float64], shape: Sequence[int], source: Sequence[int]
) -> NDArray[np.bool_]:
    """Which voxels of the new grid lie in the old one, up to the faces of its outermost voxels."""
    z, y, x = (np.arange(size, dtype=np.float32) for size in shape)
    inside = np.ones(tuple(shape), dtype=bool)
    for (by_z, by_y, by_x, start), size in zip(voxels[:3].tolist(), source, strict=True):
        place: Any = (start + by_z * z)[:, None, None] + (by_y * y)[:, None] + by_x * x
        inside &= (place >= -0.501) & (place <= size - 0.499)
    return inside


def apart(one: NDArray[np.float64], other: NDArray[np.float64], shape: Sequence[int]) -> float:
    """Largest distance between the corners of two grids, in voxels of the second."""
    ends = [[0, size - 1] for size in shape]
    corners = np.stack([*np.meshgrid(*ends, indexing="ij"), np.ones((2, 2, 2))]).reshape(4, 8)
    return float(np.abs((np.linalg.inv(other) @ one @ corners - corners)[:3]).max())
