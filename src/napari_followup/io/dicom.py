"""Visits in a folder of DICOM files: one study a visit, one series of slices in each.

Needs pydicom (extra `formats`). Slices are ordered by their place along the normal of their plane;
DICOM counts x and y the other way than RAS does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.io.dates import YEAR, years_between
from napari_followup.io.errors import ReadError, needing
from napari_followup.series.stack import VisitStack

__all__ = ["read_dicom"]

NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "Rows", "Columns")
PLACED = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
IN_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / YEAR, "D": 1 / YEAR}
UNEVEN = 0.02  # of the gap between two slices that another gap may differ by


def read_dicom(folder: Path) -> list[VisitStack]:
    """Read each study of a folder as a stack of one visit.

    Parameters
    ----------
    folder
        With DICOM files, in folders of its own if need be; other files are passed over.

    Returns
    -------
    list of VisitStack
        By subject and date. Ages are exact where the birth is known; else they count from the
        first visit, at the patient's age then, or 0.

    Raises
    ------
    ReadError
        If pydicom is not installed, a file is damaged, a study holds several series, or a slice
        is missing.
    """
    studies: dict[tuple[str, str], list[tuple[Path, Any]]] = {}
    for path, header in _headers(folder):
        key = str(header.get("PatientID", "")), str(header.StudyInstanceUID)
        studies.setdefault(key, []).append((path, header))
    if not studies:
        raise ReadError("holds no DICOM images; check its name, or convert its files with dcm2niix")
    subjects: dict[str, list[list[tuple[Path, Any]]]] = {}
    for (subject, _), slices in studies.items():
        subjects.setdefault(subject, []).append(slices)
    return [
        visit
        for subject, groups in sorted(subjects.items())
        for visit in _subject_visits(subject or folder.absolute().name, groups)
    ]


def _headers(folder: Path) -> Iterable[tuple[Path, Any]]:
    """Headers of all images under a folder."""
    with needing("pydicom"):
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError

    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        try:
            header = dcmread(path, stop_before_pixels=True)
            if "Rows" not in header and path.name.upper() == "DICOMDIR":
                continue
            list(header)  # values are parsed as they are looked at
            missing = [name for name in NEEDED if name not in header]
        except InvalidDicomError as error:
            if path.suffix.lower() in (".dcm", ".ima"):
                raise _damaged(path, error) from error
            continue
        except Exception as error:  # pydicom has many of its own
            raise _damaged(path, error) from error
        if missing:
            raise _damaged(path, ValueError(f"without {missing[0]}"))
        yield path, header


def _damaged(path: Path, error: Exception) -> ReadError:
    return ReadError(
        f"{path.name!r} is no readable DICOM image ({error}); copy it again, or take it out"
    )


def _subject_visits(subject: str, groups: Sequence[list[tuple[Path, Any]]]) -> list[VisitStack]:
    days = [_day(slices[0][1], "StudyDate") for slices in groups]
    known = None not in days or len(days) == 1
    order = sorted(range(len(groups)), key=lambda index: days[index] or date.min)
    headers = [groups[index][0][1] for index in order]
    ages = _ages(headers, [days[index] for index in order])
    return [
        _visit(subject, groups[index], age if known else None, number)
        for number, (index, age) in enumerate(zip(order, ages, strict=True))
    ]


def _day(header: Any, name: str) -> date | None:
    try:
        return datetime.strptime(str(header.get(name, ""))[:8], "%Y%m%d").date()
    except ValueError:
        return None


def _ages(headers: Sequence[Any], days: Sequence[date | None]) -> list[float | None]:
    """Age at each study, in the order of their dates; none where nothing tells it."""
    birth = _day(headers[0], "PatientBirthDate")
    start = _patient_age(headers[0])
    if days[0] is None:
        return [start] + [None] * (len(days) - 1)
    if birth is not None:
        return [None if day is None else years_between(birth, day) for day in days]
    if len(days) == 1:
        return [start]
    first = days[0]
    return [None if day is None else (start or 0.0) + years_between(first, day) for day in days]


def _patient_age(header: Any) -> float | None:
    """Years from DICOM's own notation, such as 061Y."""
    text = str(header.get("PatientAge", "")).strip()
    if not text[:-1].isdigit() or text[-1] not in IN_YEARS:
        return None
    return int(text[:-1]) * IN_YEARS[text[-1]]


