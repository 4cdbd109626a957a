"""Walk from noise to image as the first diffusion models do: fresh noise at every step.

Ho et al. (2020), Algorithm 2, on any grid of steps; AnoDDPM (Wyatt et al. 2022) starts it in the
middle. Pure tensor functions, any device.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from napari_followup.diffusion.noise import Noise
from napari_followup.diffusion.sampling import Denoise
from napari_followup.diffusion.schedule import step_grid

__all__ = ["decode_ancestral", "posterior"]


def posterior(
    noised: Tensor, clean: Tensor, abar: Tensor, next_abar: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean and variance of an earlier step, given a later one and the clean image.

    Parameters
    ----------
    noised
        Images at the step whose signal share is `abar`.
    clean
        The network's clean images for them.
    abar, next_abar
        Signal shares of this step and of the one to go to, broadcastable.

    Returns
    -------
    tuple of Tensor
        Mean, shape of `noised`, and variance, shape of `abar`; both are those of the clean image at
        ``next_abar = 1``.

    References
    ----------
    Ho et al. (2020), eqs. 6-7, with ``abar / next_abar`` for the α of one step.
    """
    kept = abar / next_abar
    share = (1 - next_abar) / (1 - abar)
    mean = next_abar.sqrt() * (1 - kept) / (1 - abar) * clean + kept.sqrt() * share * noised
    return mean, share * (1 - kept)


def decode_ancestral(
    noised: Tensor,
    level: int,
    sampling_steps: int,
    abars: Tensor,
    denoise: Denoise,
    *,
    noise: Noise,
    generator: torch.Generator,
) -> Tensor:
    """Stochastic decoding from `level` down to the clean image.

    Parameters
    ----------
    noised, level, sampling_steps, abars, denoise
        As for `sampling.decode`; `level` sampling steps are the published walk.
    noise, generator
        What is added at every step but the last, and its source.

    Returns
    -------
    Tensor
        ``(b, c, y, x)`` clean images.
    """
    for step, following in pairwise(step_grid(level, sampling_steps).tolist()):
        clean = denoise(noised, step)
        mean, variance = posterior(
            noised, clean, abars[step].to(noised), abars[following].to(noised)
        )
        fresh = noise(tuple(noised.shape), generator, noised) if following else 0.0
        noised = mean + variance.sqrt() * fresh
    return noised
