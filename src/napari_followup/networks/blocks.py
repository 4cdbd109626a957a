"""Blocks of the conditional U-Net: adaptive group norm, residual block, self-attention, resampling.

Dang (2025), Sec. 3.1.2 and 4.2.1; the layout follows Dhariwal & Nichol (2021). A block's conditions
come in as ready scales and shifts, so that they are computed once and not at every call.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "AdaGroupNorm",
    "JoinedCondition",
    "NumberEmbedding",
    "ResidualBlock",
    "SelfAttention",
    "SummedCondition",
    "check_sides",
    "sinusoids",
    "zeroed",
]


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


def check_sides(sides: tuple[int, ...], multiple: int) -> None:
    """Raise a ValueError if one of the sides is no multiple of what the network takes."""
    if any(side % multiple for side in sides):
        raise ValueError(
            f"image_size: got {sides}; this network takes multiples of {multiple} pixels"
        )


def zeroed(layer: nn.Module) -> nn.Module:
    """Set all parameters of a layer to zero, so that its branch starts as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class AdaGroupNorm(nn.Module):
    """Group norm scaled and shifted by the step, then by the semantic code (Dang 2025, eq. 3.1)."""

    def __init__(self, channels: int, features: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.from_step = nn.Sequential(nn.SiLU(), nn.Linear(features, 2 * channels))
        self.from_code = nn.Sequential(nn.SiLU(), nn.Linear(features, 2 * channels))

    def forward(self, h: Tensor, step: Tensor, code: Tensor) -> Tensor:
        """(b, c, y, x), (b or 1, 2 c), (b, 2 c) projections -> (b, c, y, x)."""
        step_scale, step_shift = step[..., None, None].chunk(2, dim=1)
        code_scale, code_shift = code[..., None, None].chunk(2, dim=1)
        # (1 + z_s) * ((1 + t_s) * GN(h) + t_b) + z_b, gathered into one scale and one shift
        scale = (1 + code_scale) * (1 + step_scale)
        return torch.addcmul((1 + code_scale) * step_shift + code_shift, scale, self.norm(h))


class SummedCondition(nn.Module):
    """Step and code added to the features, then group norm (Dang 2025, Sec. 6.2).

    The code is a map, so its values act on their own place.
    """

    def __init__(self, channels: int, features: int, groups: int, code_features: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.from_step = nn.Sequential(nn.SiLU(), nn.Linear(features, channels))
        self.from_code = nn.Conv2d(code_features, channels, 1)

    def forward(self, h: Tensor, step: Tensor, code: Tensor) -> Tensor:
        """(b, c, y, x), (b or 1, c), (b, c, y, x) projections -> (b, c, y, x)."""
        summed: Tensor = self.norm(h + step[..., None, None] + code)
        return summed


class JoinedCondition(nn.Module):
    """Group norm, then f · (γ + 1) + β from step and code side by side (Behrendt 2026, Sec. 3.4.3).

    One linear map of the two vectors, concatenated, gives γ and β; it is applied to each part by
    itself and added up, so that the code's share is computed once. With `code_features` 0 it is
    the scale-shift norm of a step alone.
    """

    def __init__(self, channels: int, features: int, groups: int, code_features: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.features, self.code_features = features, code_features
        self.project = nn.Linear(features + code_features, 2 * channels)

    def from_step(self, step: Tensor) -> Tensor:
        """(b, features) -> (b, 2 c): the step's share of γ and β."""
        return F.linear(F.silu(step), self.project.weight[:, : self.features], self.project.bias)

    def from_code(self, code: Tensor) -> Tensor:
        """(b, code_features) -> (b, 2 c): the code's share of γ and β."""
        if not self.code_features:
            return code.new_zeros(1, 1)
        return F.linear(F.silu(code), self.project.weight[:, self.features :])

    def forward(self, h: Tensor, step: Tensor, code: Tensor) -> Tensor:
        """(b, c, y, x) and both shares, (b or 1, 2 c) each -> (b, c, y, x)."""
        scale, shift = (step + code)[..., None, None].chunk(2, dim=1)
        return torch.addcmul(shift, 1 + scale, self.norm(h))


Condition = Callable[[int, int, int], nn.Module]
"""Makes a block's condition from its channels, the step embedding's length and norm groups."""

Resample = Literal["down", "up"]


class ResidualBlock(nn.Module):
    """Norm, SiLU, convolution; conditioned norm, SiLU, dropout, convolution; and the way around.

    With `resample` the planes are halved (average pool) or doubled (nearest) on both ways.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        features: int,
        *,
        dropout: float = 0.0,
        groups: int = 8,
        resample: Resample | None = None,
        condition: Condition = AdaGroupNorm,
    ) -> None:
        super().__init__()
        self.resample = _resampler(resample)
        self.norm = nn.GroupNorm(groups, inputs)
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.adaptive = condition(outputs, features, groups)
        self.dropout = nn.Dropout(dropout)
        self.last = zeroed(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, step: Tensor, code: Tensor) -> Tensor:
        """(b, inputs, y, x) and the condition's two projections -> (b, outputs, y', x')."""
        h = self.convolution(self.resample(F.silu(self.norm(x))))
        h = F.silu(self.adaptive(h, step, code))
        changed: Tensor = self.skip(self.resample(x)) + self.last(self.dropout(h))
        return changed


def _resampler(resample: Resample | None) -> nn.Module:
    match resample:
        case "down":
            return nn.AvgPool2d(2)
        case "up":
            return nn.Upsample(scale_factor=2.0, mode="nearest")
        case None:
            return nn.Identity()


class SelfAttention(nn.Module):
    """One-head self-attention over all pixels of a plane."""

    def __init__(self, channels: int, groups: int = 8) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.project = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, y, x) -> (b, c, y, x)."""
        qkv = self.to_qkv(self.norm(x)).flatten(2).transpose(1, 2)  # (b, pixel, 3 c)
        query, key, value = qkv[:, None].chunk(3, dim=-1)  # one head: four axes take the fast path
        mixed = F.scaled_dot_product_attention(query, key, value)[:, 0]
        attended: Tensor = self.project(mixed.transpose(1, 2).unflatten(2, x.shape[2:]))
        return x + attended