def _visit(
    subject: str, slices: Sequence[tuple[Path, Any]], age: float | None, number: int
) -> VisitStack:
    try:
        _check_one_series(slices)
        ordered, affine = _in_place(slices)
        planes = [_plane(path) for path, _ in ordered]
    except ReadError:
        raise
    except Exception as error:  # values of a wrong kind
        raise _damaged(slices[0][0], error) from error
    header = ordered[0][1]
    stack = VisitStack.from_array(
        np.stack(planes)[None],
        ages=None if age is None else [age],
        affine=affine,
        subject=subject,
        modalities=[str(header.get("SeriesDescription", "") or header.get("Modality", "image"))],
    )
    return stack if age is not None else stack.with_images(stack.images, ages=[float(number)])


def _check_one_series(slices: Sequence[tuple[Path, Any]]) -> None:
    series: dict[str, Any] = {}
    for path, header in slices:
        series.setdefault(str(header.SeriesInstanceUID), (path, header))
        if int(header.get("NumberOfFrames", 1) or 1) > 1:
            raise ReadError(f"{path.name!r} holds many frames; convert it with dcm2niix first")
        if int(header.get("SamplesPerPixel", 1)) > 1:
            raise ReadError(f"{path.name!r} is in colour; give grey images")
    if len(series) > 1:
        names = ", ".join(
            f"{header.get('SeriesDescription', 'unnamed')!s} ({path.name})"
            for path, header in list(series.values())[:4]
        )
        raise ReadError(
            f"holds {len(series)} series of one study: {names}; leave one of them in the folder, "
            "or name a folder each in a table of visits, with its modality"
        )


def _in_place(
    slices: Sequence[tuple[Path, Any]],
) -> tuple[list[tuple[Path, Any]], NDArray[np.float64]]:
    """Slices in the order of their places, and the affine from voxel (z, y, x) to RAS."""
    for path, header in slices:
        for name in PLACED:
            if header.get(name) is None:
                raise ReadError(f"{path.name!r} says no {name}; convert the series with dcm2niix")
    first = slices[0][1]
    turn, size = _numbers(first, "ImageOrientationPatient"), _numbers(first, "PixelSpacing")
    for path, header in slices:
        alike = [
            np.allclose(_numbers(header, "ImageOrientationPatient"), turn, atol=1e-3),
            np.allclose(_numbers(header, "PixelSpacing"), size, rtol=1e-3),
            (header.Rows, header.Columns) == (first.Rows, first.Columns),
        ]
        if not all(alike):
            raise ReadError(
                f"{path.name!r} differs from {slices[0][0].name!r} in size, spacing or orientation;"
                " leave the slices of one series in the folder"
            )
    along_x, along_y = turn[:3], turn[3:]
    normal = np.cross(along_x, along_y)
    places = np.array([_numbers(header, "ImagePositionPatient") for _, header in slices])
    order = np.argsort(places @ normal, kind="stable")
    ordered, places = [slices[index] for index in order], places[order]
    _check_gaps(ordered, places @ normal)
    thickness = float(first.get("SliceThickness") or 1.0)
    step = (places[-1] - places[0]) / (len(places) - 1) if len(places) > 1 else normal * thickness
    affine = np.eye(4)
    affine[:3] = np.stack([step, along_y * size[0], along_x * size[1], places[0]], axis=1)
    affine[:2] *= -1  # left and posterior become right and anterior
    return ordered, affine


def _numbers(header: Any, name: str) -> NDArray[np.float64]:
    return np.array([float(value) for value in header[name].value])


def _check_gaps(slices: Sequence[tuple[Path, Any]], places: NDArray[np.float64]) -> None:
    gaps = np.diff(places)
    if not len(gaps):
        return
    usual = float(np.median(gaps))
    for index, gap in enumerate(gaps):
        between = f"{slices[index][0].name!r} and {slices[index + 1][0].name!r}"
        if gap < 1e-3 or usual < 1e-3:
            raise ReadError(f"{between} lie in the same place; leave one series in the folder")
        if abs(gap - usual) > UNEVEN * usual:
            raise ReadError(
                f"{between} lie {gap:.3g} mm apart, other slices {usual:.3g} mm: a slice may be "
                "missing; copy the series again"
            )


def _plane(path: Path) -> NDArray[Any]:
    """Pixels of a slice, in the units of its rescaling if it has one."""
    from pydicom import dcmread

    try:
        data = dcmread(path)
        slope, intercept = (
            float(data.get("RescaleSlope", 1)),
            float(data.get("RescaleIntercept", 0)),
        )
        values = data.pixel_array
    except Exception as error:  # so have its decoders
        raise _damaged(path, error) from error
    if (slope, intercept) == (1.0, 0.0):
        return np.asarray(values)
    return np.asarray(values * np.float32(slope) + np.float32(intercept), dtype=np.float32)
