"""Augmentation of training images: flips, affine maps, intensity, bias field; fixed by the seed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_followup.training.plan import Augmentation

__all__ = [
    "augmented",
    "augmented_with_masks",
    "resize_masks",
    "sharp",
]

KNOTS = 3  # of the smooth field, each way


def augmented(
    images: Tensor,
    settings: Augmentation,
    generator: torch.Generator,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Tensor:
    """Vary each sample by a draw of its own, all planes of a sample alike.

    Parameters
    ----------
    images
        ``(b, ..., y, x)``; what stands between, visits, modalities or z, is varied alike.
    settings
        How far.
    generator
        Source of the draws, on the CPU: they do not depend on the device of `images`.
    value_range
        Of the model, which intensities are measured by.

    Returns
    -------
    Tensor
        Shape, dtype and device of `images`.
    """
    if settings == Augmentation():
        return images
    varied = images.flatten(1, -3) if images.ndim > 3 else images[:, None]
    placed = _placed(varied, settings, generator)
    return _shaded(placed, settings, generator, value_range).reshape(images.shape)


def augmented_with_masks(
    planes: Tensor,
    masks: Tensor,
    settings: Augmentation,
    generator: torch.Generator,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> tuple[Tensor, Tensor]:
    """Vary planes as `augmented` does, and move their masks with them.

    Parameters
    ----------
    planes
        ``(b, modality, y, x)``.
    masks
        ``(b, 1, y, x)`` of 0 and 1.
    settings, generator, value_range
        As for `augmented`.

    Returns
    -------
    tuple of Tensor
        Both, in their shapes.
    """
    if settings == Augmentation():
        return planes, masks
    placed = _placed(torch.cat([planes, masks.to(planes)], dim=1), settings, generator)
    moved, covered = placed[:, : planes.shape[1]], placed[:, planes.shape[1] :]
    shaded = _shaded(moved, settings, generator, value_range)
    return shaded, sharp(covered) if settings.moves else covered


def _placed(varied: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """(b, c, y, x), mirrored and moved."""
    for axis in ("y", "x"):
        if axis in settings.flip:
            chosen = torch.rand(len(varied), 1, 1, 1, generator=generator) < 0.5
            varied = torch.where(
                chosen.to(varied.device), varied.flip(-2 if axis == "y" else -1), varied
            )
    return _moved(varied, settings, generator) if settings.moves else varied


def _shaded(
    varied: Tensor,
    settings: Augmentation,
    generator: torch.Generator,
    value_range: tuple[float, float],
) -> Tensor:
    """(b, c, y, x), brightened and under a smooth field."""
    low, high = value_range
    part = (varied - low) / (high - low)
    if settings.bias:
        part = part * torch.exp(settings.bias * _field(part, generator))
    if settings.intensity:
        gain, offset = (settings.intensity * _draw(len(part), generator).to(part) for _ in range(2))
        part = part * (1 + gain[:, None, None, None]) + offset[:, None, None, None]
    return low + (high - low) * part


def _draw(count: int, generator: torch.Generator) -> Tensor:
    """Evenly between -1 and 1."""
    return 2 * torch.rand(count, generator=generator) - 1


def _moved(images: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """(b, c, y, x), turned, scaled and shifted; the edge is repeated beyond the edge."""
    count, height, width = len(images), *images.shape[-2:]
    angle = torch.deg2rad(settings.rotation * _draw(count, generator))
    size = 1 + settings.scale * _draw(count, generator)
    across, down = (2 * settings.shift * _draw(count, generator) for _ in range(2))
    cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
    # affine_grid measures both sides from -1 to 1, whatever their lengths in pixels.
    rows = [
        torch.stack([cos, -sin * height / width, across], dim=1),
        torch.stack([sin * width / height, cos, down], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1).to(images), [*images.shape], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _field(images: Tensor, generator: torch.Generator) -> Tensor:
    """(b, 1, y, x): smooth, between about -1 and 1."""
    knots = _draw(len(images) * KNOTS**2, generator).reshape(-1, 1, KNOTS, KNOTS).to(images)
    return F.interpolate(knots, size=images.shape[-2:], mode="bicubic", align_corners=True)


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
