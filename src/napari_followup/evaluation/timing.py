"""Clocks beside a device that computes on its own."""

from __future__ import annotations

import torch

__all__ = ["wait"]


def wait(device: torch.device) -> None:
    """Let a device finish what it was given, so that a clock can be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
