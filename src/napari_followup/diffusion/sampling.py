"""Walk the DDIM path with few network calls: noise to image (decode) and image to noise (encode).

Dang (2025), Sec. 3.1.3. The network comes in as a function of the noised images and the step, so
the same walk serves every diffusion method; its conditions are computed once, outside.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from napari_followup.diffusion.process import add_noise, ddim_step
from napari_followup.diffusion.schedule import step_grid

__all__ = ["Denoise", "decode", "draw_noise", "encode", "noised_to"]

Denoise = Callable[[Tensor, int], Tensor]
"""Maps images noised to a step, and that step, to the network's clean images (value range kept)."""


def noised_to(clean: Tensor, level: int, abars: Tensor, noise: Tensor) -> Tensor:
    """Images noised to a level: the published ``x_t^semantic`` (Dang 2025, eq. 2.4).

    Parameters
    ----------
    clean, noise
        ``(b, c, y, x)``; `noise` has unit variance.
    level
        Diffusion step to go to.
    abars
        Signal share of every step, see `linear_schedule`.

    Returns
    -------
    Tensor
        ``(b, c, y, x)``.
    """
    return add_noise(clean, noise, abars[level].to(clean))


def decode(
    noised: Tensor, level: int, sampling_steps: int, abars: Tensor, denoise: Denoise
) -> Tensor:
    """Deterministic DDIM decoding from `level` down to the clean image.

    Parameters
    ----------
    noised
        ``(b, c, y, x)`` images at step `level`.
    level, sampling_steps
        Where decoding starts, and how many network calls it takes.
    abars
        Signal share of every step, see `linear_schedule`.
    denoise
        The network with its conditions bound.

    Returns
    -------
    Tensor
        ``(b, c, y, x)`` clean images.
    """
    grid = step_grid(level, sampling_steps).tolist()
    for step, following in pairwise(grid):
        clean = denoise(noised, step)
        noised = ddim_step(noised, clean, abars[step].to(noised), abars[following].to(noised))
    return noised


def encode(
    clean: Tensor, level: int, sampling_steps: int, abars: Tensor, denoise: Denoise
) -> Tensor:
    """Stochastic subcode ``x_t^infer``: the DDIM path walked from the image up to `level`.

    Parameters
    ----------
    clean
        ``(b, c, y, x)`` images.
    level, sampling_steps, abars, denoise
        As for `decode`, in the other direction. The first call is made at step 1, where the
        network has been trained, since there is no step 0 for it to know.

    Returns
    -------
    Tensor
        ``(b, c, y, x)`` images at step `level`.

    References
    ----------
    Dang (2025), eq. 2.14. Its reconstructions copy anomalies (Table 5.1): not for detection.
    """
    grid = step_grid(level, sampling_steps).flip(0).tolist()
    noised = clean
    for step, following in pairwise(grid):
        predicted = denoise(noised, max(step, 1))
        start = abars[max(step, 1)].to(noised)
        noised = ddim_step(noised, predicted, start, abars[following].to(noised))
    return noised


def draw_noise(shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
    """Gaussian noise of unit variance, drawn on the generator's device and moved beside `like`."""
    noise = torch.randn(shape, generator=generator, device=generator.device)
    return noise.to(like)
