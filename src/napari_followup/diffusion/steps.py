"""Which diffusion steps a training batch is noised to. Pure tensor functions, any device."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["check_steps", "draw_steps"]


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
