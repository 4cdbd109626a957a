"""Masks at another size, or moved: sharp again, and without losing a small part of them."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["resize_masks", "sharp"]


def resize_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample masks of planes; a part that stands alone never vanishes, however small.

    Parameters
    ----------
    masks
        ``(b, channel, y, x)`` of 0 and 1, floating.
    size
        ``(y, x)`` in pixels.

    Returns
    -------
    Tensor
        ``(b, channel, *size)`` of 0 and 1, dtype and device of `masks`.
    """
    if tuple(masks.shape[-2:]) == tuple(size):
        return masks
    return sharp(F.interpolate(masks, size=size, mode="area"))


def sharp(covered: Tensor) -> Tensor:
    """Make a mask of the share of every pixel that one covers.

    Half is measured by the most covered pixel beside: at the edge of a large part that is a half,
    and of a part smaller than a pixel one pixel at least is kept.

    Parameters
    ----------
    covered
        ``(b, channel, y, x)`` in [0, 1].

    Returns
    -------
    Tensor
        Same shape, dtype and device, of 0 and 1.
    """
    return (covered > F.max_pool2d(covered, 3, stride=1, padding=1) / 2).to(covered)
