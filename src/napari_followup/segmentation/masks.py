"""Masks from scores: threshold, hysteresis, small parts removed, dilation.

Pure functions of arrays in memory: of one visit, or of several, each for itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, generate_binary_structure, label

__all__ = [
    "cleaned",
    "confirmed_at",
    "dilated",
    "far_from",
    "grown_mask",
    "inside_mask",
    "mask_at",
    "without_small",
]

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


def grown_mask(scores: NDArray[np.floating], low: float, high: float) -> NDArray[np.bool_]:
    """Hysteresis: regions of each visit that lie above `low` throughout and reach `high` somewhere.

    Parameters
    ----------
    scores
        ``(visit, z, y, x)``; NaN belongs to no region.
    low, high
        In the unit of `scores`.

    Returns
    -------
    NDArray
        Shape of `scores`; pixels that touch at a corner belong together, in space where there is
        more than one plane. Visits do not.
    """
    mask = np.zeros(scores.shape, bool)
    for grown, part in zip(mask, scores, strict=True):
        regions, count = label(mask_at(part, low), TOUCHING)
        kept = np.zeros(count + 1, bool)
        kept[np.unique(regions[mask_at(part, high)])] = True
        kept[0] = False
        np.take(kept, regions, out=grown)
    return mask


def confirmed_at(
    mask: NDArray[np.bool_], distance: NDArray[np.floating], threshold: float
) -> NDArray[np.bool_]:
    """Keep the part of a mask in which the pixel distance, 0 outside it, reaches a threshold.

    Parameters
    ----------
    mask
        Any shape.
    distance
        Pixel distance of the same shape; NaN (a missing visit) is in no mask.
    threshold
        In the unit of `distance`, such as Yen's of the distance inside the mask of a whole series.

    Returns
    -------
    NDArray
        Shape of `mask`.

    References
    ----------
    Dang (2025), eq. 3.9.
    """
    return np.asarray(mask & mask_at(inside_mask(mask, distance), threshold))


def cleaned(
    mask: NDArray[np.bool_],
    *,
    inside: NDArray[np.bool_] | None = None,
    smallest: float = 0.0,
    dilation: int = 0,
) -> NDArray[np.bool_]:
    """Take from each visit's mask what lies outside a region, then small parts, then grow it.

    Parameters
    ----------
    mask
        ``(visit, z, y, x)``.
    inside
        The region, of the same shape; everywhere if none is given.
    smallest
        As for `without_small`; 0 keeps every part.
    dilation
        As for `dilated`; 0 for none.

    Returns
    -------
    NDArray
        Same shape.
    """
    found = mask if inside is None else mask & inside
    found = without_small(found, smallest) if smallest else found
    return dilated(found, dilation) if dilation else found


def without_small(mask: NDArray[np.bool_], smallest: float) -> NDArray[np.bool_]:
    """Drop the parts of each visit's mask that have fewer pixels than `smallest`.

    Parameters
    ----------
    mask
        ``(visit, z, y, x)``.
    smallest
        Number of pixels, or of voxels: parts hold together as in `grown_mask`.

    Returns
    -------
    NDArray
        Same shape.
    """
    large = np.empty(mask.shape, bool)
    for kept, part in zip(large, mask, strict=True):
        regions, _ = label(part, TOUCHING)
        is_large = np.bincount(regions.ravel()) >= smallest
        is_large[0] = False
        np.take(is_large, regions, out=kept)
    return large


def dilated(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Grow the mask of each visit within its planes.

    Parameters
    ----------
    mask
        ``(visit, z, y, x)``.
    width
        How many steps from pixel to pixel by their sides; 0 leaves the mask as it is.

    Returns
    -------
    NDArray
        Same shape.
    """
    if not width:
        return mask.copy()
    return np.stack([binary_dilation(part, BESIDE, iterations=width) for part in mask])


def far_from(mask: NDArray[np.bool_], distance: int) -> NDArray[np.bool_]:
    """Find the pixels of each visit more than `distance` steps from its mask, see `dilated`."""
    return ~dilated(mask, distance)


def inside_mask(mask: NDArray[np.bool_], distance: NDArray[np.floating]) -> NDArray[np.floating]:
    """Give a distance of any shape that is 0 outside a mask; NaN stays, it has no say."""
    return np.where(mask | np.isnan(distance), distance, 0)
