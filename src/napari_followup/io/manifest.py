"""Visits named in a table: one row a file, with its subject, visit, age or date, and modality.

Columns go by their usual names, or by those given; only ``path`` must be there. Relative paths
begin at the table. A row without a path is a visit without an image.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from napari_followup.io.bids import bids_files
from napari_followup.io.dates import read_dates
from napari_followup.io.dicom import read_dicom
from napari_followup.io.errors import ReadError
from napari_followup.io.folder import folder_files
from napari_followup.io.kinds import TABLES, is_bids, is_dicom, is_zarr, suffix_of
from napari_followup.io.table import Row, column_names, read_table
from napari_followup.io.visits import VisitFile, load_visits, read_subjects
from napari_followup.series.stack import VisitStack

__all__ = ["is_manifest", "manifest_files", "read_manifest", "read_visits"]

COLUMNS = {
    "subject": ("subject_id", "participant", "participant_id", "patient", "patient_id", "sub"),
    "visit": ("visit_id", "session", "session_id", "ses", "timepoint", "time_point", "study"),
    "path": ("file", "filename", "file_name", "filepath", "file_path", "image", "image_path"),
    "age": ("age_years", "age_at_visit", "age_at_scan", "age_in_years"),
    "date": ("visit_date", "scan_date", "study_date", "acq_time", "acq_date", "acquisition_date"),
    "birth": ("birth_date", "birthdate", "date_of_birth", "birthday", "dob"),
    "modality": ("contrast", "sequence", "channel"),
}


def read_visits(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    ages: Sequence[float] | None = None,
    columns: Mapping[str, str] | None = None,
    keep_missing: bool = False,
) -> list[VisitStack]:
    """Read visits each as a stack of its own, which may lie on grids of their own.

    Parameters
    ----------
    source
        A table of visits, a BIDS, DICOM or image folder, or the files of one subject, one a visit.
    ages
        One a file in years, where files are given.
    columns
        The table's own names for subject, visit, path, age, date, birth or modality, by these.
    keep_missing
        Whether visits without an image are kept, as missing ones on the grid of the visit before
        them, or of the first with an image; `align` takes them so. Else they are left out.

    Returns
    -------
    list of VisitStack
        With one visit each, and the missing ones that are kept; by subject and then by age.

    Raises
    ------
    FileNotFoundError
        If nothing is there.
    ReadError
        If something cannot be read; the message names it, and the row of a table.
    """
    if not isinstance(source, str | os.PathLike):
        return load_visits(_listed([Path(path) for path in source], ages))
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {str(path)!r}; check its name")
    if ages is not None:
        raise ReadError("ages: go with a list of files; a table or folder has its own")
    try:
        if path.is_dir() and not is_zarr(path):
            return _from_folder(path, keep_missing)
        is_table = suffix_of(path) in TABLES
        files = manifest_files(path, columns) if is_table else _listed([path], None)
        return load_visits(files, keep_missing=keep_missing)
    except ReadError as error:
        raise ReadError(f"{path.name!r}: {error}") from error


def read_manifest(
    path: Path,
    *,
    axes: str | None = None,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> list[VisitStack]:
    """Read the subjects of a table, one stack each.

    Parameters
    ----------
    path
        The table.
    axes, split
        Not known to tables.
    columns
        As for `read_visits`.

    Returns
    -------
    list of VisitStack
        In the order of the table.

    Raises
    ------
    ReadError
        As `read_visits`, and if a subject's visits lie on different grids.
    """
    if axes is not None or split is not None:
        raise ReadError("a table of visits has no axes or splits; leave axes and split out")
    return read_subjects(manifest_files(path, columns))


def is_manifest(path: Path) -> bool:
    """Whether a table has a column of paths."""
    try:
        return "path" in column_names([*read_table(path)[0].cells], COLUMNS)
    except (OSError, ReadError):
        return False


def manifest_files(path: Path, columns: Mapping[str, str] | None = None) -> list[VisitFile]:
    """List what a table names; nothing is opened but the table.

    Raises
    ------
    ReadError
        If it is no table of visits; the message names the row.
    """
    rows = read_table(path)
    names = column_names([*rows[0].cells], COLUMNS, columns)
    if "path" not in names:
        raise ReadError(
            f"has no column of paths (it has: {', '.join(rows[0].cells)}); name it 'path' (in "
            "Python: columns={'path': ...})"
        )
    places = [f"row {row.number}" for row in rows]
    days, births = (
        read_dates([_cell(row, names, what) for row in rows], places) for what in ("date", "birth")
    )
    return [
        VisitFile(
            where=place,
            path=_path(path, _cell(row, names, "path")),
            subject=_subject(path, row, names),
            visit=_visit(row, names, place),
            age=_age(_cell(row, names, "age"), place),
            day=day,
            birth=birth,
            modality=_cell(row, names, "modality"),
        )
        for row, place, day, birth in zip(rows, places, days, births, strict=True)
    ]


def _listed(paths: Sequence[Path], ages: Sequence[float] | None) -> list[VisitFile]:
    """Files of one subject, which is named after their folder if they share one."""
    if not paths:
        raise ReadError("got no file; give one a visit")
    if ages is not None and len(ages) != len(paths):
        raise ReadError(f"ages: got {len(ages)} for {len(paths)} files; give one in years per file")
    folders = {path.absolute().parent for path in paths}
    subject = folders.pop().name if len(folders) == 1 and len(paths) > 1 else paths[0].name
    return [
        VisitFile(
            where=f"file {number}",
            path=path,
            subject=subject,
            visit=str(number),
            age=None if ages is None else float(ages[number - 1]),
        )
        for number, path in enumerate(paths, start=1)
    ]


def _from_folder(folder: Path, keep_missing: bool) -> list[VisitStack]:
    if is_bids(folder):
        return load_visits(bids_files(folder), keep_missing=keep_missing)
    return read_dicom(folder) if is_dicom(folder) else load_visits(folder_files(folder))


def _cell(row: Row, names: Mapping[str, str], what: str) -> str:
    return row.cells[names[what]] if what in names else ""


def _path(table: Path, text: str) -> Path | None:
    return table.parent / Path(text.replace("\\", "/")).expanduser() if text else None


def _subject(table: Path, row: Row, names: Mapping[str, str]) -> str:
    text = _cell(row, names, "subject")
    if "subject" in names and not text:
        raise ReadError(f"row {row.number}: has no subject; name it")
    return text or table.stem


def _visit(row: Row, names: Mapping[str, str], place: str) -> str:
    """Find what the rows of one visit share: a name, else an age or date, else the row itself."""
    words = (_cell(row, names, what) for what in ("visit", "age", "date"))
    return next((word for word in words if word), place)


def _age(text: str, place: str) -> float | None:
    if not text:
        return None
    try:
        age = float(text.replace(",", "."))
    except ValueError:
        age = float("nan")
    if not 0 <= age < float("inf"):
        raise ReadError(f"{place}: the age {text!r} is no number of years; write it as 61.5")
    return age
