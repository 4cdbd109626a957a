"""Several known visits as one map: each read together with the one that is to be changed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ReferencePool"]

FASTEST = 8.0  # at which numbers made of gaps and ages are cut off


class ReferencePool(nn.Module):
    """Mean over known visits, each seen in the light of its gap and weighed by it."""

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
    told = [first, apart, first * speed, speed, alike.float(), age.expand_as(gaps)]
    return torch.stack(told, dim=-1).clamp(-FASTEST, FASTEST)
