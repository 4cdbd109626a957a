"""Stacks to files: one door for every format, chosen by the file's suffix.

A writer is one module with one function ``(path, stack)`` and one line in `WRITERS`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from napari_followup.io.kinds import suffix_of
from napari_followup.io.nifti import write_nifti
from napari_followup.io.npz import write_npz
from napari_followup.io.tiff import write_tiff
from napari_followup.io.zarr import write_zarr
from napari_followup.series.stack import VisitStack

__all__ = ["WRITERS", "listed", "write_stack"]

WRITERS: dict[str, Callable[[Path, VisitStack], Any]] = {
    ".nii": write_nifti,
    ".nii.gz": write_nifti,
    ".npz": write_npz,
    ".tif": write_tiff,
    ".tiff": write_tiff,
    ".zarr": write_zarr,
}


def write_stack(path: str | os.PathLike[str], stack: VisitStack) -> Path:
    """Write one subject's series in the format that the name's ending says.

    Parameters
    ----------
    path
        Ends in ``.npz``, ``.nii``, ``.nii.gz``, ``.tif``, ``.ome.tif`` or ``.zarr``.
    stack
        What to write; `read_stack` gives it back.

    Returns
    -------
    Path
        What was written; a file of that name is replaced once the new one is complete.

    Raises
    ------
    ValueError
        If no format has that ending.
    OSError
        If nothing can be written there.
    """
    path = Path(path)
    writer = WRITERS.get(suffix_of(path))
    if writer is None:
        raise ValueError(f"write_stack: got {path.name!r}; end the name in {listed(WRITERS)}")
    writer(path, stack)
    return path


def listed(suffixes: Iterable[str]) -> str:
    """Name suffixes in a sentence."""
    *others, last = sorted(suffixes)
    return f"{', '.join(others)} or {last}"
