"""The table of formats: which function reads and writes files of which ending.

A reader is a function ``(path, *, axes, split) -> list of VisitStack``, a writer a function
``(path, stack)``. A new format is one module and one line in each of the tables.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from napari_followup.io.dicom import read_dicom
from napari_followup.io.errors import ReadError
from napari_followup.io.kinds import IMAGES, is_zarr, suffix_of
from napari_followup.io.nifti import read_nifti, write_nifti
from napari_followup.io.npz import read_npz, write_npz
from napari_followup.io.tiff import read_tiff, read_tiff_visit, write_tiff
from napari_followup.io.zarr import read_zarr, write_zarr
from napari_followup.series.stack import VisitStack

__all__ = ["READERS", "WRITERS", "listed", "read_image", "write_stack"]

READERS: dict[str, Callable[..., list[VisitStack]]] = {
    ".nii": read_nifti,
    ".nii.gz": read_nifti,
    ".npz": read_npz,
    ".tif": read_tiff,
    ".tiff": read_tiff,
    ".zarr": read_zarr,
}
WRITERS: dict[str, Callable[[Path, VisitStack], Any]] = {
    ".nii": write_nifti,
    ".nii.gz": write_nifti,
    ".npz": write_npz,
    ".tif": write_tiff,
    ".tiff": write_tiff,
    ".zarr": write_zarr,
}
STARTS = (b"\x89PNG", b"\xff\xd8", b"BM")  # of PNG, JPEG and BMP files


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


def read_image(path: Path) -> VisitStack:
    """Read one visit.

    Parameters
    ----------
    path
        NIfTI, TIFF, PNG, JPEG, BMP or ``.npz``, or a folder of DICOM or OME-Zarr.

    Returns
    -------
    VisitStack
        With one visit.

    Raises
    ------
    ReadError
        If nothing is there, it cannot be read, or it holds several visits; the message begins with
        its name.
    """
    if not path.exists():
        raise ReadError(f"there is no file {str(path)!r}; correct its path")
    try:
        stacks = _read(path)
    except ReadError as error:
        raise ReadError(f"{path.name!r}: {error}") from error
    except (OSError, TypeError, ValueError) as error:
        raise ReadError(f"{path.name!r}: {error}") from error
    if len(stacks) != 1 or stacks[0].n_visits != 1:
        visits = sum(stack.n_visits for stack in stacks)
        raise ReadError(
            f"{path.name!r} holds {visits} visits; give a file a visit here, or read it by itself"
        )
    return stacks[0]


def _read(path: Path) -> list[VisitStack]:
    if path.is_dir():
        return read_zarr(path) if is_zarr(path) else read_dicom(path)
    suffix = suffix_of(path)
    if suffix in IMAGES:
        return [_read_plane(path)]
    if suffix in (".tif", ".tiff"):
        return read_tiff_visit(path)
    if suffix not in READERS:
        raise ReadError(f"is of the unknown kind {suffix!r}; give NIfTI, TIFF, PNG or .npz")
    return READERS[suffix](path)


def _read_plane(path: Path) -> VisitStack:
    from skimage.io import imread

    with path.open("rb") as file:
        start = file.read(4)
    if not start.startswith(STARTS):
        raise ReadError("is no PNG, JPEG or BMP image, whatever its name; give its own ending")
    try:
        plane = np.asarray(imread(path))
    except Exception as error:  # each format's decoder has errors of its own
        raise ReadError(f"is no readable image ({error}); copy it again") from error
    if plane.ndim != 2:
        raise ReadError(f"is in colour, shape {plane.shape}; convert it to one grey channel")
    return VisitStack.from_array(plane[None], subject=path.stem)
