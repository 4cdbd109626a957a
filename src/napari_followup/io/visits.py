"""Visits that lie in files of their own, brought together as one subject's stack."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np

from napari_followup.io.dates import years_between
from napari_followup.io.errors import ReadError
from napari_followup.io.formats import read_image
from napari_followup.io.lazy import stacked
from napari_followup.series.grid import SAME_PLACE, apart
from napari_followup.series.stack import VisitStack

__all__ = ["VisitFile", "join_visits", "load_visits", "read_subjects"]


@dataclass(frozen=True, kw_only=True)
class VisitFile:
    """One file of one visit, as a table or a folder tells of it."""

    where: str  # how a message names it, such as "row 3"
    path: Path | None  # none: the visit took place, or was planned, but has no image
    subject: str
    visit: str  # the files of one visit share it
    age: float | None = None
    day: date | None = None
    birth: date | None = None
    modality: str = ""


@dataclass(frozen=True, kw_only=True)
class _Visit:
    """One visit: where it was told of, its age if known, and its images if there are any."""

    where: str
    age: float | None
    stack: VisitStack | None


def load_visits(files: Iterable[VisitFile], *, keep_missing: bool = False) -> list[VisitStack]:
    """Read each visit as a stack of its own, on its own grid.

    Parameters
    ----------
    files
        Of one subject or several.
    keep_missing
        Whether a visit without an image is kept, on the grid of the one before it, or of the
        first with an image.

    Returns
    -------
    list of VisitStack
        One visit each, and the missing ones that are kept with it; by subject and then by age.

    Raises
    ------
    ReadError
        If a file cannot be read, two of them contradict each other, or the missing visits of a
        subject are to be kept and it has no others.
    """
    subjects = [_loaded(group) for group in _by(files, "subject").values()]
    if keep_missing:
        return [stack for visits in subjects for stack in _with_missing(visits)]
    return [each.stack for visits in subjects for each in visits if each.stack is not None]


def read_subjects(files: Iterable[VisitFile]) -> list[VisitStack]:
    """Read each subject as one stack of all visits.

    Parameters
    ----------
    files
        Of one subject or several.

    Returns
    -------
    list of VisitStack
        One a subject; a visit without an image is missing.

    Raises
    ------
    ReadError
        As `load_visits`, and if the visits of a subject lie on different grids.
    """
    return [_joined(_loaded(group)) for group in _by(files, "subject").values()]


def join_visits(visits: Sequence[VisitStack]) -> VisitStack:
    """Put the visits of one subject, each a stack of its own, into one stack.

    Parameters
    ----------
    visits
        On one grid, with the same modalities; one visit each, perhaps with missing ones.

    Returns
    -------
    VisitStack
        Sorted by age.

    Raises
    ------
    ReadError
        If they do not fit together.
    """
    pairs = [(stack, index) for stack in visits for index in range(stack.n_visits)]
    return _joined(
        [
            _Visit(
                where=f"visit {number}",
                age=float(stack.ages[index]) if stack.ages_known else None,
                stack=None if stack.is_missing[index] else stack.select(index),
            )
            for number, (stack, index) in enumerate(pairs, start=1)
        ]
    )


def _by(files: Iterable[VisitFile], name: str) -> dict[str, list[VisitFile]]:
    groups: dict[str, list[VisitFile]] = {}
    for file in files:
        groups.setdefault(getattr(file, name), []).append(file)
    return groups


def _loaded(files: Sequence[VisitFile]) -> list[_Visit]:
    """Visits of one subject, by age."""
    _check_once(files)
    ages = _ages(files)
    modalities = list(dict.fromkeys(file.modality for file in files if file.path))
    visits = [
        _Visit(where=group[0].where, age=ages[name], stack=_images(group, modalities))
        for name, group in _by(files, "visit").items()
    ]
    own = [each.stack.ages_known for each in visits if each.stack is not None]
    if all(visit.age is None for visit in visits) and all(own) and len(own) == len(visits):
        visits = [replace(each, age=float(each.stack.ages[0])) for each in visits if each.stack]
    if all(visit.age is not None for visit in visits):
        visits.sort(key=lambda visit: visit.age or 0.0)
    return [
        visit if visit.stack is None else replace(visit, stack=_placed(visit, number))
        for number, visit in enumerate(visits)
    ]


def _with_missing(visits: Sequence[_Visit]) -> list[VisitStack]:
    """One stack a visit with an image; a missing one goes with the visit before it."""
    groups: list[list[_Visit]] = [[]]
    for visit in visits:
        if visit.stack is not None and any(each.stack is not None for each in groups[-1]):
            groups.append([])
        groups[-1].append(visit)
    return [_joined(group) for group in groups]


def _placed(visit: _Visit, number: int) -> VisitStack:
    """Images of a visit, with its age: its number in the series where that is not known."""
    assert visit.stack is not None
    known = visit.age is not None
    age = np.array([visit.age if known else number], dtype=np.float64)
    return replace(visit.stack, ages=age, ages_known=known)


def _check_once(files: Sequence[VisitFile]) -> None:
    """Refuse a file, or a visit and modality, that is named twice."""
    seen: dict[object, VisitFile] = {}
    for file in files:
        for key in ((file.visit, file.modality), file.path and file.path.resolve()):
            if key is None:
                continue
            first = seen.setdefault(key, file)
            if first is not file:
                what = "visit" if isinstance(key, tuple) else "file"
                raise ReadError(
                    f"{file.where}: the same {what} of {file.subject!r} as {first.where}; take "
                    "one out, or name its visit or modality"
                )


def _ages(files: Sequence[VisitFile]) -> dict[str, float | None]:
    """Age of each visit of one subject: as given, or from dates, or none at all."""
    told = {name: _age_and_date(group) for name, group in _by(files, "visit").items()}
    first = files[0]
    if all(age is None and day is None for age, day in told.values()):
        return dict.fromkeys(told)
    by_age = any(age is not None for age, _ in told.values())
    for name, (age, day) in told.items():
        if (age if by_age else day) is None:
            where = next(file.where for file in files if file.visit == name)
            raise ReadError(
                f"{where}: has no {'age' if by_age else 'date'}, other visits of "
                f"{first.subject!r} have; give every visit one, or none"
            )
    if by_age:
        return {name: age for name, (age, _) in told.items()}
    days = {name: day for name, (_, day) in told.items() if day is not None}
    births = [file.birth for file in files if file.birth is not None]
    birth = births[0] if births else min(days.values())
    for file in files:
        if file.day is not None and file.day < birth:
            raise ReadError(f"{file.where}: dated {file.day}, before the birth on {birth}")
    return {name: years_between(birth, day) for name, day in days.items()}


def _age_and_date(files: Sequence[VisitFile]) -> tuple[float | None, date | None]:
    """Say what the files of one visit tell; they may not contradict each other."""
    ages = {file.age: file.where for file in files if file.age is not None}
    days = {file.day: file.where for file in files if file.day is not None}
    for values in (ages, days):
        if len(values) > 1:
            (one, place), (other, there) = list(values.items())[:2]
            raise ReadError(
                f"{there}: says {other} of the visit that is {one} in {place}; give one visit "
                "one age or date, or several visits a name each"
            )
    return next(iter(ages), None), next(iter(days), None)


def _images(files: Sequence[VisitFile], modalities: Sequence[str]) -> VisitStack | None:
    """Images of one visit, its modalities in the order of `modalities`; none without a file."""
    by_modality = {file.modality: file for file in files if file.path}
    if not by_modality:
        return None
    missing = [name for name in modalities if name not in by_modality]
    if missing:
        raise ReadError(
            f"{files[0].where}: this visit of {files[0].subject!r} has no {missing[0] or 'image'}, "
            "other visits have; give it, or leave that modality out everywhere"
        )
    parts = [_one_modality(by_modality[name]) for name in modalities]
    first = parts[0]
    for name, part in zip(modalities[1:], parts[1:], strict=True):
        _check_grid(part, by_modality[name].where, first, by_modality[modalities[0]].where)
    return replace(
        first,
        images=stacked([part.images for part in parts], axis=1),
        modalities=tuple(each for part in parts for each in part.modalities),
    )


def _one_modality(file: VisitFile) -> VisitStack:
    assert file.path is not None
    try:
        stack = read_image(file.path)
    except ReadError as error:
        raise ReadError(f"{file.where}: {error}") from error
    if not file.modality:
        return replace(stack, subject=file.subject)
    if stack.shape[1] > 1:
        raise ReadError(
            f"{file.where}: {file.path.name!r} holds {stack.shape[1]} modalities; leave the "
            "modality out, or give a file each"
        )
    return replace(stack, subject=file.subject, modalities=(file.modality,))


def _joined(visits: Sequence[_Visit]) -> VisitStack:
    """One stack of one subject's visits; those without images are NaN."""
    shown = [(visit.where, visit.stack) for visit in visits if visit.stack is not None]
    if not shown:
        raise ReadError(f"{visits[0].where}: no visit has an image; give at least one")
    place, first = shown[0]
    for where, stack in shown[1:]:
        _check_grid(stack, where, first, place)
        if stack.modalities != first.modalities:
            raise ReadError(
                f"{where}: holds {', '.join(stack.modalities)}, {place} "
                f"{', '.join(first.modalities)}; give all visits the same modalities"
            )
    images = [
        first.images * np.float32("nan") if v.stack is None else v.stack.images for v in visits
    ]
    known = all(visit.age is not None for visit in visits)
    ages = [visit.age if known else number for number, visit in enumerate(visits)]
    return replace(
        first,
        images=stacked(images),
        ages=np.array(ages, dtype=np.float64),
        ages_known=known,
        is_observed=np.array([visit.stack is not None for visit in visits]),
    )


def _check_grid(stack: VisitStack, where: str, first: VisitStack, place: str) -> None:
    """Refuse images whose voxels do not lie where those of another stack do.

    Parameters
    ----------
    stack, first
        The one in question, and the one it should lie on.
    where, place
        How a message names them, such as "row 3".

    Raises
    ------
    ReadError
        If they lie further apart than rounding explains.
    """
    same = stack.shape[2:] == first.shape[2:] and stack.unit == first.unit
    if same and apart(stack.affine, first.affine, first.shape[2:]) <= SAME_PLACE:
        return
    raise ReadError(
        f"{where}: {_grid(stack)} lie elsewhere than those of {place}, {_grid(first)}; bring the "
        "visits onto one grid with align (in Python: nf.align(nf.read_visits(..., "
        "keep_missing=True)))"
    )


def _grid(stack: VisitStack) -> str:
    size = " x ".join(str(length) for length in stack.shape[2:])
    voxel = " x ".join(f"{length:.3g}" for length in stack.spacing)
    return f"{size} voxels of {voxel} {stack.unit}"
