"""Cold diffusion towards foreign patches: a healthy image, more and more of another one in it.

DISYRE (Naval Marimont et al. 2024), Sec. 2: the noise of a diffusion process is replaced by a
synthetic anomaly. Pure tensor functions, any device.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["amounts", "blend", "foreign_patches"]


def amounts(abars: Tensor) -> Tensor:
    """How much of a foreign patch each step holds.

    Parameters
    ----------
    abars
        ``(steps + 1,)`` signal share of every step, see `linear_schedule`.

    Returns
    -------
    Tensor
        ``(steps + 1,)``: ``α_t = 1 - sqrt(ᾱ_t)``, rising from 0. The same table serves training
        and restoration.
    """
    return 1 - abars.sqrt()


def blend(clean: Tensor, foreign: Tensor, mask: Tensor, amount: Tensor) -> Tensor:
    """Mix a foreign image into a clean one (DISYRE, eq. 1).

    Parameters
    ----------
    clean, foreign
        ``(b, c, y, x)``, same unit.
    mask
        Broadcastable over `clean`, in [0, 1].
    amount
        ``α``, broadcastable over `clean`, in [0, 1].

    Returns
    -------
    Tensor
        ``(1 - α m) · clean + α m · foreign``.
    """
    share = amount * mask
    return (1 - share) * clean + share * foreign


def foreign_patches(images: Tensor, generator: torch.Generator) -> Tensor:
    """Another image of the batch for each image, moved, so that any part of it may lie anywhere.

    Parameters
    ----------
    images
        ``(b, c, y, x)``.
    generator
        Source of every random draw.

    Returns
    -------
    Tensor
        Same shape. What leaves the image on one side comes in on the other; an only image lends
        itself its own patches.
    """
    count, _, height, width = images.shape
    device = images.device

    def draw(low: int, high: int) -> Tensor:
        drawn = torch.randint(low, high, (count,), generator=generator, device=generator.device)
        return drawn.to(device)

    away = draw(1, count) if count > 1 else torch.zeros(1, dtype=torch.long, device=device)
    other = (torch.arange(count, device=device) + away) % count
    rows = (torch.arange(height, device=device) + draw(0, height)[:, None]) % height
    columns = (torch.arange(width, device=device) + draw(0, width)[:, None]) % width
    moved = images.movedim(1, -1)[other[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved.movedim(-1, 1)
