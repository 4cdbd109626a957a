"""Where and how to compute: device, precision, and how many planes fit at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

__all__ = ["choose_device", "halving", "inference", "planes_at_once"]

T = TypeVar("T")
PLANE_BUDGET = {"cpu": 64, "cuda": 1024}  # planes of 64 x 64 pixels


def choose_device(name: str = "auto") -> torch.device:
    """Device called `name`; ``"auto"`` takes a GPU when there is one.

    Raises
    ------
    ValueError
        If the device is not known or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device: got {name!r}; give 'auto', 'cpu' or 'cuda'") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: 'cuda' asked for, but torch sees no GPU; take 'auto' or 'cpu'")
    return device


@contextmanager
def inference(device: torch.device) -> Iterator[None]:
    """No gradients; on a GPU bf16 convolutions where it has them, and its cached memory given back after."""
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
    try:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=fast):
            yield
    finally:
        if device.type == "cuda":
            torch.cuda.empty_cache()


def planes_at_once(device: torch.device, image_size: tuple[int, int]) -> int:
    """First guess at how many planes to compute together; `halving` mends it when it is too many."""
    per_plane = max(1.0, image_size[0] * image_size[1] / 64**2)
    return max(1, int(PLANE_BUDGET.get(device.type, 64) / per_plane))


def halving(compute: Callable[[int], T], count: int) -> T:
    """Call `compute` with `count`, and with half as many each time memory runs out.

    Raises
    ------
    MemoryError
        If even one at a time does not fit.
    """
    while True:
        try:
            return compute(count)
        except (torch.OutOfMemoryError, MemoryError) as error:
            if count == 1:
                raise MemoryError(
                    "not even one plane fits into memory; close other programs or take device='cpu'"
                ) from error
            count //= 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
