"""Reads files and folders into stacks and writes stacks to files.

The ending of a name chooses the format (`formats`). Nothing is ever unpickled. A damaged file, or
one of another kind, raises a ReadError that names it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from napari_followup.io import formats
from napari_followup.io.bids import bids_files
from napari_followup.io.dicom import read_dicom
from napari_followup.io.errors import ReadError
from napari_followup.io.folder import folder_files, holds_visits
from napari_followup.io.formats import listed, write_stack
from napari_followup.io.kinds import (
    IMAGES,
    TABLES,
    is_bids,
    is_dicom,
    is_saved_map,
    is_zarr,
    suffix_of,
    truth_beside,
)
from napari_followup.io.manifest import is_manifest, read_manifest, read_visits
from napari_followup.io.nifti import write_nifti
from napari_followup.io.npz import is_result, marked_sick, write_npz
from napari_followup.io.table import write_table
from napari_followup.io.tiff import write_tiff
from napari_followup.io.visits import join_visits, read_subjects
from napari_followup.io.zarr import write_zarr
from napari_followup.series.stack import VisitStack

__all__ = [
    "ReadError",
    "files_in",
    "join_visits",
    "read_healthy",
    "read_stack",
    "read_stacks",
    "read_visits",
    "write_nifti",
    "write_npz",
    "write_stack",
    "write_table",
    "write_tiff",
    "write_zarr",
]

READERS: dict[str, Callable[..., list[VisitStack]]] = {
    **formats.READERS,
    ".csv": read_manifest,
    ".tsv": read_manifest,
}


def read_stack(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    axes: str | None = None,
    ages: Sequence[float] | None = None,
) -> VisitStack:
    """Read one subject's series.

    Parameters
    ----------
    path
        A table of visits (CSV), a NIfTI, TIFF or ``.npz`` file, an OME-Zarr folder; a folder that
        holds one of them, or is a BIDS, DICOM or image folder of one subject; or a list of files,
        one a visit.
    ages
        One a file in years, for a list of files.
    axes
        One letter an axis, v(isit) m(odality) z y x, where the file does not say or is wrong.

    Returns
    -------
    VisitStack
        Sorted by age.

    Raises
    ------
    FileNotFoundError
        If nothing is there.
    ReadError
        If it cannot be read, holds several subjects, or visits on different grids.
    """
    if not isinstance(path, str | os.PathLike):
        return join_visits(read_visits(path, ages=ages))
    if ages is not None:
        raise ReadError("ages: go with a list of files; put them into a table otherwise")
    stacks = read_stacks(path, axes=axes)
    if len(stacks) != 1:
        names = ", ".join(stack.subject for stack in stacks[:3])
        raise ReadError(
            f"{Path(path).name!r} holds {len(stacks)} subjects; read_stacks reads them all "
            f"({names}{', ...' if len(stacks) > 3 else ''})"
        )
    return stacks[0]


def read_stacks(
    path: str | os.PathLike[str], *, split: str | None = None, axes: str | None = None
) -> list[VisitStack]:
    """Read many subjects' series.

    Parameters
    ----------
    path
        As for `read_stack`; a file, table or folder may hold a cohort. A folder whose images each
        hold one visit (PNG, JPEG, NIfTI of three axes, TIFF of one plane) is one subject, sorted by
        the dates in their names or by name; where a table names the images, the table counts.
    split
        Keep the subjects that a cohort file marks with this word, such as "train".
    axes
        As for `read_stack`, with an s for the subject in a cohort.

    Returns
    -------
    list of VisitStack
        In the file's order; a folder's files in the order of their names, subfolders and results
        of `detect` left out.

    Raises
    ------
    FileNotFoundError
        If nothing is there.
    ReadError
        If a file cannot be read, or has no such split.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {str(path)!r}; check its name")
    files = files_in(path) if path.is_dir() else [path]
    return [stack for file in files for stack in _read(file, axes, split)]


def read_healthy(
    path: str | os.PathLike[str], *, split: str | None = None, axes: str | None = None
) -> list[VisitStack]:
    """Read series to learn from or to measure with: `read_stacks`, but for files marked as sick.

    Parameters
    ----------
    path, split, axes
        As for `read_stacks`.

    Returns
    -------
    list of VisitStack
        As from `read_stacks`.

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_stacks`, and if a file holds a truth, has one beside it, or names an anomaly.
    """
    stacks = read_stacks(path, split=split, axes=axes)
    path = Path(path)
    for file in files_in(path) if path.is_dir() else [path]:
        if truth_beside(file).exists() or (file.suffix.lower() == ".npz" and marked_sick(file)):
            raise ReadError(
                f"{file.name!r}: these series are marked as sick (the file holds, or has beside "
                "it, a truth or the name of an anomaly); give healthy series"
            )
    return stacks


def _read(file: Path, axes: str | None, split: str | None) -> list[VisitStack]:
    """Read one file or folder; whatever is wrong with it, the error begins with its name."""
    try:
        if file.is_dir() and not is_zarr(file):
            if axes is not None or split is not None:
                raise ReadError("a folder of visits has no axes or splits; leave them out")
            return _read_folder(file)
        reader = READERS.get(".zarr" if file.is_dir() else suffix_of(file))
        if reader is None:
            raise ReadError(f"is of an unknown format; give a {listed(READERS)} file")
        return reader(file, axes=axes, split=split)
    except (OSError, TypeError, ValueError) as error:
        raise ReadError(f"{file.name!r}: {error}") from error


def _read_folder(folder: Path) -> list[VisitStack]:
    """Subjects of a folder that is more than its files."""
    if is_bids(folder):
        return read_subjects(bids_files(folder))
    if not is_dicom(folder):
        return read_subjects(folder_files(folder))
    subjects: dict[str, list[VisitStack]] = {}
    for visit in read_dicom(folder):
        subjects.setdefault(visit.subject, []).append(visit)
    return [join_visits(visits) for visits in subjects.values()]


def files_in(folder: Path) -> list[Path]:
    """List what in a folder may be series: the folder itself, if its files together are one.

    Tables of visits stand for the images they name.

    Raises
    ------
    ReadError
        If there is nothing.
    """
    if is_zarr(folder) or is_bids(folder):
        return [folder]
    files = sorted(file for file in folder.iterdir() if _may_be_series(file))
    if tables := [file for file in files if suffix_of(file) in TABLES]:
        return tables
    if holds_visits(folder) or (not files and is_dicom(folder)):
        return [folder]
    if not files:
        raise ReadError(
            f"the folder {folder.name!r} holds no series; put {listed(READERS)} files, "
            f"{listed(IMAGES)} images, or DICOM files into it"
        )
    return files


def _may_be_series(file: Path) -> bool:
    suffix = suffix_of(file)
    if suffix not in READERS or file.name.startswith(".") or is_saved_map(file):
        return False
    if file.is_dir():
        return is_zarr(file)
    return is_manifest(file) if suffix in TABLES else not is_result(file)
