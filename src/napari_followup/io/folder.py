"""A folder of images, one file a visit of one subject, by the dates in their names or by name."""

from __future__ import annotations

import re
from pathlib import Path

from napari_followup.io.dates import date_in_name
from napari_followup.io.errors import ReadError
from napari_followup.io.kinds import IMAGES, is_saved_map, suffix_of
from napari_followup.io.nifti import count_visits
from napari_followup.io.tiff import is_one_visit
from napari_followup.io.visits import VisitFile

__all__ = ["by_number", "folder_files", "holds_visits"]

KINDS = (*IMAGES, ".nii", ".nii.gz", ".tif", ".tiff", ".npz")


def holds_visits(folder: Path, least: int = 1) -> bool:
    """Whether a folder is the series: `least` images, each of them a single visit."""
    files = _images(folder)
    return len(files) >= least and all(_is_one_visit(path) for path in files)


def folder_files(folder: Path) -> list[VisitFile]:
    """List the images of a folder as visits of one subject, named after the folder.

    Parameters
    ----------
    folder
        With one image file a visit; its own folders are left out.

    Returns
    -------
    list of VisitFile
        By date if every name holds another one, else by name, numbers in it as numbers.

    Raises
    ------
    ReadError
        If it holds no image.
    """
    paths = _images(folder)
    if not paths:
        raise ReadError(f"holds no image; put {', '.join(KINDS)} files into it, one a visit")
    days = [date_in_name(path.name) for path in paths]
    dated = None not in days and len(set(days)) == len(days)
    return [
        VisitFile(
            where=f"file {number} ({path.name})",
            path=path,
            subject=folder.absolute().name,
            visit=path.name,
            day=day if dated else None,
        )
        for number, (path, day) in enumerate(zip(paths, days, strict=True), start=1)
    ]


def _images(folder: Path) -> list[Path]:
    files = (path for path in folder.iterdir() if path.is_file() and suffix_of(path) in KINDS)
    found = (path for path in files if not (path.name.startswith(".") or is_saved_map(path)))
    return sorted(found, key=by_number)


def by_number(path: Path) -> list[tuple[int, str]]:
    """Sort key that puts visit-2 before visit-10."""
    parts = re.findall(r"\d+|\D+", path.name.lower())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _is_one_visit(path: Path) -> bool:
    match suffix_of(path):
        case ".nii" | ".nii.gz":
            try:
                return count_visits(path) == 1
            except ReadError:
                return True  # reading it says what is wrong
        case ".tif" | ".tiff":
            return is_one_visit(path)
        case suffix:
            return suffix in IMAGES
