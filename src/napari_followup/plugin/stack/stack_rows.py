"""The rows of the table of visits, and their ages.

Plain values without Qt. Images stay in their files or layers until a stack is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_followup.io.dates import read_dates, years_between
from napari_followup.io.errors import ReadError
from napari_followup.series.stack import VisitStack

__all__ = [
    "OLDEST",
    "AxesUnknown",
    "Facts",
    "Found",
    "Listed",
    "Opener",
    "Options",
    "Origin",
    "Part",
    "Row",
    "StackModel",
    "ages_of",
    "facts_of",
    "part_of",
]

THUMBNAIL = 64  # pixels of its longer side

Opener = Callable[[], list[tuple[VisitStack, int]]]  # visits: a stack, and which visit of it


class AxesUnknown(ValueError):
    """The axes of a file or layer are unknown; `choices` are the possible ones."""

    def __init__(self, choices: tuple[str, ...]) -> None:
        super().__init__("does not say what its axes are; choose them under 'axes'")
        self.choices = choices


class Origin(Protocol):
    """A file, folder or layer with one visit or several."""

    axes: str | None  # chosen by the user; None if not asked for
    choices: tuple[str, ...]  # the possible ones, if the user is asked

    @property
    def name(self) -> str:
        """Name on the screen."""

    def opener(self) -> Opener:
        """Make the function that reads the visits in a thread."""

    def subject_of(self, stack: VisitStack) -> str:
        """Give the subject's name; empty if it is unknown."""

    def description(self) -> str:
        """Describe it for the provenance."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Facts:
    """Grid, modalities and thumbnail of one visit's images; no voxels."""

    shape: tuple[int, int, int]  # (z, y, x)
    affine: NDArray[np.float64]  # (4, 4), voxel (z, y, x) -> world (x, y, z)
    spacing: tuple[float, float, float]  # (z, y, x), in `unit`
    unit: str
    modalities: tuple[str, ...]
    is_observed: bool  # neither imputed nor missing
    thumbnail: NDArray[np.uint8]  # (y, x), the middle plane

    @property
    def grid(self) -> str:
        """Shape and voxel size, in two lines."""
        size = " × ".join(str(length) for length in self.shape)
        return f"{size}\n{' × '.join(f'{length:.3g}' for length in self.spacing)} {self.unit}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Part:
    """One visit that was found in an origin."""

    facts: Facts
    subject: str
    age: float | None
    is_missing: bool


@dataclass(eq=False, kw_only=True)
class Row:
    """One image of one visit, or a visit without an image."""

    name: str
    origin: Origin | None = None  # None: a visit without an image
    part: int = 0  # which visit of the origin
    subject: str = ""  # empty if unknown
    visit: str = ""  # shared by the rows of one visit; empty if unknown
    modality: str = ""
    when: str = ""  # age in years or date, as typed
    birth: str = ""
    is_missing: bool = False
    is_listed: bool = False  # by a table or folder that names the visit
    table: Path | None = None  # the one that lists it
    facts: Facts | None = None  # None until it is read
    error: str = ""  # of reading it

    @property
    def is_pending(self) -> bool:
        """Whether it must still be read."""
        return self.origin is not None and self.facts is None and not self.error


@dataclass(frozen=True, kw_only=True)
class Listed:
    """The rows of a folder or table."""

    path: Path
    rows: tuple[Row, ...] = ()
    names: tuple[str, ...] = ()  # of a table's columns
    columns: Mapping[str, str]  # name of the column by its meaning

    @property
    def is_unclear(self) -> bool:
        """Whether the columns with the paths or ages of a table are unknown."""
        known = set(self.columns)
        return bool(self.names) and ("path" not in known or not known & {"age", "date"})


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings for the whole stack, used if the files do not tell."""

    name: str = ""
    subject: str = ""  # the chosen one of several
    modality: str = ""
    spacing: tuple[float, float, float] | None = None  # (z, y, x)
    unit: str = "pixel"
    birth: str = ""
    onto_first: bool = False  # whether visits are resampled onto the first one's grid


def facts_of(stack: VisitStack, index: int) -> Facts:
    """Describe one visit of a stack; only the middle plane is loaded."""
    return Facts(
        shape=(stack.shape[2], stack.shape[3], stack.shape[4]),
        affine=stack.affine,
        spacing=stack.spacing,
        unit=stack.unit,
        modalities=stack.modalities,
        is_observed=bool(stack.is_observed[index]),
        thumbnail=_thumbnail(stack.images[index, 0, stack.shape[2] // 2]),
    )


def part_of(stack: VisitStack, index: int, subject: str) -> Part:
    """Describe one visit of a stack, with its age if it is known."""
    return Part(
        facts=facts_of(stack, index),
        subject=subject,
        age=float(stack.ages[index]) if stack.ages_known else None,
        is_missing=bool(stack.is_missing[index]),
    )


def _thumbnail(plane: Any) -> NDArray[np.uint8]:
    """Small image of a plane; its darkest and brightest pixels are clipped."""
    step = max(1, -(-max(plane.shape) // THUMBNAIL))
    whole = np.asarray(plane, dtype=np.float32)
    height, width = (max(length // step, 1) for length in whole.shape)
    blocks = whole[: height * step, : width * step]
    small = _block_means(blocks, (height, width))
    if not np.isfinite(small).all():
        return np.zeros(small.shape, dtype=np.uint8)
    low, high = np.percentile(small, (1, 99.8))
    if low == high:
        low, high = float(small.min()), float(small.max())
    scaled = np.clip((small - low) / ((high - low) or 1.0), 0, 1) * 255
    return np.asarray(scaled, dtype=np.uint8)


def _block_means(plane: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Mean of each of the ``shape`` blocks of a plane."""
    height, width = (max(a // b, 1) for a, b in zip(plane.shape, shape, strict=True))
    return np.asarray(plane.reshape(shape[0], height, shape[1], width).mean(axis=(1, 3)))


OLDEST = 130.0  # years; a higher age was perhaps given in months or days
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})/\d{4}")
DATE = re.compile(r"\d{8}")  # would else be a number


