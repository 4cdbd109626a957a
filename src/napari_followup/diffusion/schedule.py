"""The variance schedule: how much of the image is left at each diffusion step.

Linear schedule of Ho et al. (2020), as used by Dang (2025), Table 4.1. Pure tensor functions.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["abar_at", "check_betas", "check_steps", "draw_steps", "linear_schedule", "step_grid"]


def linear_schedule(steps: int, beta_range: tuple[float, float] = (1e-4, 2e-2)) -> Tensor:
    """Cumulative signal share of every step, the clean image included.

    Parameters
    ----------
    steps
        Number of diffusion steps `T`.
    beta_range
        Noise variance added at the first and at the last step.

    Returns
    -------
    Tensor
        ``(steps + 1,)`` float64; entry `t` is ᾱ_t, and entry 0 is exactly 1 (no noise).

    References
    ----------
    Dang (2025), eq. 2.4 and Table 4.1.
    """
    betas = torch.linspace(*beta_range, steps, dtype=torch.float64)
    return torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - betas, dim=0)])


def check_betas(beta_range: tuple[float, float]) -> None:
    """Raise a ValueError if the noise variances of the first and last step make no schedule."""
    low, high = beta_range
    if not 0 < low < high < 1:
        raise ValueError(f"beta_range must rise inside (0, 1), got {beta_range}")


def abar_at(abars: Tensor, steps: Tensor, like: Tensor) -> Tensor:
    """Signal share (b, 1, 1, 1) of steps (b,), ready to be multiplied with planes like `like`."""
    return abars[steps].to(like)[:, None, None, None]


def step_grid(level: int, sampling_steps: int) -> Tensor:
    """Even grid of steps from `level` down to 0, both ends included.

    Parameters
    ----------
    level
        Step at which decoding starts, at least 1.
    sampling_steps
        Number of network calls; more than `level` gives one call a step.

    Returns
    -------
    Tensor
        ``(n + 1,)`` int64, strictly falling from `level` to 0, ``n = min(level, sampling_steps)``.

    Raises
    ------
    ValueError
        If `level` or `sampling_steps` is below 1.

    Notes
    -----
    The published sampler starts one step beside `level` and ends at a residual noise of 0.01;
    this grid does neither.
    """
    if level < 1 or sampling_steps < 1:
        raise ValueError(
            f"level and sampling_steps must be at least 1, got {level} and {sampling_steps}"
        )
    return torch.linspace(level, 0, min(level, sampling_steps) + 1).round().long()


def draw_steps(
    count: int,
    between: tuple[int, int],
    generator: torch.Generator,
    like: Tensor,
    *,
    power: float = 1.0,
) -> Tensor:
    """Draw one step an image.

    Parameters
    ----------
    count
        Number of images.
    between
        Lowest and highest step, both included.
    generator
        Source of the choice.
    like
        A tensor on the device where the steps are wanted.
    power
        1 draws all steps alike; above 1, low ones more often: ``uniform ** power``.

    Returns
    -------
    Tensor
        ``(count,)`` int64.
    """
    low, high = between
    even = torch.rand(count, generator=generator, device=generator.device, dtype=torch.float64)
    steps = low + (even**power * (high - low + 1)).long()
    return steps.clamp_max(high).to(like.device)


def check_steps(name: str, between: tuple[int, int], known: tuple[int, int]) -> None:
    """Raise a ValueError if a range of steps does not rise inside those that a model knows."""
    low, high = between
    if not known[0] <= low <= high <= known[1]:
        raise ValueError(
            f"{name}: got steps {low} to {high}; this model knows steps {known[0]} to {known[1]}"
        )
