"""Walk the DDIM path with few network calls: noise to image (decode) and image to noise (encode).

Dang (2025), Sec. 3.1.3. The network comes in as a function of the noised images and the step, so
the same walk serves every diffusion method; its conditions are computed once, outside.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from napari_followup.diffusion.noise import Noise
from napari_followup.diffusion.process import add_noise, ddim_step
from napari_followup.diffusion.schedule import step_grid

__all__ = [
    "Denoise",
    "decode",
    "decode_ancestral",
    "encode",
    "lerp",
    "noised_to",
    "posterior",
    "slerp",
]

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


def lerp(start: Tensor, end: Tensor, part: Tensor) -> Tensor:
    """Straight from `start` (b, ...) to `end` (b, ...); `part` (b,) goes from 0 to 1.

    References
    ----------
    Dang (2025), appendix C.
    """
    return torch.lerp(start, end, _beside(part, start))


def slerp(start: Tensor, end: Tensor, part: Tensor) -> Tensor:
    """Along the arc from `start` to `end`, as far apart as the angle between them.

    Parameters
    ----------
    start, end
        ``(b, ...)``; each sample is one vector.
    part
        ``(b,)`` from 0 to 1.

    Returns
    -------
    Tensor
        Shape of `start`. Vectors that point the same way are joined by a straight line, which the
        arc then is.

    References
    ----------
    Dang (2025), appendix C; Shoemake (1985).
    """
    cosine = torch.cosine_similarity(start.flatten(1).double(), end.flatten(1).double(), dim=1)
    angle = cosine.clamp(-1, 1).acos()
    sine = angle.sin()
    arc = sine > 1e-6
    part = part.to(angle)
    to_start = torch.where(arc, ((1 - part) * angle).sin() / sine.where(arc, 1.0), 1 - part)
    to_end = torch.where(arc, (part * angle).sin() / sine.where(arc, 1.0), part)
    return _beside(to_start, start) * start + _beside(to_end, end) * end


def _beside(part: Tensor, values: Tensor) -> Tensor:
    """One number a sample, ready to be multiplied with samples."""
    return part.to(values).reshape(-1, *[1] * (values.ndim - 1))