def ages_of(texts: Sequence[str], births: Sequence[str]) -> tuple[list[float | None], list[str]]:
    """Read the ages of visits.

    Parameters
    ----------
    texts
        One a visit: an age in years, a date, or nothing.
    births
        Dates of birth, or empty texts; the first date is used. Without it, ages from dates start
        at 0 on the earliest date.

    Returns
    -------
    tuple of list
        The ages, None if unknown; and the error of each, empty if there is none.
    """
    ages: dict[int, float] = {}
    days: dict[int, date] = {}
    wrong = [""] * len(texts)
    for place, text in enumerate(texts):
        try:
            if NUMBER.fullmatch(text) and not DATE.fullmatch(text):
                ages[place] = _age(text)
            elif text:
                days[place] = _day(text, texts)
        except ReadError as error:
            wrong[place] = str(error)
    if ages and days:
        for place in days:
            wrong[place] = "is a date, but other visits have ages; give all visits the same kind"
        days = {}
    for place, text in enumerate(texts):
        if not text and any(texts):
            wrong[place] = (
                "has no age or date, but other visits have; give one to all visits, or to none"
            )
    ages |= _from_days(days, births, wrong)
    return [ages.get(place) for place in range(len(texts))], wrong


def _age(text: str) -> float:
    age = float(text.replace(",", "."))
    if not 0 <= age < float("inf"):
        raise ReadError(f"the age {text!r} is below 0; write years as in 61.5")
    return age


def _day(text: str, column: Sequence[str]) -> date:
    """Read one date; the others show whether the day or the month comes first."""
    if not any(letter.isdigit() for letter in text):
        raise ReadError(f"{text!r} is no age and no date; write years as in 61.5, or 2020-01-31")
    telling = _telling(column) if SLASHED.match(text) else []
    try:
        (day, *_) = read_dates([text, *telling], ["", *telling])
    except ReadError as error:
        raise ReadError(str(error).removeprefix(": ")) from error
    assert day is not None  # the text is not empty
    return day


def _telling(column: Sequence[str]) -> list[str]:
    """Give example dates with the order of day and month that the column shows."""
    found = [each for text in column if (each := SLASHED.match(text))]
    day_first = any(int(each[1]) > 12 for each in found)
    month_first = any(int(each[2]) > 12 for each in found)
    return ["13/01/2000"] * day_first + ["01/13/2000"] * month_first


def _from_days(
    days: Mapping[int, date], births: Sequence[str], wrong: list[str]
) -> dict[int, float]:
    """Ages at dates; dates before the birth get an error in `wrong`."""
    if not days:
        return {}
    try:
        birth = next((_day(text, births) for text in births if text), min(days.values()))
    except ReadError as error:
        wrong[min(days)] = f"date of birth: {error}"
        return {}
    for place, day in days.items():
        if day < birth:
            wrong[place] = f"dated {day}, before the birth on {birth}"
    return {place: years_between(birth, day) for place, day in days.items() if day >= birth}


@dataclass(frozen=True, kw_only=True)
class Found:
    """The visits that were read from an origin, or the error."""

    parts: tuple[Part, ...] = ()
    error: str = ""
    choices: tuple[str, ...] = ()  # of axes, if the user must be asked


