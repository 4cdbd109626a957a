"""Random tiles of an image to be left out, for networks that learn by filling them in.

Masked image modelling, as Behrendt (2026), Sec. 8.3, 3.3, pre-trains an encoder. Pure tensor
functions, any device.
"""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["random_tiles"]


def random_tiles(images: Tensor, tile: int, share: float, generator: torch.Generator) -> Tensor:
    """Mask that covers the same share of every image, tile by tile.

    Parameters
    ----------
    images
        ``(b, c, y, x)``.
    tile
        Side of a tile in pixels; those at the lower and right edge may be cut off.
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
