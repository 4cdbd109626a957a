"""The diffusion process: add noise, read a clean image off a prediction, step along the DDIM path.

Song et al. (2021) in the notation of Dang (2025), eqs. 2.4, 2.13 and 2.14. Every function takes ᾱ
as a tensor that broadcasts over the images. Pure tensor functions, any device.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "add_noise",
    "clean_from_noise",
    "ddim_step",
    "noise_from_clean",
    "posterior_weights",
    "transition_deviation",
]


def add_noise(clean: Tensor, noise: Tensor, abar: Tensor) -> Tensor:
    """Noised image of the step whose signal share is `abar` (Dang 2025, eq. 2.4).

    Parameters
    ----------
    clean, noise
        Same shape; `noise` has unit variance.
    abar
        Broadcastable over `clean`, in (0, 1].

    Returns
    -------
    Tensor
        Shape of `clean`.
    """
    return abar.sqrt() * clean + (1 - abar).sqrt() * noise


def clean_from_noise(noised: Tensor, noise: Tensor, abar: Tensor) -> Tensor:
    """Clean image that a noise prediction stands for: eq. 2.4 solved for the image.

    Parameters
    ----------
    noised, noise
        Same shape: the noised image, and the noise in it.
    abar
        Signal share of the step, broadcastable over `noised`, in (0, 1].

    Returns
    -------
    Tensor
        Shape of `noised`, not clamped.
    """
    return (noised - (1 - abar).sqrt() * noise) / abar.sqrt()


def noise_from_clean(noised: Tensor, clean: Tensor, abar: Tensor) -> Tensor:
    """Noise that a prediction of the clean image stands for: eq. 2.4 solved for the noise.

    Parameters
    ----------
    noised, clean
        Same shape: the noised image, and the clean image behind it.
    abar
        Signal share of the step, broadcastable over `noised`, in (0, 1].

    Returns
    -------
    Tensor
        Shape of `noised`; zero at ``abar = 1``, where there is no noise to speak of.
    """
    spread = (1 - abar).sqrt()
    return torch.where(spread > 0, (noised - abar.sqrt() * clean) / spread.clamp_min(1e-12), 0.0)


def ddim_step(noised: Tensor, clean: Tensor, abar: Tensor, next_abar: Tensor) -> Tensor:
    """One deterministic DDIM step, towards the image or, read backwards, towards noise.

    Parameters
    ----------
    noised
        Image at the step whose signal share is `abar`.
    clean
        The network's clean image for it, already clamped to the value range.
    abar, next_abar
        Signal shares of this step and of the one to go to.

    Returns
    -------
    Tensor
        Image at the next step; with ``next_abar = 1`` it is `clean` itself.

    References
    ----------
    Dang (2025), eq. 2.13; inversion is eq. 2.14 with its lost braces restored, ``sqrt(1/ᾱ - 1)``.
    """
    return add_noise(clean, noise_from_clean(noised, clean, abar), next_abar)


def posterior_weights(abars: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of the noised and of the clean image in the mean of ``q(x_{t-1} | x_t, x_0)``.

    Parameters
    ----------
    abars
        Signal share of every step, see `linear_schedule`.
    steps
        ``(b,)``, from 1 up.

    Returns
    -------
    tuple of Tensor
        Each ``(b,)`` in the dtype of `abars`.

    References
    ----------
    ANDi, eq. 2.
    """
    abar, before = abars[steps], abars[steps - 1]
    alpha = abar / before
    spread = 1 - abar
    return alpha.sqrt() * (1 - before) / spread, before.sqrt() * (1 - alpha) / spread


def transition_deviation(clean: Tensor, predicted: Tensor, abars: Tensor, steps: Tensor) -> Tensor:
    """Squared distance between the true and the predicted mean of one step backward.

    Parameters
    ----------
    clean, predicted
        ``(b, c, y, x)``: the image, and the network's idea of it from the same noised image.
    abars
        Signal share of every step, see `linear_schedule`.
    steps
        ``(b,)``, from 1 up.

    Returns
    -------
    Tensor
        ``(b, c, y, x)``, non-negative.

    References
    ----------
    ANDi, eq. 6. Both means hold the same share of the noised image, which therefore drops out:
    taking it away here and not after the sums keeps small deviations exact.
    """
    _, weight = posterior_weights(abars, steps)
    return (weight.to(clean)[:, None, None, None] * (clean - predicted)).square()
