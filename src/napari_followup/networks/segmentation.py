"""U-Net that segments what differs between an image and its reconstruction.

SADM (Behrendt 2026, Sec. 3.4.6 and 8.6, appendix B.1): one encoder reads the residual and the image
by themselves, their features lie side by side at every level, one decoder reads both.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ResidualSegmenter"]

USUAL = 0.01  # share of pixels that are abnormal, which an untrained network starts from


class ResidualSegmenter(nn.Module):
    """U-Net with one encoder for two inputs.

    Parameters
    ----------
    modalities
        Channels of the image and of the residual.
    channels
        Width of each level, the finest first; every level halves the plane of the one before.
    """

    def __init__(self, modalities: int, channels: tuple[int, ...] = (64, 128, 256)) -> None:
        super().__init__()
        widths = (modalities, *channels)
        self.down = nn.ModuleList(
            _convolutions(widths[n], width) for n, width in enumerate(channels)
        )
        self.up = nn.ModuleList(
            _convolutions(_below(channels, n) + 2 * width, width)
            for n, width in reversed(list(enumerate(channels[:-1])))
        )
        self.head = nn.Conv2d(channels[0] if len(channels) > 1 else 2 * channels[0], 1, 1)
        assert self.head.bias is not None
        nn.init.constant_(self.head.bias, math.log(USUAL / (1 - USUAL)))

    @property
    def multiple(self) -> int:
        """Image sides must be multiples of this many pixels."""
        return 1 << (len(self.down) - 1)

    def forward(self, residual: Tensor, images: Tensor) -> Tensor:
        """(b, modality, y, x) twice -> logits (b, 1, y, x)."""
        h, features = torch.cat([residual, images]), []
        for level, block in enumerate(self.down):
            h = block(F.avg_pool2d(h, 2) if level else h)
            features.append(torch.cat(h.chunk(2), dim=1))  # side by side, no longer one by one
        joined = features.pop()
        for block in self.up:
            joined = F.interpolate(joined, scale_factor=2.0, mode="nearest")
            joined = block(torch.cat([joined, features.pop()], dim=1))
        logits: Tensor = self.head(joined)
        return logits


def _below(channels: tuple[int, ...], level: int) -> int:
    """Width of what comes up to a level: doubled at the bottom, where both inputs meet."""
    coarser = channels[level + 1]
    return 2 * coarser if level + 2 == len(channels) else coarser


def _convolutions(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions, each with group norm and SiLU."""
    layers: list[nn.Module] = []
    for wide_in in (inputs, outputs):
        layers += [nn.Conv2d(wide_in, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.SiLU()]
    return nn.Sequential(*layers)
