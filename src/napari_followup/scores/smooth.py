"""Smooth score maps: median filter and Gaussian blur in the plane, on any device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["blur", "median_filter"]


def median_filter(scores: Tensor, size: int) -> Tensor:
    """Median of every pixel's `size` × `size` neighbourhood, planes mirrored at their borders.

    Parameters
    ----------
    scores
        ``(visit, z, y, x)``.
    size
        Odd number of pixels; 1 returns the scores as they are.

    Returns
    -------
    Tensor
        Same shape.
    """
    if size == 1:
        return scores
    planes = F.pad(scores.flatten(0, 1)[:, None], [size // 2] * 4, mode="reflect")
    windows = planes.unfold(2, size, 1).unfold(3, size, 1).flatten(4)
    filtered: Tensor = windows.median(dim=-1).values[:, 0].unflatten(0, scores.shape[:2])
    return filtered


def blur(planes: Tensor, sigma: float) -> Tensor:
    """Blur every plane, mirrored at its borders, with a Gaussian.

    Parameters
    ----------
    planes
        ``(visit, z, y, x)``.
    sigma
        In pixels; 0 returns the planes as they are.

    Returns
    -------
    Tensor
        Same shape.
    """
    if not sigma:
        return planes
    reach = min(round(3 * sigma + 0.5), min(planes.shape[-2:]) - 1)
    offsets = torch.arange(-reach, reach + 1, dtype=planes.dtype, device=planes.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(planes.flatten(0, 1)[:, None], [reach] * 4, mode="reflect")
    blurred = F.conv2d(F.conv2d(padded, kernel[None, None, :, None]), kernel[None, None, None])
    unfolded: Tensor = blurred[:, 0].unflatten(0, planes.shape[:2])
    return unfolded
