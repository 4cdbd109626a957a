"""Pyramid noise: Gaussian noise of several resolutions, summed to one field of unit variance.

ANDi (Frotscher et al. 2024), Sec. 4.4, eqs. 9-10. A network that has learned to remove it takes
coarse anomalies for noise. Pure tensor functions, any device.
"""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_followup.diffusion.sampling import draw_noise

__all__ = ["pyramid_noise", "pyramid_sizes"]


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
        sizes.append((ceil(size[0] / ratio), ceil(size[1] / ratio)))
        if min(sizes[-1]) == 1:  # coarser ones would only shift the whole image
            break
    return sizes
