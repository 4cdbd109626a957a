"""The conditional U-Net of the diffusion models (Dang 2025, Sec. 3.1.2, Table 4.1).

With `unshuffle` 2 or more the images enter as that many times smaller planes with more channels:
the same widths at a fraction of the cost. Conditions are projected by `project_steps` and
`project_code`, once for a whole decoding.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_followup.networks.blocks import (
    AdaGroupNorm,
    JoinedCondition,
    NumberEmbedding,
    ResidualBlock,
    SelfAttention,
    SummedCondition,
    check_sides,
    zeroed,
)

__all__ = ["UNet"]


class _Stage(nn.Module):
    """A residual block and, where asked for, attention after it."""

    def __init__(self, block: ResidualBlock, attention: SelfAttention | None) -> None:
        super().__init__()
        self.block = block
        self.attention = attention or nn.Identity()

    def forward(self, x: Tensor, step: Tensor, code: Tensor) -> Tensor:
        """(b, inputs, y, x) and the block's projections -> (b, outputs, y, x)."""
        h: Tensor = self.attention(self.block(x, step, code))
        return h


class UNet(nn.Module):
    """U-Net whose residual blocks are conditioned by a step and by a code.

    Parameters
    ----------
    inputs, outputs
        Channels of the images that come and go.
    channels
        Width of each level, the finest first; every level halves the plane of the one before.
    attention
        Levels (0 is the finest) that attend; the middle does if any level does.
    features
        Length of the step embedding and of the code's projection.
    code_features
        Length of the semantic code, or channels of its map when `summed`; 0 for none.
    dropout
        Share of features dropped inside every residual block while training.
    unshuffle
        Factor by which planes are folded into channels at the input.
    residual_resampling
        Whether a residual block of its own goes from level to level, as in the source's code, or a
        plain pool and repeat.
    blocks
        Residual blocks a level on the way down; on the way up there is one more.
    summed
        Whether conditions are added, and the code is a map (Sec. 6.2), or scale and shift.
    joined
        Whether step and code are concatenated before they scale and shift (Behrendt 2026, Sec.
        3.4.3); the code then enters as it is.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        channels: tuple[int, ...] = (32, 64, 96),
        *,
        attention: tuple[int, ...] = (1, 2),
        features: int = 128,
        code_features: int = 512,
        dropout: float = 0.1,
        unshuffle: int = 1,
        residual_resampling: bool = False,
        blocks: int = 1,
        summed: bool = False,
        joined: bool = False,
    ) -> None:
        super().__init__()
        self.unshuffle, self.features, self.blocks = unshuffle, features, blocks
        self.step_embedding = NumberEmbedding(features)
        by_vector = code_features and not (summed or joined)
        self.code_embedding = nn.Linear(code_features, features) if by_vector else None
        self.joined = joined
        kind = JoinedCondition if joined else SummedCondition
        by_code = partial(kind, code_features=code_features)
        condition = by_code if summed or joined else AdaGroupNorm
        block = partial(ResidualBlock, features=features, dropout=dropout, condition=condition)

        def stage(wide_in: int, wide_out: int, level: int) -> _Stage:
            attends = SelfAttention(wide_out) if level in attention else None
            return _Stage(block(wide_in, wide_out), attends)

        folded = unshuffle**2
        self.stem = nn.Conv2d(inputs * folded, channels[0], 3, padding=1)
        down, up = _ways(channels, blocks)
        self.down = nn.ModuleList(stage(*way) for way in down)
        attending = (min(attention, default=-1), -1)
        self.middle = nn.ModuleList(stage(channels[-1], channels[-1], it) for it in attending)
        self.up = nn.ModuleList(stage(*way) for way in up)
        steps = channels if residual_resampling else ()
        self.shrink = nn.ModuleList([block(w, w, resample="down") for w in steps[:-1]])
        self.grow = nn.ModuleList([block(w, w, resample="up") for w in steps[:0:-1]])
        self.head = _head(channels[0], outputs * folded)

    @classmethod
    def of(cls, config: Any, code_features: int = 0) -> UNet:
        """U-Net with joined conditions, as wide and deep as in a method's configuration.

        Raises
        ------
        ValueError
            If the image size is no multiple of what the network halves and folds.
        """
        unet = cls(
            config.modalities,
            config.modalities,
            config.channels,
            attention=config.attention,
            features=config.condition_features,
            code_features=code_features,
            dropout=config.dropout,
            unshuffle=config.unshuffle,
            residual_resampling=config.residual_resampling,
            blocks=config.blocks,
            joined=True,
        )
        check_sides(config.image_size, unet.multiple)
        return unet

    @property
    def multiple(self) -> int:
        """Image sides must be multiples of this many pixels."""
        return self.unshuffle << (len(self.down) // self.blocks - 1)

    def _norms(self) -> list[Any]:
        """Conditioned norms, in the order of `forward`."""
        down = _woven(self.down, self.shrink, every=self.blocks)
        up = _woven(self.up, self.grow, every=self.blocks + 1)
        blocks = [
            part.block if isinstance(part, _Stage) else part for part in (*down, *self.middle, *up)
        ]
        return [block.adaptive for block in blocks]

    def project_steps(self, steps: Tensor) -> list[Tensor]:
        """(b,) diffusion steps -> each block's (b, 2 c) scale and shift, or (b, c) when summed."""
        embedded = self.step_embedding(steps)
        return [norm.from_step(embedded) for norm in self._norms()]

    def project_code(self, code: Tensor | None, count: int = 1) -> list[Tensor]:
        """(b, code_features), or `count` zeros without a code -> each block's (b, 2 c)."""
        if code is not None and self.joined:
            embedded = code
        elif code is None or self.code_embedding is None:
            embedded = next(self.parameters()).new_zeros(count, self.features)
        else:
            embedded = self.code_embedding(code)
        return [norm.from_code(embedded) for norm in self._norms()]

    def project_maps(self, maps: Tensor) -> list[Tensor]:
        """(b, code_features, y, x), as fine as the first level -> each block's (b, c, y', x')."""
        pyramid = {0: maps}
        for level in range(1, len(self.down) // self.blocks):
            pyramid[level] = F.avg_pool2d(pyramid[level - 1], 2)
        return [
            norm.from_code(pyramid[level])
            for norm, level in zip(self._norms(), self._levels(), strict=True)
        ]

    def _levels(self) -> list[int]:
        """Level that each block of `_norms` works on."""
        count = len(self.down) // self.blocks
        down = [level for level in range(count) for _ in range(self.blocks)]
        up = [level for level in reversed(range(count)) for _ in range(self.blocks + 1)]
        return [*down, count - 1, count - 1, *up]

    def forward(self, x: Tensor, step: list[Tensor], code: list[Tensor]) -> Tensor:
        """(b, inputs, y, x) and both lists of projections -> (b, outputs, y, x)."""
        conditions = iter(zip(step, code, strict=True))
        h = self.stem(F.pixel_unshuffle(x, self.unshuffle) if self.unshuffle > 1 else x)
        skips = []
        for count, stage in enumerate(self.down):
            level, place = divmod(count, self.blocks)
            if place == 0:
                if level and self.shrink:
                    h = self.shrink[level - 1](h, *next(conditions))
                elif level:
                    h = F.avg_pool2d(h, 2)
                skips.append(h)
            h = stage(h, *next(conditions))
            skips.append(h)
        for stage in self.middle:
            h = stage(h, *next(conditions))
        for count, stage in enumerate(self.up):
            if count and count % (self.blocks + 1) == 0:
                if self.grow:
                    h = self.grow[count // (self.blocks + 1) - 1](h, *next(conditions))
                else:
                    h = F.interpolate(h, scale_factor=2.0, mode="nearest")
            h = stage(torch.cat([h, skips.pop()], dim=1), *next(conditions))
        with torch.autocast(h.device.type, enabled=False):  # the image itself in full precision
            h = self.head(h.float())
        return F.pixel_shuffle(h, self.unshuffle) if self.unshuffle > 1 else h


def _head(inputs: int, outputs: int) -> nn.Sequential:
    last = zeroed(nn.Conv2d(inputs, outputs, 3, padding=1))
    return nn.Sequential(nn.GroupNorm(8, inputs), nn.SiLU(), last)


def _ways(
    channels: tuple[int, ...], blocks: int
) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """List inputs, outputs and level of every block on the way down, and on the way up."""
    widths = (channels[0], *channels)
    levels = range(len(channels))
    down = [(widths[i + (n > 0)], widths[i + 1], i) for i in levels for n in range(blocks)]
    up, width = [], channels[-1]
    for i in reversed(levels):
        for skipped in (*[channels[i]] * blocks, widths[i]):
            up.append((width + skipped, channels[i], i))
            width = channels[i]
    return down, up


def _woven(stages: nn.ModuleList, between: nn.ModuleList, *, every: int) -> list[nn.Module]:
    """Stages with one of `between`, where there are any, before every `every`-th but the first."""
    woven: list[nn.Module] = []
    for count, stage in enumerate(stages):
        if between and count and count % every == 0:
            woven.append(between[count // every - 1])
        woven.append(stage)
    return woven
