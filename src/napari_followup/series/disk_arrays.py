"""Arrays too large to keep in memory: they lie in a temporary file, which goes when they go.

Such an array behaves like any other. What was read or written of it counts as used memory until
`release` lets go of it, so whoever walks through one does so visit by visit. The file has no name
and is removed by the system when the last array on it is gone, after a crash as well. ``TMPDIR``
says where it lies; that had better be a disk, since a ``/tmp`` in memory would win nothing.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["each_visit", "in_one_file", "near", "new_array", "release"]

IN_MEMORY = 2**26  # bytes; larger arrays go to a file
ALIGNED = 64  # bytes, where arrays in one file begin


class _Spill(mmap.mmap):
    """Memory of an array of ours: that of a foreign file must not be let go of."""


def new_array(
    shape: tuple[int, ...], dtype: DTypeLike = np.float32, fill: float = 0.0
) -> NDArray[Any]:
    """Make an array full of one value, in memory if it is small, in a temporary file if not.

    Parameters
    ----------
    shape
        Any; the first axis is what `each_visit` goes along.
    dtype
        Of the array.
    fill
        Its value.

    Returns
    -------
    NDArray
        Writable.

    Raises
    ------
    OSError
        If the disk has no room for it.
    """
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size <= IN_MEMORY:
        return np.full(shape, fill, dtype)
    array: NDArray[Any] = np.ndarray(shape, dtype, buffer=_on_disk(size))
    if fill != 0:
        for (part,) in each_visit(array):
            part[...] = fill
    return array


def release(*arrays: Any) -> None:
    """Let go of the memory that arrays in files take up; their values stay. Others are left alone.

    Windows has no such call: there the system itself takes the memory when it needs it.
    """
    for array in arrays:
        memory = array
        while isinstance(memory, np.ndarray):
            memory = memory.base
        if isinstance(memory, _Spill) and hasattr(memory, "madvise"):
            memory.madvise(mmap.MADV_DONTNEED)


def each_visit(*arrays: NDArray[Any]) -> Iterator[tuple[NDArray[Any], ...]]:
    """Go through arrays side by side along their first axis, letting go of each part after use."""
    for parts in zip(*arrays, strict=True):
        yield parts
        release(*arrays)


def in_one_file(arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Move arrays into one temporary file: a process may keep open only so many.

    Parameters
    ----------
    arrays
        Of at least one axis each; they may lie in files already.

    Returns
    -------
    list of NDArray
        The same values, writable, in the order of `arrays`.

    Raises
    ------
    OSError
        If the disk has no room for them.
    """
    places = np.cumsum([0, *(-(-array.nbytes // ALIGNED) * ALIGNED for array in arrays)]).tolist()
    memory = _on_disk(max(1, places[-1]))
    moved = []
    for array, place in zip(arrays, places[:-1], strict=True):
        there: NDArray[Any] = np.ndarray(array.shape, array.dtype, buffer=memory, offset=place)
        for index in range(len(array)):
            there[index] = array[index]
            release(there, array)
        moved.append(there)
    return moved


def near(images: Any) -> NDArray[Any]:
    """Images that can be read plane by plane: lazy ones are copied, each chunk read once.

    Parameters
    ----------
    images
        ``(visit, modality, z, y, x)``, numpy's or lazy.

    Returns
    -------
    NDArray
        The same array where it is numpy's.
    """
    if isinstance(images, np.ndarray):
        return images
    copy = new_array(tuple(images.shape), images.dtype)
    for visit in range(len(copy)):
        for modality in range(copy.shape[1]):
            copy[visit, modality] = np.asarray(images[visit, modality])
            release(copy)
    return copy


def _on_disk(size: int) -> _Spill:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OSError(
            f"a result of {size / 1e9:.1f} GB does not fit into {folder} ({free / 1e9:.1f} GB "
            "free); let TMPDIR name a larger disk, or examine fewer planes"
        )
    with tempfile.TemporaryFile(prefix="napari-followup-") as file:
        file.truncate(size)
        if hasattr(os, "posix_fallocate"):  # a full disk must not show as a crash on writing
            os.posix_fallocate(file.fileno(), 0, size)
        return _Spill(file.fileno(), size)
