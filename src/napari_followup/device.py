"""Where and how to compute: device, precision, and how many planes fit at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

__all__ = [
    "choose_device",
    "fast_networks",
    "halving",
    "inference",
    "placed_well",
    "planes_at_once",
    "wait",
]

T = TypeVar("T")
PLANE_BUDGET = {"cpu": 64, "cuda": 1024}  # planes of 64 x 64 pixels


def choose_device(name: str = "auto") -> torch.device:
    """Device by name.

    Parameters
    ----------
    name
        ``"auto"`` takes a GPU when there is one; ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Returns
    -------
    torch.device
        A device that is there.

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
    if device.type not in PLANE_BUDGET:
        raise ValueError(f"device: got {name!r}; give 'auto', 'cpu' or 'cuda'")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: 'cuda' asked for, but torch sees no GPU; take 'auto' or 'cpu'")
    return device


@contextmanager
def inference(device: torch.device) -> Iterator[None]:
    """No gradients, and a GPU's cached memory given back afterwards.

    Parameters
    ----------
    device
        Where it is computed.
    """
    try:
        with torch.no_grad():
            yield
    finally:
        if device.type == "cuda":
            torch.cuda.empty_cache()


def fast_networks(device: torch.device) -> torch.autocast:
    """Context in which a GPU that has bf16 runs networks in it; scores stay outside, in float32.

    Parameters
    ----------
    device
        Where the network lies.

    Returns
    -------
    torch.autocast
        Does nothing elsewhere.
    """
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def placed_well(model: Any) -> Any:
    """Lay out the weights of a network with channels last, which computes faster, where they can.

    Parameters
    ----------
    model
        A `torch.nn.Module`.

    Returns
    -------
    torch.nn.Module
        The same one. Networks of volumes, whose weights have five axes, stay as they are.
    """
    if any(weights.ndim > 4 for weights in model.parameters()):
        return model
    return model.to(memory_format=torch.channels_last)


def planes_at_once(device: torch.device, image_size: tuple[int, int]) -> int:
    """First guess at how many planes to compute together; `halving` mends one that is too high.

    Parameters
    ----------
    device
        Where they are computed.
    image_size
        ``(y, x)`` in pixels.

    Returns
    -------
    int
        At least 1.
    """
    per_plane = max(1.0, image_size[0] * image_size[1] / 64**2)
    return max(1, int(PLANE_BUDGET.get(device.type, 64) / per_plane))


def halving(compute: Callable[[int], T], count: int) -> T:
    """Call `compute` with `count`, and with half as many each time memory runs out.

    Parameters
    ----------
    compute
        Takes how many planes to compute together.
    count
        Where to begin.

    Returns
    -------
    T
        What `compute` returned at last.

    Raises
    ------
    MemoryError
        If even one at a time does not fit.
    """
    while True:
        try:
            return compute(count)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            if count == 1:
                raise MemoryError(
                    "not even one plane fits into memory; close other programs or take device='cpu'"
                ) from error
            count //= 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def _is_out_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Tell memory that ran out from other errors: on the CPU torch raises a plain RuntimeError."""
    is_known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return is_known or "can't allocate memory" in str(error)


def wait(device: torch.device) -> None:
    """Let a device finish what it was given, so that a clock can be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
