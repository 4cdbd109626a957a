"""Perlin noise: smooth random fields from random gradients on a lattice.

Perlin (1985), as DRAEM (Zavrtanik et al. 2021) takes it for the outlines of synthetic anomalies.
Pure tensor functions, any device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["perlin_masks", "perlin_noise"]

FINEST = 5  # lattices have 1, 2, 4, ... 2 ** FINEST cells a side


def perlin_noise(
    count: int,
    size: tuple[int, int],
    cells: tuple[int, int],
    generator: torch.Generator,
    like: Tensor,
) -> Tensor:
    """Draw fields on a lattice of so many cells.

    Parameters
    ----------
    count
        Number of fields.
    size
        ``(y, x)`` in pixels.
    cells
        Rows and columns of lattice cells that the field is divided into.
    generator
        Source of the gradients, one angle a lattice point.
    like
        Gives device and dtype.

    Returns
    -------
    Tensor
        ``(count, 1, y, x)`` in [-1, 1], 0 at lattice points.
    """
    drawn = torch.rand(
        count, cells[0] + 1, cells[1] + 1, generator=generator, device=generator.device
    )
    angles = (2 * math.pi * drawn).to(like)
    row, down = _lattice(size[0], cells[0], like)
    column, right = _lattice(size[1], cells[1], like)

    def corner(below: int, beside: int) -> Tensor:
        """Product of each pixel's gradient and offset at one corner of its cell."""
        angle = angles[:, (row + below)[:, None], (column + beside)[None]]
        return angle.cos() * (down - below)[:, None] + angle.sin() * (right - beside)[None]

    fade_y, fade_x = _fade(down)[:, None], _fade(right)[None]
    top = torch.lerp(corner(0, 0), corner(0, 1), fade_x.expand(count, *size))
    bottom = torch.lerp(corner(1, 0), corner(1, 1), fade_x.expand(count, *size))
    field = torch.lerp(top, bottom, fade_y.expand(count, *size))
    return math.sqrt(2) * field[:, None]


def perlin_masks(images: Tensor, generator: torch.Generator) -> Tensor:
    """Binarise a Perlin field an image at a threshold that is drawn evenly.

    Parameters
    ----------
    images
        ``(b, c, y, x)``; only their shape is looked at.
    generator
        Source of every random draw.

    Returns
    -------
    Tensor
        ``(b, 1, y, x)`` bool, at least one pixel each. Thresholds run from 0 to the field's
        highest value; all fields of a batch have the same lattice.
    """
    count, _, height, width = images.shape
    powers = torch.randint(FINEST + 1, (2,), generator=generator, device=generator.device).tolist()
    cells = (min(2 ** powers[0], height), min(2 ** powers[1], width))
    field = perlin_noise(count, (height, width), cells, generator, images)
    highest = field.flatten(1).amax(dim=1)
    height_share = torch.rand(count, generator=generator, device=generator.device).to(images)
    return field >= (highest * height_share)[:, None, None, None]


def _lattice(side: int, cells: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cell of each pixel along one axis, and how far into it the pixel lies."""
    place = torch.arange(side, device=like.device, dtype=like.dtype) * (cells / side)
    cell = place.floor().clamp_max(cells - 1)
    return cell.long(), place - cell


def _fade(t: Tensor) -> Tensor:
    """Smooth step without a jump in its first two derivatives (Perlin 2002)."""
    return t**3 * (t * (6 * t - 15) + 10)
