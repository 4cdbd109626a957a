"""Noise that images are mixed with, by name; simplex noise has structure at many scales.

Simplex noise (Perlin 2001) in the octaves of AnoDDPM (Wyatt et al. 2022), as Behrendt (2026),
Sec. 3.4.2, takes it. Gradients are drawn for each lattice point and not looked up in a table, so
that every field is its own and nothing repeats. Pure tensor functions, any device.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "NOISES",
    "Noise",
    "draw_noise",
    "gaussian",
    "noise_named",
    "pyramid_noise",
    "pyramid_sizes",
    "simplex",
]


def draw_noise(shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
    """Gaussian noise of unit variance, drawn on the generator's device and moved beside `like`."""
    noise = torch.randn(shape, generator=generator, device=generator.device)
    return noise.to(like)


def pyramid_noise(
    shape: tuple[int, ...],
    generator: torch.Generator,
    like: Tensor,
    *,
    decay: float = 0.8,
    levels: int = 10,
) -> Tensor:
    """Noise with structure of every size.

    Parameters
    ----------
    shape
        ``(b, c, y, x)``.
    generator
        Source of every random draw.
    like
        Gives device and dtype.
    decay
        ``c`` of eq. 9: what each coarser level counts for, compared with the one before.
    levels
        At most so many; the first one that is a single pixel high or wide is the last.

    Returns
    -------
    Tensor
        ``shape``, each sample with a variance of 1 over its channels and pixels.

    References
    ----------
    ANDi, eqs. 9-10. The grids of a level are the same for the whole batch.
    """
    height, width = shape[-2:]
    total = torch.zeros(shape, device=like.device, dtype=like.dtype)
    sizes = pyramid_sizes((height, width), generator, levels=levels)
    for level, size in enumerate(sizes, start=1):
        grid = draw_noise((*shape[:2], *size), generator, like)
        total += decay**level * F.interpolate(grid, size=(height, width), mode="bilinear")
    spread = total.flatten(1).std(dim=1, unbiased=False).clamp_min(1e-12)
    return total / spread[:, None, None, None]


def pyramid_sizes(
    size: tuple[int, int], generator: torch.Generator, *, levels: int = 10
) -> list[tuple[int, int]]:
    """Heights and widths of the levels of eq. 10, the finest first.

    Parameters
    ----------
    size
        ``(y, x)`` of the finest level, in pixels.
    generator
        Source of the jittered ratio ``r_i = 2 + Unif(0, 2)``.
    levels
        At most so many.

    Returns
    -------
    list of tuple
        ``ceil(size / r_i ** (i - 1))`` of each level.
    """
    sizes: list[tuple[int, int]] = []
    for level in range(levels):
        jitter = torch.rand((), generator=generator, device=generator.device).item()
        ratio = (2 + 2 * jitter) ** level
        sizes.append((math.ceil(size[0] / ratio), math.ceil(size[1] / ratio)))
        if min(sizes[-1]) == 1:  # coarser ones would only shift the whole image
            break
    return sizes


Noise = Callable[[tuple[int, ...], torch.Generator, Tensor], Tensor]
"""Makes noise of zero mean and unit variance from a shape (b, c, y, x), a generator and a tensor
whose dtype and device it takes."""

SKEW, UNSKEW = (math.sqrt(3) - 1) / 2, (3 - math.sqrt(3)) / 6  # square lattice <-> triangles
REACH = 0.5  # square of the height of a triangle: how far a lattice point is felt

# Variance of one octave: the mean over the plane of what every lattice point adds,
# π / (2 A) ∫ (REACH - s)^8 s ds over s in [0, REACH], where A is the area a lattice point has.
VARIANCE = math.pi / (2 * (1 - 2 * UNSKEW)) * REACH**10 / 90

gaussian = draw_noise


