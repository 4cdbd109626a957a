"""The true backward transition of the diffusion process, and how far a prediction strays from it.

Ho et al. (2020) in the notation of ANDi (Frotscher et al. 2024), eqs. 2 and 6. Pure tensor
functions, any device.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["posterior_weights", "transition_deviation"]


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
