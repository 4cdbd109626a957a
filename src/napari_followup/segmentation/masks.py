"""Masks from scores: reach the threshold, agree with the pixel distance, be large enough, grow.

Whatever goes through the visits of a series does so by `walk`, which is `zip` for arrays in memory;
one that lets go of each visit after use keeps the memory of large ones bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, generate_binary_structure, label

__all__ = [
    "Walk",
    "confirmed_at",
    "dilated",
    "grown_mask",
    "inside_mask",
    "mask_at",
    "without_small",
]

Walk = Callable[..., Iterable[tuple[NDArray[Any], ...]]]
"""Takes arrays, gives their parts along the first axis side by side."""

TOUCHING = generate_binary_structure(3, 3)  # by a corner at least
BESIDE = generate_binary_structure(2, 1)[None]  # by a side, in the plane


def mask_at(
    scores: NDArray[np.floating], threshold: float | NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Pixels whose score reaches a threshold; NaN never does.

    Parameters
    ----------
    scores
        Any shape.
    threshold
        In the unit of `scores`; one, or one a pixel. Nothing reaches NaN.

    Returns
    -------
    NDArray
        Same shape, bool.
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(scores >= threshold)


def grown_mask(
    scores: NDArray[np.floating],
    low: float,
    high: float,
    *,
    out: NDArray[np.bool_] | None = None,
    walk: Walk = zip,
) -> NDArray[np.bool_]:
    """Regions of each visit that lie above `low` throughout and reach `high` somewhere.

    Parameters
    ----------
    scores
        ``(visit, z, y, x)``; NaN belongs to no region.
    low, high
        In the unit of `scores`.
    out
        Where the mask goes; a new array if none is given.
    walk
        How to go through the visits.

    Returns
    -------
    NDArray
        Shape of `scores`; pixels that touch at a corner belong together, in space where there is
        more than one plane. Visits do not.
    """
    out = np.zeros(scores.shape, bool) if out is None else out
    for mask, part in walk(out, scores):
        regions, count = label(mask_at(part, low), TOUCHING)
        kept = np.zeros(count + 1, bool)
        kept[np.unique(regions[mask_at(part, high)])] = True
        kept[0] = False
        np.take(kept, regions, out=mask)
    return out


def confirmed_at(
    mask: NDArray[np.bool_],
    distance: NDArray[np.floating],
    threshold: float,
    *,
    out: NDArray[np.bool_] | None = None,
    walk: Walk = zip,
) -> NDArray[np.bool_]:
    """Keep the part of a mask in which the pixel distance, 0 outside it, reaches a threshold.

    Parameters
    ----------
    mask
        ``(visit, z, y, x)``.
    distance
        Pixel distance of the same shape; NaN (a missing visit) is in no mask.
    threshold
        In the unit of `distance`, such as Yen's of the distance inside the mask of a whole series.
    out, walk
        As for `grown_mask`; `out` may be `mask`.

    Returns
    -------
    NDArray
        Shape of `mask`.

    References
    ----------
    Dang (2025), eq. 3.9.
    """
    out = np.empty(mask.shape, bool) if out is None else out
    for kept, part, far in walk(out, mask, distance):
        kept[...] = part & mask_at(inside_mask(part, far), threshold)
    return out


def without_small(
    mask: NDArray[np.bool_],
    smallest: float,
    *,
    out: NDArray[np.bool_] | None = None,
    walk: Walk = zip,
) -> NDArray[np.bool_]:
    """Drop the parts of each visit's mask that have fewer pixels than `smallest`.

    Parameters
    ----------
    mask
        ``(visit, z, y, x)``.
    smallest
        Number of pixels, or of voxels: parts hold together as in `grown_mask`.
    out, walk
        As for `grown_mask`; `out` may be `mask`.

    Returns
    -------
    NDArray
        Same shape.
    """
    out = np.empty(mask.shape, bool) if out is None else out
    for kept, part in walk(out, mask):
        regions, _ = label(part, TOUCHING)
        is_large = np.bincount(regions.ravel()) >= smallest
        is_large[0] = False
        np.take(is_large, regions, out=kept)
    return out


def dilated(
    mask: NDArray[np.bool_],
    width: int,
    *,
    out: NDArray[np.bool_] | None = None,
    walk: Walk = zip,
) -> NDArray[np.bool_]:
    """Grow the mask of each visit within its planes.

    Parameters
    ----------
    mask
        ``(visit, z, y, x)``.
    width
        How many steps from pixel to pixel by their sides; 0 leaves the mask as it is.
    out, walk
        As for `grown_mask`; `out` may be `mask`.

    Returns
    -------
    NDArray
        Same shape.
    """
    out = np.empty(mask.shape, bool) if out is None else out
    for grown, part in walk(out, mask):
        grown[...] = binary_dilation(part, BESIDE, iterations=width) if width else part
    return out


def inside_mask(mask: NDArray[np.bool_], distance: NDArray[np.floating]) -> NDArray[np.floating]:
    """Give a distance of any shape that is 0 outside a mask; NaN stays, it has no say."""
    return np.where(mask | np.isnan(distance), distance, 0)
