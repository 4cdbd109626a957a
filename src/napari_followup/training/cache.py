"""Arrays of training samples: in memory while they are small, in a file that is mapped when not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["IN_MEMORY", "filled", "mapped"]

IN_MEMORY = 2**30  # bytes; what is larger lies on disk


def filled(
    shape: tuple[int, ...],
    fill: Callable[[NDArray[np.float32]], None],
    file: Path | None = None,
    *,
    always: bool = False,
) -> Tensor:
    """Let `fill` write an array piece by piece, and give it as a tensor.

    Parameters
    ----------
    shape
        Of the array, float32, zeros at first.
    fill
        Writes it, in place.
    file
        Where an array above `IN_MEMORY` goes; if it is there, complete, it is not made again.
        Without one everything stays in memory.
    always
        Whether smaller arrays go there too, for other processes to share.

    Returns
    -------
    Tensor
        Whose pages are read when they are used, if it lies on disk.

    Raises
    ------
    OSError
        If the file cannot be written, for want of room for example.
    """
    size = 4 * int(np.prod(shape, dtype=np.int64))
    if file is None or (size <= IN_MEMORY and not always):
        array = np.zeros(shape, np.float32)
        fill(array)
        return torch.from_numpy(array)
    if not file.exists():
        _write(file, shape, fill, size)
    return mapped(file)


def mapped(file: Path) -> Tensor:
    """Tensor of a .npy file that is read as it is used; changes to it never reach the file."""
    return torch.from_numpy(np.load(file, mmap_mode="c", allow_pickle=False))


def _write(
    file: Path, shape: tuple[int, ...], fill: Callable[[NDArray[np.float32]], None], size: int
) -> None:
    """Under another name first, always the same one: what a killed training left is overwritten."""
    draft = file.with_suffix(".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _reserve(draft, size)
        array = np.lib.format.open_memmap(draft, "w+", np.float32, shape)
        fill(array)
        array.flush()
        del array
        draft.replace(file)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise type(error)(
            error.errno,
            f"cannot write {size / 1e9:.1f} GB of training samples to {str(file)!r} "
            f"({error.strerror or error}); make room, or give another folder",
        ) from error


def _reserve(file: Path, size: int) -> None:
    """Fail here if the disk is full: writing to a mapped page without a block ends the process."""
    import os

    with file.open("wb") as handle:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle.fileno(), 0, size + 4096)
