"""Residual-in-residual dense blocks: an image to features that keep their place.

Wang et al. (2018), as Dang (2025), Sec. 6.2, takes them for the baseline image. The features after
every block are kept, side by side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["RRDB"]

SCALE = 0.2  # of every residual branch (Wang et al. 2018, Sec. 3.1)


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
        Factor by which planes are folded into channels at the door, and by which the features are
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
