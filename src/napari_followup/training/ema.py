"""Exponential mean of the weights: a close one at first, a long one later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["Averages"]


class Averages:
    """Mean of a module's weights and buffers: min(decay, (1 + n) / (10 + n)) of it is kept.

    Counters and the like are not averaged, but copied.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self._module = module
        self._mean: dict[str, Tensor] = {}

    def start(self, saved: Mapping[str, Tensor] | None = None) -> None:
        """Begin with what was saved, or with the weights as they are, on their device."""
        now = self._module.state_dict()
        self._mean = {
            name: (value if saved is None else saved[name].to(value.device)).detach().clone()
            for name, value in now.items()
        }

    @torch.no_grad()
    def update(self, count: int) -> None:
        """Take in the weights as they are, after `count` others."""
        keep = min(self.decay, (1 + count) / (10 + count)) if count else 0.0
        pairs = [(self._mean[name], value) for name, value in self._module.state_dict().items()]
        means = [mean for mean, value in pairs if mean.is_floating_point()]
        values = [value for mean, value in pairs if mean.is_floating_point()]
        if means:
            torch._foreach_lerp_(means, values, 1 - keep)
        for mean, value in pairs:
            if not mean.is_floating_point():
                mean.copy_(value)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the mean in the place of the weights for a while."""
        now = {name: value.clone() for name, value in self._module.state_dict().items()}
        self._module.load_state_dict(self._mean)
        try:
            yield
        finally:
            self._module.load_state_dict(now)

    def copy(self) -> dict[str, Tensor]:
        """Give the mean by name, on the CPU, which later updates leave alone."""
        return {name: value.detach().cpu().clone() for name, value in self._mean.items()}
