"""Visits in a BIDS folder: ``sub-*/ses-*/anat/*.nii.gz``, with ages or dates from its tables.

``sub-*_sessions.tsv`` gives ``age`` or ``acq_time``, a session's ``*_scans.tsv`` the latter too;
the age in ``participants.tsv`` is that of the first visit. Masks and label maps are left out;
subjects without sessions have one visit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

from napari_followup.io.dates import read_dates, years_between
from napari_followup.io.errors import ReadError
from napari_followup.io.table import Row, read_table
from napari_followup.io.visits import VisitFile

__all__ = ["bids_files"]

NO_IMAGE = re.compile(r"_(mask|dseg|probseg|defacemask|roi)\.|_label-")
MISSING = ("", "n/a")


def bids_files(folder: Path) -> list[VisitFile]:
    """List the anatomical images of a data set, or of one of its subjects.

    Parameters
    ----------
    folder
        That holds ``sub-*``, or is one.

    Returns
    -------
    list of VisitFile
        By subject and session.

    Raises
    ------
    ReadError
        If there is none, or a table gives no ages or dates that can be read.
    """
    subjects = [folder] if folder.name.startswith("sub-") else sorted(folder.glob("sub-*"))
    first = _first_ages(subjects[0].parent / "participants.tsv") if subjects else {}
    files = [
        file
        for subject in subjects
        if subject.is_dir()
        for file in _aged([*_subject_files(subject)], first.get(subject.name))
    ]
    if not files:
        raise ReadError("holds no sub-*/ses-*/anat/*.nii.gz; check its layout")
    return files


def _first_ages(table: Path) -> dict[str, float | None]:
    """Age of each participant at the first visit, as far as the data set tells."""
    if not table.is_file():
        return {}
    return {row.cells.get("participant_id", ""): _age(table, row) for row in _rows(table)}


def _aged(files: list[VisitFile], first: float | None) -> list[VisitFile]:
    """Count a subject's ages from the one at the first visit, where no session has its own."""
    days = [file.day for file in files if file.day is not None]
    if first is None or any(file.age is not None for file in files):
        return files
    if len({file.visit for file in files}) == 1:
        return [replace(file, age=first) for file in files]
    if len(days) < len(files):
        return files
    return [
        replace(file, age=first + years_between(min(days), file.day), day=None)
        for file in files
        if file.day is not None
    ]


def _subject_files(subject: Path) -> Iterator[VisitFile]:
    told = _sessions(subject)
    for session in sorted(subject.glob("ses-*")) or [subject]:
        age, day = told.get(session.name, (None, None))
        for path in sorted((session / "anat").glob("*.nii*")):
            if NO_IMAGE.search(path.name) or not path.name.lower().endswith((".nii", ".nii.gz")):
                continue
            yield VisitFile(
                where=path.relative_to(subject.parent).as_posix(),
                path=path,
                subject=subject.name,
                visit=session.name,
                age=age,
                day=day or (_scanned(session) if age is None else None),
                modality=path.name.split(".")[0].rpartition("_")[2],
            )


def _sessions(subject: Path) -> dict[str, tuple[float | None, date | None]]:
    """Age and date of each session, as far as the subject's table tells."""
    path = subject / f"{subject.name}_sessions.tsv"
    if not path.is_file():
        return {}
    rows = _rows(path)
    days = _days(path, rows)
    return {_session_name(row): (_age(path, row), day) for row, day in zip(rows, days, strict=True)}


def _session_name(row: Row) -> str:
    name = row.cells.get("session_id", "")
    return name if name.startswith("ses-") else f"ses-{name}"


def _scanned(session: Path) -> date | None:
    """Day of a session's first scan."""
    for path in session.glob("*_scans.tsv"):
        return min((day for day in _days(path, _rows(path)) if day), default=None)
    return None


def _rows(path: Path) -> list[Row]:
    try:
        return read_table(path)
    except ReadError as error:
        raise ReadError(f"{path.name!r}: {error}") from error


def _days(path: Path, rows: list[Row]) -> list[date | None]:
    texts = [row.cells.get("acq_time", "") for row in rows]
    places = [f"{path.name!r}, row {row.number}" for row in rows]
    return read_dates(["" if text in MISSING else text for text in texts], places)


def _age(path: Path, row: Row) -> float | None:
    text = row.cells.get("age", "")
    if text in MISSING:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise ReadError(
            f"{path.name!r}, row {row.number}: the age {text!r} is no number of years"
        ) from error
