"""A light decoder that fills in an image from an encoder's features, for pre-training.

After SparK (Tian et al. 2023), which Behrendt (2026), Sec. 8.3, 3.3, adopts: features of every
stage, from coarse to fine, each added to what has been decoded so far.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FeatureDecoder"]


class FeatureDecoder(nn.Module):
    """Features of all stages to an image.

    Parameters
    ----------
    widths
        Channels of the stages, the finest first.
    outputs
        Channels of the image.
    features
        Channels in between.
    """

    def __init__(self, widths: Sequence[int], outputs: int, features: int = 64) -> None:
        super().__init__()
        self.enter = nn.ModuleList(nn.Conv2d(width, features, 1) for width in widths)
        self.mix = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(features, features, 3, padding=1), nn.GroupNorm(8, features), nn.SiLU()
            )
            for _ in widths
        )
        self.head = nn.Conv2d(features, outputs, 3, padding=1)

    def forward(self, stages: list[Tensor], like: Tensor) -> Tensor:
        """One (b, c, y', x') a stage, the finest first, and images of the wanted size -> image."""
        h = stages[-1].new_zeros(())
        for index in reversed(range(len(stages))):
            entered = self.enter[index](stages[index])
            coarser = F.interpolate(h, entered.shape[-2:], mode="bilinear") if h.ndim else h
            h = self.mix[index](entered + coarser)
        filled: Tensor = self.head(F.interpolate(h, like.shape[-2:], mode="bilinear"))
        return filled
