"""Simple masks: the foreground of an image, and the brain in it.

Both use one threshold and the shape. A trained brain extraction is better; if you have one, use its
mask instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import binary_fill_holes, distance_transform_edt, label
from skimage.filters import threshold_otsu

from napari_followup.series.stack import VisitStack

__all__ = ["brain", "foreground", "mask_of"]


def foreground(image: ArrayLike) -> NDArray[np.bool_]:
    """Find the subject: the largest part brighter than Otsu's threshold, holes filled.

    Parameters
    ----------
    image
        ``(z, y, x)``, dark around the subject.

    Returns
    -------
    NDArray
        Same shape, bool; empty for a constant image.
    """
    image = np.asarray(image, dtype=np.float32)
    if image.min() == image.max():
        return np.zeros(image.shape, dtype=bool)
    return _filled(_largest(image > threshold_otsu(image)))


def brain(image: ArrayLike, spacing: Sequence[float], *, opening: float = 4.0) -> NDArray[np.bool_]:
    """Find the brain in a head, roughly.

    Of the head's voxels brighter than half their median, it takes the largest part after an erosion
    by `opening`, dilates it again and fills holes. This mostly removes scalp and eyes. Tissue that
    touches the brain broadly stays, and thin gyri may be lost.

    Parameters
    ----------
    image
        ``(z, y, x)``, brain bright, such as FLAIR or T1.
    spacing
        Size of a voxel, ``(z, y, x)``.
    opening
        In the unit of `spacing`; half the width of the bridges that are removed.

    Returns
    -------
    NDArray
        Same shape, bool; empty if nothing is left.
    """
    image = np.asarray(image, dtype=np.float32)
    head = foreground(image)
    if not head.any():
        return head
    bright = head & (image > 0.5 * np.median(image[head]))
    core = _largest(distance_transform_edt(bright, sampling=spacing) > opening)
    if not core.any():
        return core
    near = distance_transform_edt(~core, sampling=spacing) <= opening
    return _filled(near & head)


def mask_of(mask: ArrayLike, stack: VisitStack) -> NDArray[np.bool_]:
    """Check a mask for a series.

    Parameters
    ----------
    mask
        ``(z, y, x)``, for all visits, or ``(visit, z, y, x)``.
    stack
        The series.

    Returns
    -------
    NDArray
        ``(visit, z, y, x)`` bool.

    Raises
    ------
    ValueError
        If it has another shape.
    """
    checked = np.asarray(mask).astype(bool)
    wanted = (stack.n_visits, *stack.shape[2:])
    if checked.shape not in (wanted, wanted[1:]):
        raise ValueError(
            f"mask: got shape {checked.shape} for images of {stack.shape[2:]} at "
            f"{stack.n_visits} visits; give (z, y, x) or (visit, z, y, x) on the same grid"
        )
    return np.broadcast_to(checked, wanted)


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, count = label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    return np.asarray(parts == 1 + np.argmax(sizes[1:]))


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill holes plane by plane: in a volume a ventricle can be open to the outside."""
    return np.stack([binary_fill_holes(plane) for plane in mask])
