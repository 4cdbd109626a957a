"""Erase boxes of an image or a volume, so that a network learns to fill them from around.

Spatial erasing of Bengs et al. (2021), in Behrendt (2026), Sec. 3.4.1 and 8.1. Pure tensor
functions, any device, planes and volumes alike.
"""

from __future__ import annotations

from math import ceil
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["box_masks", "erase", "random_tiles"]


def erase(
    images: Tensor,
    generator: torch.Generator,
    *,
    shares: tuple[float, float] = (0.01, 0.25),
    boxes: int = 1,
    chance: float = 0.5,
    fill: Literal["noise", "zero"] = "noise",
) -> Tensor:
    """Replace boxes of some images by noise or zeros.

    Parameters
    ----------
    images
        ``(b, c, y, x)`` or ``(b, c, z, y, x)``.
    generator
        Source of every random draw.
    shares, boxes
        As for `box_masks`.
    chance
        Share of the images that are erased at all.
    fill
        ``"noise"``: values drawn from the image's own pixels, all channels of a pixel together.
        ``"zero"``: zeros.

    Returns
    -------
    Tensor
        Shape of `images`.
    """
    masks = box_masks(images, generator, shares=shares, boxes=boxes)
    erased = torch.rand(len(images), generator=generator, device=generator.device) < chance
    masks = masks & erased.to(images.device).view(-1, *[1] * (images.ndim - 1))
    filling = _shuffled(images, generator) if fill == "noise" else torch.zeros_like(images)
    return torch.where(masks, filling, images)


def box_masks(
    images: Tensor,
    generator: torch.Generator,
    *,
    shares: tuple[float, float] = (0.01, 0.25),
    boxes: int = 1,
) -> Tensor:
    """Draw boxes in the proportions of the image, each wholly inside it.

    Parameters
    ----------
    images
        ``(b, c, y, x)`` or ``(b, c, z, y, x)``; only their shape is looked at.
    generator
        Source of every random draw.
    shares
        Least and largest part of the pixels that an image's boxes hold together, to the nearest
        pixel of each side. Boxes that overlap hold less.
    boxes
        At most so many an image; 1 is the source's single patch or cube, 10 its several.

    Returns
    -------
    Tensor
        ``(b, 1, ...)`` bool.
    """
    count, sides = len(images), images.shape[2:]

    def draw() -> Tensor:
        return torch.rand(count, generator=generator, device=generator.device).to(images)

    number = (1 + (draw() * boxes).long()).clamp_max(boxes)
    share = (shares[0] + (shares[1] - shares[0]) * draw()) / number
    masks = torch.zeros(count, 1, *sides, dtype=torch.bool, device=images.device)
    for box in range(boxes):
        inside = (number > box).view(-1, *[1] * (images.ndim - 1))
        for axis, side in enumerate(sides, start=2):
            length = (side * share ** (1 / len(sides))).round().clamp(1, side)
            start = ((side - length + 1) * draw()).floor()
            place = torch.arange(side, device=images.device)
            along = (place >= start[:, None]) & (place < (start + length)[:, None])
            inside = inside & along.view(count, *[side if n == axis else 1 for n in _axes(images)])
        masks |= inside
    return masks


def _axes(images: Tensor) -> range:
    """Axes after the batch."""
    return range(1, images.ndim)


def _shuffled(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pixels drawn from each image's own, with replacement."""
    flat = images.flatten(2)
    shape = (len(images), 1, flat.shape[2])
    source = torch.randint(shape[2], shape, generator=generator, device=generator.device)
    return flat.gather(2, source.to(images.device).expand_as(flat)).view_as(images)


def random_tiles(images: Tensor, tile: int, share: float, generator: torch.Generator) -> Tensor:
    """Mask that covers the same share of every image, tile by tile.

    Parameters
    ----------
    images
        ``(b, c, y, x)``.
    tile
        Side of a tile in pixels; those at the lower and right edge may be clipped.
    share
        Of the tiles, rounded to a whole number of them, one at least.
    generator
        Source of the choice.

    Returns
    -------
    Tensor
        ``(b, 1, y, x)``, 1 where the image is covered and 0 elsewhere.
    """
    count, (height, width) = len(images), images.shape[-2:]
    rows, columns = ceil(height / tile), ceil(width / tile)
    order = torch.rand(count, rows * columns, generator=generator, device=generator.device)
    taken = order.argsort(dim=1).argsort(dim=1) < max(1, round(share * rows * columns))
    tiles = taken.view(count, 1, rows, columns).to(images)
    return F.interpolate(tiles, scale_factor=tile, mode="nearest")[..., :height, :width]
