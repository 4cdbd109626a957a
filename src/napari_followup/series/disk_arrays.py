"""Arrays that may be too large for memory: they lie in a temporary file, removed with them.

Such an array behaves like any other. What was read or written of it counts as used memory until it
is released, so code reads one visit by visit, or plane by plane. The file has no name; the system
removes it when the last array on it is gone, after a crash as well. ``TMPDIR`` is its folder, which
should be on a disk: a ``/tmp`` in memory saves nothing.
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

__all__ = ["Output", "each_visit", "in_one_file", "new_array", "read_once", "release"]

IN_MEMORY = 2**26  # bytes; larger arrays go to a file
ALIGNED = 64  # bytes, where arrays in one file begin


class _TemporaryFile(mmap.mmap):
    """Memory of an array of ours: that of another's file must not be released."""


class Output:
    """An array that is filled part by part, in a temporary file where it is large.

    Parameters
    ----------
    shape, dtype, fill
        As for `new_array`.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: DTypeLike = np.float32, fill: float = np.nan
    ) -> None:
        self.values = new_array(shape, dtype, fill)

    def put(self, where: Any, values: NDArray[Any]) -> None:
        """Write values to an index, and release the memory that this takes."""
        self.values[where] = values
        release(self.values)

    def take(self, where: Any) -> NDArray[Any]:
        """Copy the values at an index, and release the memory that this takes."""
        values = np.array(self.values[where])
        release(self.values)
        return values

    def rows(self, kept: NDArray[np.intp]) -> NDArray[Any]:
        """Take some positions along the first axis; the array itself where that is all of them."""
        if len(kept) == len(self.values):
            return self.values
        some = Output((len(kept), *self.values.shape[1:]), self.values.dtype, 0)
        for there, row in enumerate(kept):
            some.put(there, self.take(row))
        return some.values


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
    """Release the memory that arrays in files take up; their values stay. Others are left alone.

    Windows has no such call: there the system itself takes the memory when it needs it.
    """
    for array in arrays:
        memory = array
        while isinstance(memory, np.ndarray):
            memory = memory.base
        if isinstance(memory, _TemporaryFile) and hasattr(memory, "madvise"):
            memory.madvise(mmap.MADV_DONTNEED)


def each_visit(*arrays: NDArray[Any]) -> Iterator[tuple[NDArray[Any], ...]]:
    """Go through arrays side by side along their first axis, releasing each part after use."""
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


def read_once(images: Any) -> NDArray[Any]:
    """Images that can be read plane by plane: lazy ones are copied, each chunk is read once.

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
    copy = Output(tuple(images.shape), images.dtype, 0)
    for visit, modality in np.ndindex(*images.shape[:2]):
        copy.put((visit, modality), np.asarray(images[visit, modality]))
    return copy.values


def _on_disk(size: int) -> _TemporaryFile:
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
        return _TemporaryFile(file.fileno(), size)
