"""Turn a diffusion step, an age or any other number into features a network can use.

Sinusoidal embedding of Vaswani et al. (2017), as Dang (2025), Sec. 3.1.2, takes it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["NumberEmbedding", "sinusoids"]


def sinusoids(numbers: Tensor, features: int, longest_period: float = 10_000.0) -> Tensor:
    """Sines and cosines of `numbers` at geometrically spaced frequencies.

    Parameters
    ----------
    numbers
        ``(b,)``, in the unit in which a difference of one should matter.
    features
        Even number of outputs, half of them cosines.
    longest_period
        The slowest wave's period over 2π.

    Returns
    -------
    Tensor
        ``(b, features)`` float32.
    """
    half = features // 2
    rates = torch.exp(
        -math.log(longest_period)
        * torch.arange(half, dtype=torch.float32, device=numbers.device)
        / half
    )
    angles = numbers.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class NumberEmbedding(nn.Module):
    """Sinusoids through two linear layers (Dang 2025, Sec. 4.2.1)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        self.layers = nn.Sequential(
            nn.Linear(features, features), nn.SiLU(), nn.Linear(features, features)
        )

    def forward(self, numbers: Tensor) -> Tensor:
        """(b,) -> (b, features)."""
        embedded: Tensor = self.layers(sinusoids(numbers, self.features))
        return embedded
