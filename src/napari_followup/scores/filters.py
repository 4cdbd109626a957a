"""Filter and resample planes: median in the plane or in space, Gaussian blur, other sizes.

Pure tensor functions, any device.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "blur",
    "median_filter",
    "middle_median",
    "mirrored",
    "resize_planes",
    "resize_volumes",
]


def median_filter(scores: Tensor, size: int) -> Tensor:
    """Median of every pixel's `size` × `size` neighbourhood, maps mirrored at their borders.

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


def middle_median(planes: Tensor, size: int) -> Tensor:
    """Median in space of the middle one of `size` planes: (visit, size, y, x) -> (visit, 1, y, x).

    Visit by visit, since a neighbourhood in space holds many values.
    """
    found = []
    for visit in F.pad(planes, [size // 2] * 4, mode="reflect"):
        windows = visit.unfold(1, size, 1).unfold(2, size, 1)  # (size, y, x, size, size)
        found.append(windows.permute(1, 2, 0, 3, 4).flatten(2).median(dim=-1).values)
    return torch.stack(found)[:, None]


def mirrored(place: int, depth: int, reach: int) -> list[int]:
    """Positions of a plane and its neighbours on both sides, mirrored at the ends of a volume."""
    period = max(1, 2 * (depth - 1))
    around = (abs(near) % period for near in range(place - reach, place + reach + 1))
    return [min(near, period - near) for near in around]


def blur(planes: Tensor, sigma: float, *, reach: int | None = None) -> Tensor:
    """Blur every plane, mirrored at its borders, with a Gaussian.

    Parameters
    ----------
    planes
        ``(visit, z, y, x)``.
    sigma
        In pixels; 0 returns the planes as they are.
    reach
        Pixels that the kernel reaches to each side; three sigma when not given.

    Returns
    -------
    Tensor
        Same shape.
    """
    if not sigma:
        return planes
    reach = min(round(3 * sigma + 0.5) if reach is None else reach, min(planes.shape[-2:]) - 1)
    offsets = torch.arange(-reach, reach + 1, dtype=planes.dtype, device=planes.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(planes.flatten(0, 1)[:, None], [reach] * 4, mode="reflect")
    blurred = F.conv2d(F.conv2d(padded, kernel[None, None, :, None]), kernel[None, None, None])
    unfolded: Tensor = blurred[:, 0].unflatten(0, planes.shape[:2])
    return unfolded


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
