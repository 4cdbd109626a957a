"""Pixel distance between an image and its healthy reconstruction.

Dang (2025), eq. 3.3. Pure tensor functions, any device.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["local_contrast", "pixel_distance"]


def pixel_distance(images: Tensor, healthy: Tensor, *, tolerance: float = 0.0) -> Tensor:
    """Absolute difference of grey values, mean over modalities.

    Parameters
    ----------
    images, healthy
        ``(visit, modality, z, y, x)``, same unit.
    tolerance
        How much less a difference counts where the reconstruction has an edge, which a displacement
        by a fraction of a pixel already turns into one: it is divided by ``1 + tolerance · local
        contrast``. 0 is the published distance.

    Returns
    -------
    Tensor
        ``(visit, z, y, x)``, non-negative.
    """
    distance = (images - healthy).abs()
    if tolerance:
        distance = distance / (1 + tolerance * local_contrast(healthy))
    return distance.mean(dim=1)


def local_contrast(images: Tensor) -> Tensor:
    """Largest minus smallest grey value among each pixel's 3 × 3 neighbours in its plane.

    Parameters
    ----------
    images
        ``(visit, modality, z, y, x)``.

    Returns
    -------
    Tensor
        Same shape, non-negative.
    """
    planes = images.flatten(0, 2)[:, None]
    highest = F.max_pool2d(planes, 3, stride=1, padding=1)
    lowest = -F.max_pool2d(-planes, 3, stride=1, padding=1)
    contrast: Tensor = (highest - lowest)[:, 0].unflatten(0, images.shape[:3])
    return contrast