class StackModel:
    """Rows in their order; rows of subjects that are not chosen are kept but not shown."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.subject = ""

    @property
    def subjects(self) -> list[str]:
        """Names of the subjects of the rows."""
        return list(dict.fromkeys(row.subject for row in self.rows if row.subject))

    @property
    def shown(self) -> list[Row]:
        """Rows of the chosen subject and of unknown ones; all rows if none is chosen."""
        if self.subject not in self.subjects:
            return list(self.rows)
        return [row for row in self.rows if row.subject in ("", self.subject)]

    @property
    def pending(self) -> list[Origin]:
        """Origins that must still be read."""
        return list(dict.fromkeys(row.origin for row in self.rows if row.is_pending and row.origin))

    @property
    def doubtful(self) -> list[Origin]:
        """Origins whose axes the user is asked for, or was."""
        found = (row.origin for row in self.rows if row.origin and row.origin.choices)
        return list(dict.fromkeys(found))

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows; if they are of several subjects, the first subject is chosen."""
        added = list(rows)
        others = set(self.subjects)
        self.rows += added
        self._choose_first([row.subject for row in added if row.subject], others)

    def add_missing(self) -> Row:
        """Add a visit without an image, after the others."""
        row = Row(name="no image", is_missing=True)
        self.rows.append(row)
        return row

    def take(self, origin: Origin, found: Found) -> None:
        """Fill the rows of an origin, one a visit, with what was read."""
        own = [row for row in self.rows if row.origin is origin]
        if not own:
            return  # removed in the meantime
        origin.choices = found.choices or origin.choices
        if found.error or not found.parts:
            for row in own:
                row.error = found.error
            return
        if own[0].is_listed and len(found.parts) > 1:
            own[0].error = f"holds {len(found.parts)} visits; give one file a visit here"
            return
        if len(own) == len(found.parts):  # read again, or a single visit
            new = [_filled(row, part) for row, part in zip(own, found.parts, strict=True)]
        else:
            new = [_row_of(own[0], part, n) for n, part in enumerate(found.parts)]
        place, others = self.rows.index(own[0]), set(self.subjects)
        self.rows = [row for row in self.rows if row not in own]
        self.rows[place:place] = new
        self._choose_first([row.subject for row in new if row.subject], others)

    def set_axes(self, origins: Sequence[Origin], axes: str) -> None:
        """Set the axes of origins; they must be read again."""
        for origin in origins:
            origin.axes = axes
            own = [row for row in self.rows if row.origin is origin]
            self.remove(own[1:])
            for row in own[:1]:
                row.facts, row.error, row.part, row.name = None, "", 0, origin.name
                row.when, row.is_missing = ("", False) if len(own) > 1 else (row.when, False)

    def reset(self) -> None:
        """Clear the errors, so that these origins are read again."""
        wrong = [row.origin for row in self.rows if row.error]
        for row in self.rows:
            if row.origin is not None and row.origin in wrong:
                row.facts, row.error = None, ""

    def remove(self, rows: Sequence[Row]) -> None:
        """Remove rows."""
        self.rows = [row for row in self.rows if row not in rows]

    def remove_table(self, path: Path) -> None:
        """Remove the rows of a table."""
        self.rows = [row for row in self.rows if row.table != path]

    def move(self, rows: Sequence[Row], by: int) -> None:
        """Move rows one place up (-1) or down (1) among the shown ones."""
        shown = self.shown
        places = sorted((shown.index(row) for row in rows), reverse=by > 0)
        for place in places:
            target = place + by
            if 0 <= target < len(shown) and shown[target] not in rows:
                one, other = self.rows.index(shown[place]), self.rows.index(shown[target])
                self.rows[one], self.rows[other] = self.rows[other], self.rows[one]
                shown = self.shown

    def sort(self, options: Options) -> None:
        """Sort the rows by age or date; rows without one come last."""
        births = [options.birth, *(row.birth for row in self.rows)]
        ages, _ = ages_of([row.when.strip() for row in self.rows], births)
        order = sorted(
            range(len(ages)), key=lambda n: float("inf") if ages[n] is None else float(ages[n] or 0)
        )
        self.rows = [self.rows[place] for place in order]

    def _choose_first(self, names: Sequence[str], others: set[str]) -> None:
        """Choose the first subject if several were added and there was none before."""
        if len(set(names)) > 1 and not others - set(names):
            self.subject = names[0]


def _filled(row: Row, part: Part) -> Row:
    """Fill a row with what was read."""
    row.facts, row.error = part.facts, ""
    row.subject = row.subject or part.subject
    row.is_missing = row.is_missing or part.is_missing
    if not row.modality and part.facts.modalities != ("image",):
        row.modality = ", ".join(part.facts.modalities)
    if not row.when and part.age is not None and not row.is_listed:
        row.when = f"{part.age:.10g}"
    return row


def _row_of(first: Row, part: Part, number: int) -> Row:
    """Make the row of one of several visits of an origin."""
    assert first.origin is not None
    name = f"{first.origin.name} [{number}]"
    when = "" if part.age is None else f"{part.age:.10g}"
    return _filled(replace(first, name=name, part=number, when=when, is_missing=False), part)
