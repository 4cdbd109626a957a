"""The region in which a series is examined when nothing shall be marked at the subject's rim.

A subject is never quite where a model expects it, so its outline lights up in any score map. What
is called the subject here is found in any grey image that has one against a plain ground.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import binary_erosion, generate_binary_structure
from skimage.filters import threshold_otsu

from napari_followup.alignment.brain_mask import foreground
from napari_followup.series.disk_arrays import new_array, release
from napari_followup.series.stack import VisitStack

__all__ = ["examined_region", "in_region", "subject_in", "without_rim"]

SIDES = generate_binary_structure(3, 1)  # neighbours by a side


def examined_region(stack: VisitStack, erosion: int) -> NDArray[np.bool_] | None:
    """Find where each observed visit shows the subject, less its rim.

    Parameters
    ----------
    stack
        The series; the subject of a visit is what any of its modalities shows.
    erosion
        Width of the rim in pixels, see `without_rim`.

    Returns
    -------
    NDArray or None
        ``(visit, z, y, x)`` bool, False throughout a visit that was not observed; none where
        `erosion` is 0, since all of the image is examined then.

    References
    ----------
    Behrendt et al. (2026) erode the brain's mask by 3 voxels.
    """
    if not erosion:
        return None
    region = new_array((stack.n_visits, *stack.shape[2:]), bool)
    for visit in np.flatnonzero(stack.is_observed):
        shown = np.zeros(stack.shape[2:], bool)
        for modality in range(stack.shape[1]):
            shown |= subject_in(np.asarray(stack.images[visit, modality]))
        region[visit] = without_rim(shown, erosion)
        release(region)
    return region


def in_region(scores: NDArray[np.float32], stack: VisitStack, erosion: int) -> NDArray[np.float32]:
    """Take the scores that can mark anything: those of `examined_region`, all where it is none.

    Parameters
    ----------
    scores
        ``(visit, z, y, x)`` of the series.
    stack, erosion
        As for `examined_region`.

    Returns
    -------
    NDArray
        One axis, or `scores` itself.
    """
    region = examined_region(stack, erosion)
    return scores if region is None else scores[region]


def subject_in(image: ArrayLike) -> NDArray[np.bool_]:
    """Find the subject in an image, be it brighter or darker than what surrounds it.

    Otsu's threshold divides the image in two. The side that holds most of its frame, which is the
    outline of every plane, is the ground; the subject is the largest part of the other, holes
    filled plane by plane. A subject that fills the frame cannot be told from its ground.

    Parameters
    ----------
    image
        ``(z, y, x)``, one intensity a pixel.

    Returns
    -------
    NDArray
        Same shape, bool; True throughout an image that is the same value all over, which has no
        rim.
    """
    values = np.asarray(image, dtype=np.float32)
    if values.min() == values.max():
        return np.ones(values.shape, bool)
    is_bright = values > _middle(values)
    rows, columns = is_bright[:, [0, -1]], is_bright[:, :, [0, -1]]
    ground_is_bright = np.concatenate([rows.ravel(), columns.ravel()]).mean() > 0.5
    return foreground(is_bright != ground_is_bright)


def _middle(values: NDArray[np.float32]) -> float:
    """Middle of the means of Otsu's two sides: his threshold itself may touch the lower one."""
    is_bright = values > threshold_otsu(values)
    return float(values[is_bright].mean() + values[~is_bright].mean()) / 2


def without_rim(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Take pixels off a mask all round, as many steps from pixel to pixel by their sides.

    Parameters
    ----------
    mask
        ``(z, y, x)``; in volumes a rim is one in space.
    width
        Number of pixels.

    Returns
    -------
    NDArray
        Same shape. Where the edge of the image cuts a subject, it has no rim.
    """
    if not width:
        return mask.copy()
    return np.asarray(binary_erosion(mask, SIDES, iterations=width, border_value=1))