def simplex(
    shape: tuple[int, ...],
    generator: torch.Generator,
    like: Tensor,
    *,
    octaves: int = 6,
    persistence: float = 0.8,
    frequency: float = 64.0,
) -> Tensor:
    """Sum of simplex noise at ever finer scales, a field of its own for every plane.

    Parameters
    ----------
    shape
        ``(..., y, x)``.
    generator
        Source of gradients and offsets; draws on its own device.
    like
        Gives dtype and device.
    octaves
        Scales, each half as long as the one before.
    persistence
        Amplitude of each octave over that of the one before.
    frequency
        What the source calls the starting frequency: the length of the coarsest scale, in pixels.

    Returns
    -------
    Tensor
        `shape`; zero mean and unit variance at every pixel, over fields and not within one field,
        whose coarse octaves shift it as a whole.

    References
    ----------
    Behrendt (2026), Sec. 3.4.2; Wyatt et al. (2022), Sec. 3.2: 6 octaves, persistence 0.8,
    frequency 64. The published code adds up unscaled octaves, of a variance below one.
    """
    fields = math.prod(shape[:-2]), shape[-2], shape[-1]
    total = torch.zeros(fields, device=generator.device)
    for octave in range(octaves):
        scale = frequency / 2**octave
        total += persistence**octave * _octave(fields, scale, generator)
    power = VARIANCE * sum(persistence ** (2 * octave) for octave in range(octaves))
    return (total / math.sqrt(power)).reshape(shape).to(like)


def _octave(shape: tuple[int, int, int], scale: float, generator: torch.Generator) -> Tensor:
    """Simplex noise (field, y, x), `scale` pixels to a lattice unit, of variance `VARIANCE`.

    All fields lie on one lattice, laid at random, which makes the noise four times as fast.
    """
    rows, columns = _skewed(shape[1:], scale, generator)
    corner_row, corner_column = rows.floor(), columns.floor()
    lattice = int(corner_row.max()) + 2, int(corner_column.max()) + 2
    gradients = _gradients(shape[0], lattice, generator)
    y, x = _unskewed(rows - corner_row, columns - corner_column)
    first = (corner_row * lattice[1] + corner_column).long()
    is_lower = y > x
    total = torch.zeros(shape, device=generator.device)
    for place, away_y, away_x in (
        (first, y, x),
        (
            first + torch.where(is_lower, lattice[1], 1),
            y - is_lower.float() + UNSKEW,
            x - (~is_lower).float() + UNSKEW,
        ),
        (first + lattice[1] + 1, y - 1 + 2 * UNSKEW, x - 1 + 2 * UNSKEW),
    ):
        weight = (REACH - away_y.square() - away_x.square()).clamp_min(0).square().square()
        for away, gradient in zip((away_y, away_x), gradients, strict=True):
            seen = gradient.index_select(1, place.flatten()).view(shape)
            total.addcmul_(weight * away, seen)
    return total


def _skewed(
    shape: tuple[int, int], scale: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Lattice coordinates of every pixel, (y, x) each, shifted at random within one cell."""
    shift = torch.rand(2, generator=generator, device=generator.device)
    y = torch.arange(shape[0], device=generator.device)[:, None] / scale
    x = torch.arange(shape[1], device=generator.device)[None] / scale
    skew = (y + x) * SKEW
    return y + skew + shift[0], x + skew + shift[1]


def _unskewed(rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    skew = (rows + columns) * UNSKEW
    return rows - skew, columns - skew


def _gradients(
    count: int, lattice: tuple[int, int], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw unit vectors in random directions: y and x, (field, lattice point) each."""
    shape = count, lattice[0] * lattice[1]
    angles = 2 * math.pi * torch.rand(shape, generator=generator, device=generator.device)
    return angles.sin(), angles.cos()


NOISES: dict[str, Noise] = {"gaussian": gaussian, "simplex": simplex, "pyramid": pyramid_noise}


def noise_named(name: str) -> Noise:
    """Look up the function that draws a noise.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in NOISES:
        raise ValueError(f"noise: got {name!r}; this version knows {', '.join(sorted(NOISES))}")
    return NOISES[name]
