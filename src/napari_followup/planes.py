"""Bring planes to a model's size and back."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["resize_planes"]


def resize_planes(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample planes, antialiased where they shrink; those that fit come back as they are.

    Parameters
    ----------
    planes
        ``(b, channel, y, x)``.
    size
        ``(y, x)`` in pixels.

    Returns
    -------
    Tensor
        ``(b, channel, *size)``, dtype and device of `planes`.
    """
    if tuple(planes.shape[-2:]) == tuple(size):
        return planes
    return F.interpolate(planes, size=size, mode="bilinear", antialias=True, align_corners=False)
