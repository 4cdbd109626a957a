"""Bring planes and volumes to a model's size and back."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["resize_planes", "resize_volumes"]


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


def resize_volumes(volumes: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resample volumes, antialiased where they shrink; those that fit come back as they are.

    Parameters
    ----------
    volumes
        ``(b, channel, z, y, x)``.
    size
        ``(z, y, x)`` in voxels.

    Returns
    -------
    Tensor
        ``(b, channel, *size)``, dtype and device of `volumes`. Fewer planes are means of those
        there are, more are mixtures of two.
    """
    if tuple(volumes.shape[2:]) == tuple(size):
        return volumes
    count, _, depth = volumes.shape[:3]
    planes = resize_planes(volumes.transpose(1, 2).flatten(0, 1), (size[1], size[2]))
    columns = planes.unflatten(0, (count, depth)).movedim(1, -1).flatten(1, 3)
    if size[0] < depth:
        columns = F.adaptive_avg_pool1d(columns, size[0])
    elif size[0] > depth:
        columns = F.interpolate(columns, size=size[0], mode="linear", align_corners=False)
    resized: Tensor = columns.unflatten(1, planes.shape[1:]).movedim(-1, 2)
    return resized
