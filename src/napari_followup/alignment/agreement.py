"""How well two images on one grid agree: their correlation, and a shift that would raise it.

Both show whether two visits are aligned; only then their difference means something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, shift
from skimage.registration import phase_cross_correlation

from napari_followup.alignment.brain_mask import foreground
from napari_followup.series.grid import background

__all__ = ["Agreement", "agreement", "correlation"]

COARSE = 96  # voxels along the longest side of the grid on which a shift is searched
BORDER = 3.0  # voxels of the coarse grid around the subject, so that its outline counts
CLEARLY = 0.01  # gain in correlation from which a shift counts


@dataclass(frozen=True)
class Agreement:
    """How well two images agree."""

    correlation: float  # Pearson's, over the subject and its outline, -1 to 1
    shift: float  # distance of the second from the first, in the unit of the spacing
    shifted: float  # the correlation after undoing the shift


def agreement(first: ArrayLike, second: ArrayLike, spacing: Sequence[float]) -> Agreement:
    """Compare two images of one subject.

    Parameters
    ----------
    first, second
        ``(z, y, x)`` on one grid, dark around the subject.
    spacing
        Size of a voxel, ``(z, y, x)``.

    Returns
    -------
    Agreement
        Found on a coarse grid; a shift below half of its voxels counts as none.
    """
    sizes = np.asarray(spacing, dtype=np.float64)
    steps = _steps(np.shape(first), sizes)
    one, other = (_coarse(image, steps) for image in (first, second))
    inside = _shown(one, other)
    before = _pearson(one, other, inside)
    by, *_ = phase_cross_correlation(one, other, upsample_factor=4, normalization=None)
    moved = shift(other, by, order=1, mode="constant", cval=background(other))
    after = _pearson(one, moved, inside | _shown(one, moved))
    is_off = np.abs(by).max() >= 0.5 and after > before + CLEARLY
    if not is_off:
        return Agreement(before, 0.0, before)
    return Agreement(before, float(np.linalg.norm(by * steps * sizes)), after)


def correlation(first: ArrayLike, second: ArrayLike, spacing: Sequence[float]) -> float:
    """Pearson's correlation of two images over the subject and its outline; see `agreement`."""
    steps = _steps(np.shape(first), np.asarray(spacing, dtype=np.float64))
    one, other = (_coarse(image, steps) for image in (first, second))
    return _pearson(one, other, _shown(one, other))


def _steps(shape: Sequence[int], spacing: NDArray[np.float64]) -> NDArray[np.intp]:
    """Voxels per voxel of the coarse grid, along each axis."""
    wanted = (np.asarray(shape) * spacing).max() / COARSE
    return np.asarray(np.clip(np.round(wanted / spacing), 1, shape), dtype=np.intp)


def _coarse(image: ArrayLike, steps: NDArray[np.intp]) -> NDArray[np.float32]:
    smooth = gaussian_filter(np.asarray(image, dtype=np.float32), 0.5 * (steps - 1))
    return np.asarray(smooth[tuple(slice(None, None, step) for step in steps)])


def _shown(*images: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where any of the images shows the subject, with a border around it."""
    shown = np.any([foreground(image) for image in images], axis=0)
    if not shown.any():
        return np.ones_like(shown)
    return np.asarray(distance_transform_edt(~shown) <= BORDER)


def _pearson(
    first: NDArray[np.float32], second: NDArray[np.float32], inside: NDArray[np.bool_]
) -> float:
    """Pearson's correlation inside a mask; 0 if an image is constant there."""
    one, other = (image[inside] - image[inside].mean() for image in (first, second))
    scale = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / scale if scale > 0 else 0.0
