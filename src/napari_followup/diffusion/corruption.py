"""Corrupt parts of healthy images, so that a network can learn to restore them.

Denoising in the sense of self-supervision (Vincent et al. 2008; foreign patches and soft masks as
in DISYRE): random soft-edged shapes of any size are filled with what does not belong there. No
shape, size or grey value is favoured, and no label is used: the corrupted
pixels are known. Pure tensor functions, any device.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "ANOMALOUS",
    "HEALTHY",
    "amounts",
    "blend",
    "corrupt",
    "foreign_patches",
    "half_corrupted",
    "random_filling",
    "random_shapes",
]


HEALTHY, ANOMALOUS = 0, 1
VISIBLE = (
    0.1  # change of grey, of the value range, without which a corrupted image counts as healthy
)


def _uniform(
    count: int, low: float, high: float, generator: torch.Generator, like: Tensor
) -> Tensor:
    drawn = torch.rand(count, generator=generator, device=generator.device).to(like)
    return low + (high - low) * drawn


def _centres(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One pixel an image, half of them anywhere, half on an edge: rows and columns, each (b,)."""
    plane = images.mean(dim=1)
    edges = F.pad((plane[:, 1:, 1:] - plane[:, :-1, :-1]).abs(), (0, 1, 0, 1))
    share = edges.flatten(1) / edges.flatten(1).sum(dim=1, keepdim=True).clamp_min(1e-6)
    chance = share + 1.0 / share.shape[1]
    pixel = torch.multinomial(chance.to(generator.device), 1, generator=generator)[:, 0].to(
        images.device
    )
    width = images.shape[-1]
    return (pixel // width).to(images), (pixel % width).to(images)


def random_shapes(images: Tensor, generator: torch.Generator) -> Tensor:
    """One soft-edged blob an image: an ellipse of any size and direction with a wavy outline.

    Parameters
    ----------
    images
        ``(b, c, y, x)``; only their edges are looked at, to place half of the blobs on them.
    generator
        Source of every random draw.

    Returns
    -------
    Tensor
        ``(b, 1, y, x)`` in [0, 1]: how much of each pixel the blob covers. Half-axes run from 0.6
        pixels to a quarter of the image, evenly in their logarithm.
    """
    count, _, height, width = images.shape
    rows, columns = _centres(images, generator)
    y = (
        torch.arange(height, device=images.device, dtype=images.dtype)[None, :, None]
        - rows[:, None, None]
    )
    x = (
        torch.arange(width, device=images.device, dtype=images.dtype)[None, None]
        - columns[:, None, None]
    )
    longest = torch.log(torch.tensor(min(height, width) / 4.0)).item()
    radius = _uniform(count, -0.5, longest, generator, images).exp()[:, None, None]
    flat = _uniform(count, 0.0, 1.6, generator, images).exp()[:, None, None]
    angle = _uniform(count, 0.0, torch.pi, generator, images)[:, None, None]
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    distance = torch.sqrt(along**2 + (across * flat) ** 2 + 1e-6)
    waves = torch.randn(count, 1, 8, 8, generator=generator, device=generator.device).to(images)
    waves = F.interpolate(waves, size=(height, width), mode="bicubic")[:, 0]
    softness = _uniform(count, 0.15, 1.5, generator, images)[:, None, None]
    inside = (radius * (1 + 0.25 * waves) - distance) / softness
    return torch.sigmoid(4 * inside)[:, None]


def _fillings(images: Tensor, generator: torch.Generator) -> list[Tensor]:
    """List what may stand in a blob: a grey, another image, brighter or darker, noise, blur."""
    count = len(images)
    grey = _uniform(count, 0.0, 1.0, generator, images)[:, None, None, None].expand_as(images)
    shift = torch.randint(-16, 17, (2,), generator=generator, device=generator.device).tolist()
    foreign = torch.roll(images.roll(1, dims=0), shift, dims=(2, 3))
    change = _uniform(count, -0.8, 0.8, generator, images)[:, None, None, None]
    noise = torch.randn(images.shape, generator=generator, device=generator.device).to(images)
    blurred = F.avg_pool2d(images, 5, stride=1, padding=2, count_include_pad=False)
    return [grey, foreign, (images + change).clamp(0, 1), (grey + 0.3 * noise).clamp(0, 1), blurred]


def random_filling(images: Tensor, generator: torch.Generator) -> Tensor:
    """Choose for each image what may stand in a blob of it.

    Parameters
    ----------
    images
        ``(b, c, y, x)`` in [0, 1].
    generator
        Source of every random draw.

    Returns
    -------
    Tensor
        Same shape: one grey, another image, the image brighter or darker, noise, or a blur.
    """
    fillings = torch.stack(_fillings(images, generator))
    kind = torch.randint(
        len(fillings), (len(images),), generator=generator, device=generator.device
    )
    return fillings[kind.to(images.device), torch.arange(len(images), device=images.device)]


def corrupt(images: Tensor, generator: torch.Generator, share: float = 0.5) -> Tensor:
    """Corrupt up to three blobs of each image, and nothing at all of some images.

    Parameters
    ----------
    images
        ``(b, c, y, x)`` in [0, 1].
    generator
        Source of every random draw.
    share
        Chance of a first blob; a second and a third have a half and a quarter of it.

    Returns
    -------
    Tensor
        Same shape.
    """
    corrupted = images
    device = generator.device
    for turn in range(3):
        filling = random_filling(images, generator)
        keeps = torch.rand(len(images), generator=generator, device=device) < share * 0.5**turn
        cover = random_shapes(images, generator) * keeps.to(images)[:, None, None, None]
        corrupted = torch.lerp(corrupted, filling, cover)
    return corrupted


def half_corrupted(
    images: Tensor, generator: torch.Generator, value_range: tuple[float, float] = (0.0, 1.0)
) -> tuple[Tensor, Tensor]:
    """Corrupt every second image, and label those that show it.

    Parameters
    ----------
    images
        ``(b, c, y, x)`` healthy, in `value_range`.
    generator
        Source of every random draw.
    value_range
        Grey values for low and high.

    Returns
    -------
    tuple of Tensor
        Images of the same shape, and labels ``(b,)`` int64, `HEALTHY` or `ANOMALOUS`. A shape that
        was filled with what stood there before leaves its image healthy.
    """
    low, high = value_range
    unit = (images - low) / (high - low)
    chosen = (torch.arange(len(images), device=images.device) % 2 == 1)[:, None, None, None]
    shown = torch.where(chosen, corrupt(unit, generator, share=1.0), unit)
    change = (shown - unit).abs().flatten(1).amax(dim=1)
    return low + (high - low) * shown, torch.where(change > VISIBLE, ANOMALOUS, HEALTHY)


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
