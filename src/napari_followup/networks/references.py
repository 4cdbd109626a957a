"""Features of several known visits as one map; each visit is read together with the base."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "RRDB",
    "ReferencePool",
]

SCALE = 0.2  # of every residual branch (Wang et al. 2018, Sec. 3.1)
FASTEST = 8.0  # at which numbers made of gaps and ages are clipped


class RRDB(nn.Module):
    """Encoder of residual-in-residual dense blocks.

    Parameters
    ----------
    inputs
        Channels of the images.
    features
        Width between the blocks.
    blocks
        Number of blocks; the output has as many times `features` channels.
    growth
        Channels that each of a dense block's convolutions adds.
    unshuffle
        Factor by which planes are folded into channels at the input, and by which the features are
        smaller than the planes.
    """

    def __init__(
        self,
        inputs: int = 1,
        features: int = 64,
        blocks: int = 8,
        *,
        growth: int = 32,
        unshuffle: int = 1,
    ) -> None:
        super().__init__()
        self.unshuffle = unshuffle
        self.outputs = blocks * features
        self.stem = nn.Conv2d(inputs * unshuffle**2, features, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(*[_Dense(features, growth) for _ in range(3)]) for _ in range(blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(b, inputs, y, x) -> (b, blocks · features, y / unshuffle, x / unshuffle)."""
        h = self.stem(F.pixel_unshuffle(x, self.unshuffle) if self.unshuffle > 1 else x)
        found = []
        for block in self.blocks:
            h = torch.add(h, block(h), alpha=SCALE)
            found.append(h)
        return torch.cat(found, dim=1)


class _Dense(nn.Module):
    """Five convolutions, each of which sees the input and what all before it made."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        widths = [growth] * 4 + [features]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(features + n * growth, width, 3, padding=1) for n, width in enumerate(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(b, features, y, x) -> (b, features, y, x)."""
        seen = x
        for convolution in self.convolutions[:-1]:
            seen = torch.cat([seen, F.leaky_relu(convolution(seen), SCALE)], dim=1)
        return torch.add(x, self.convolutions[-1](seen), alpha=SCALE)


class ReferencePool(nn.Module):
    """Mean over known visits, each read with its gap and weighted by it."""

    def __init__(self, channels: int, features: int = 64) -> None:
        super().__init__()
        self.read = nn.Sequential(
            nn.Linear(6, features), nn.SiLU(), nn.Linear(features, features), nn.SiLU()
        )
        self.scale = nn.Linear(features, channels)
        self.shift = nn.Linear(features, channels)
        self.weight = nn.Linear(features, 1)

    def forward(self, encoder: nn.Module, images: Tensor, gaps: Tensor, age: Tensor) -> Tensor:
        """Read every visit beside the base, the first one, and average.

        Parameters
        ----------
        encoder
            Maps pairs (n, 2 modality, y, x) to features (n, c, y', x').
        images
            ``(b, visit, modality, y, x)``, the base first.
        gaps
            ``(b, visit)`` standardised time from each visit to the wanted age, NaN for none.
        age
            ``(b, 1)`` standardised age of the base.

        Returns
        -------
        Tensor
            ``(b, c, y', x')``.
        """
        there = gaps.isfinite()
        pairs = torch.cat([images[:, :1].expand_as(images), images], dim=2)
        seen = encoder(pairs[there])
        maps = seen.new_zeros(*gaps.shape, *seen.shape[1:])
        maps[there] = seen
        read = self.read(_numbers(gaps.float().nan_to_num(), age))
        weight = self.weight(read)[..., 0].masked_fill(~there, float("-inf")).softmax(dim=1)
        scale = (1 + self.scale(read)) * weight[..., None]
        shift = (self.shift(read) * weight[..., None]).sum(dim=1)
        pooled: Tensor = torch.einsum("bvcyx,bvc->bcyx", maps, scale) + shift[..., None, None]
        return pooled


def _numbers(gaps: Tensor, age: Tensor) -> Tensor:
    """(b, visit, 6): gap of the base, time from it, their ratio, 1 / that time, is it, its age."""
    first = gaps[:, :1].expand_as(gaps)
    apart = first - gaps
    alike = apart == 0
    speed = torch.where(alike, 0.0, 1 / apart.masked_fill(alike, 1.0))  # of a change seen
    numbers = [first, apart, first * speed, speed, alike.float(), age.expand_as(gaps)]
    return torch.stack(numbers, dim=-1).clamp(-FASTEST, FASTEST)
