"""Images moved by a field of motion: what a change over time does to what is already there."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["moved", "smoothed"]


def moved(images: Tensor, motion: Tensor) -> Tensor:
    """Read images at a distance from each pixel, linearly between pixels.

    Parameters
    ----------
    images
        ``(b, modality, y, x)``; edges are repeated beyond the image.
    motion
        ``(b, 2, y, x)`` in pixels, rows then columns: where the matter at a pixel comes from.

    Returns
    -------
    Tensor
        Shape of `images`.
    """
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device, dtype=images.dtype)
    columns = torch.arange(width, device=images.device, dtype=images.dtype)
    y = (rows[:, None] + motion[:, 0]) * (2 / (height - 1)) - 1
    x = (columns + motion[:, 1]) * (2 / (width - 1)) - 1
    return F.grid_sample(
        images, torch.stack([x, y], dim=-1), padding_mode="border", align_corners=True
    )


def smoothed(motion: Tensor, size: int) -> Tensor:
    """Take the mean over squares of pixels, linear between centres: (b, 2, y, x) -> the same."""
    if size == 1:
        return motion
    coarse = F.avg_pool2d(motion, size)
    return F.interpolate(coarse, size=motion.shape[-2:], mode="bilinear", align_corners=False)
