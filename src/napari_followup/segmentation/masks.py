"""Masks from scores: reach the threshold, agree with the pixel distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from napari_followup.segmentation.threshold import yen_threshold

__all__ = ["confirmed_by", "grown_mask", "mask_at"]


def mask_at(scores: NDArray[np.floating], threshold: float) -> NDArray[np.bool_]:
    """Pixels whose score reaches a threshold; NaN never does.

    Parameters
    ----------
    scores
        Any shape.
    threshold
        In the unit of `scores`.

    Returns
    -------
    NDArray
        Same shape, bool.
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(scores >= threshold)


def grown_mask(scores: NDArray[np.floating], low: float, high: float) -> NDArray[np.bool_]:
    """Regions of each plane that lie above `low` throughout and reach `high` somewhere.

    Parameters
    ----------
    scores
        ``(visit, z, y, x)``; NaN belongs to no region.
    low, high
        In the unit of `scores`.

    Returns
    -------
    NDArray
        Shape of `scores`; pixels that touch at a corner belong together, planes and visits do not.
    """
    in_plane = np.zeros((3,) * 4, bool)
    in_plane[1, 1] = True
    regions, count = label(mask_at(scores, low), in_plane)
    kept = np.zeros(count + 1, bool)
    kept[np.unique(regions[mask_at(scores, high)])] = True
    kept[0] = False
    return np.asarray(kept[regions])


def confirmed_by(mask: NDArray[np.bool_], distance: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Keep the part of a mask in which the pixel distance stands out as well.

    Parameters
    ----------
    mask
        ``(visit, z, y, x)`` of one patient.
    distance
        Pixel distance of the same shape; NaN (a missing visit) has no say.

    Returns
    -------
    NDArray
        Intersection of `mask` with Yen's mask of the distance inside `mask`.

    References
    ----------
    Dang (2025), eq. 3.9.
    """
    inside = np.where(mask | np.isnan(distance), distance, 0)
    return np.asarray(mask & mask_at(inside, yen_threshold(inside)))
