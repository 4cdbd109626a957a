"""What the table of visits holds: rows, where their images come from, and what is known of them.

Plain values, without Qt. The images themselves stay where they are until a stack is made.
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
    """A file or layer does not say what its axes are; `choices` is what they can be."""

    def __init__(self, choices: tuple[str, ...]) -> None:
        super().__init__("does not say what its axes are; choose it under 'axes'")
        self.choices = choices


class Origin(Protocol):
    """A file, folder or layer that holds a visit, or several."""

    axes: str | None  # none while it is not known, or says so itself
    choices: tuple[str, ...]  # what they can be, where it has to be asked

    @property
    def name(self) -> str:
        """What to call it at the screen."""

    def opener(self) -> Opener:
        """Make what reads the visits, to be called in a thread."""

    def subject_of(self, stack: VisitStack) -> str:
        """Say whose visits it holds; empty where nothing tells."""

    def said(self) -> str:
        """Say what it is, for the provenance."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Facts:
    """What is known of one visit's images, without their voxels."""

    shape: tuple[int, int, int]  # (z, y, x)
    affine: NDArray[np.float64]  # (4, 4), voxel (z, y, x) -> world (x, y, z)
    spacing: tuple[float, float, float]  # (z, y, x), in `unit`
    unit: str
    modalities: tuple[str, ...]
    is_observed: bool  # not imputed, nor missing
    thumbnail: NDArray[np.uint8]  # (y, x), the middle plane

    @property
    def grid(self) -> str:
        """Shape and voxel size, in two lines."""
        size = " × ".join(str(length) for length in self.shape)
        return f"{size}\n{' × '.join(f'{length:.3g}' for length in self.spacing)} {self.unit}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Part:
    """One visit that an origin was found to hold."""

    facts: Facts
    subject: str
    age: float | None
    is_missing: bool


@dataclass(eq=False, kw_only=True)
class Row:
    """One image of one visit, or a visit without an image."""

    name: str
    origin: Origin | None = None  # none: a visit without an image
    part: int = 0  # which visit of the origin
    subject: str = ""  # empty where nothing tells
    visit: str = ""  # the rows of one visit share it; empty where nothing tells
    modality: str = ""
    when: str = ""  # age in years or date, as typed
    birth: str = ""
    is_missing: bool = False
    is_listed: bool = False  # by a table or folder that says which visit it is
    table: Path | None = None  # that lists it
    facts: Facts | None = None  # none until it was read
    error: str = ""  # what reading it complained of

    @property
    def is_pending(self) -> bool:
        """Whether it has yet to be read."""
        return self.origin is not None and self.facts is None and not self.error


@dataclass(frozen=True, kw_only=True)
class Listed:
    """What a folder or table lists."""

    path: Path
    rows: tuple[Row, ...] = ()
    names: tuple[str, ...] = ()  # of a table's columns
    columns: Mapping[str, str]  # which of them holds what

    @property
    def is_unclear(self) -> bool:
        """Whether a table does not tell its paths or ages by the names of its columns."""
        known = set(self.columns)
        return bool(self.names) and ("path" not in known or not known & {"age", "date"})


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is said of the stack as a whole, where the files do not say it."""

    name: str = ""
    subject: str = ""  # whose visits, where there are several subjects
    modality: str = ""
    spacing: tuple[float, float, float] | None = None  # (z, y, x)
    unit: str = "pixel"
    birth: str = ""
    onto_first: bool = False  # whether visits are brought onto the first one's grid


def facts_of(stack: VisitStack, index: int) -> Facts:
    """Describe one visit of a stack; of its images the middle plane alone is loaded."""
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
    """Small image of a plane; its darkest and brightest pixels are cut off."""
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
    """Mean of each of ``shape`` blocks that a plane is made of."""
    height, width = (max(a // b, 1) for a, b in zip(plane.shape, shape, strict=True))
    return np.asarray(plane.reshape(shape[0], height, shape[1], width).mean(axis=(1, 3)))


OLDEST = 130.0  # years; above it an age was perhaps given in months or days
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})/\d{4}")
DATE = re.compile(r"\d{8}")  # a number by its looks


def ages_of(texts: Sequence[str], births: Sequence[str]) -> tuple[list[float | None], list[str]]:
    """Read the ages of visits.

    Parameters
    ----------
    texts
        One a visit: an age in years, a date, or nothing.
    births
        Dates of birth, or empty texts; the first that is one counts. Without it, ages from dates
        count from the earliest.

    Returns
    -------
    tuple of list
        The ages, none where one is not known; and what is wrong with each, empty where nothing is.
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
            wrong[place] = "is a date, where other visits have ages; give all visits the same kind"
        days = {}
    for place, text in enumerate(texts):
        if not text and any(texts):
            wrong[place] = "has no age or date, other visits have; give it one, or none at all"
    ages |= _from_days(days, births, wrong)
    return [ages.get(place) for place in range(len(texts))], wrong


def _age(text: str) -> float:
    age = float(text.replace(",", "."))
    if not 0 <= age < float("inf"):
        raise ReadError(f"the age {text!r} is below 0; write years as in 61.5")
    return age


def _day(text: str, column: Sequence[str]) -> date:
    """Read one date; the others tell whether the day or the month comes first."""
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
    """Dates that tell what those of a column do of day and month, and are dates themselves."""
    found = [each for text in column if (each := SLASHED.match(text))]
    day_first = any(int(each[1]) > 12 for each in found)
    month_first = any(int(each[2]) > 12 for each in found)
    return ["13/01/2000"] * day_first + ["01/13/2000"] * month_first


def _from_days(
    days: Mapping[int, date], births: Sequence[str], wrong: list[str]
) -> dict[int, float]:
    """Ages at dates; says in `wrong` which of them come before the birth."""
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


EDITABLE = ("modality", "when", "is_missing")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What came of reading an origin: its visits, or what is wrong with it."""

    parts: tuple[Part, ...] = ()
    error: str = ""
    choices: tuple[str, ...] = ()  # of axes, where it has to be asked


class StackModel:
    """Rows in their order; those of other subjects than the chosen one are kept but not shown."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.subject = ""

    @property
    def subjects(self) -> list[str]:
        """Names of the subjects that the rows tell of."""
        return list(dict.fromkeys(row.subject for row in self.rows if row.subject))

    @property
    def shown(self) -> list[Row]:
        """Rows of the chosen subject, and those that do not tell; all where none is chosen."""
        if self.subject not in self.subjects:
            return list(self.rows)
        return [row for row in self.rows if row.subject in ("", self.subject)]

    @property
    def pending(self) -> list[Origin]:
        """What has yet to be read."""
        return list(dict.fromkeys(row.origin for row in self.rows if row.is_pending and row.origin))

    @property
    def doubtful(self) -> list[Origin]:
        """Origins whose axes are, or had to be, asked for."""
        found = (row.origin for row in self.rows if row.origin and row.origin.choices)
        return list(dict.fromkeys(found))

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows; of a table with many subjects the first is chosen."""
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
        """Put what was found in an origin into its rows, one a visit."""
        own = [row for row in self.rows if row.origin is origin]
        if not own:
            return  # taken out meanwhile
        origin.choices = found.choices or origin.choices
        if found.error or not found.parts:
            for row in own:
                row.error = found.error
            return
        if own[0].is_listed and len(found.parts) > 1:
            own[0].error = f"holds {len(found.parts)} visits; give a file a visit here"
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
        """Say what the axes of origins are, and have them read anew."""
        for origin in origins:
            origin.axes = axes
            own = [row for row in self.rows if row.origin is origin]
            self.remove(own[1:])
            for row in own[:1]:
                row.facts, row.error, row.part, row.name = None, "", 0, origin.name
                row.when, row.is_missing = ("", False) if len(own) > 1 else (row.when, False)

    def reset(self) -> None:
        """Have what could not be read read again."""
        wrong = [row.origin for row in self.rows if row.error]
        for row in self.rows:
            if row.origin is not None and row.origin in wrong:
                row.facts, row.error = None, ""

    def remove(self, rows: Sequence[Row]) -> None:
        """Take rows out."""
        self.rows = [row for row in self.rows if row not in rows]

    def remove_table(self, path: Path) -> None:
        """Take out what a table listed."""
        self.rows = [row for row in self.rows if row.table != path]

    def move(self, rows: Sequence[Row], by: int) -> None:
        """Move rows one place up (-1) or down (1) among those that are shown."""
        shown = self.shown
        places = sorted((shown.index(row) for row in rows), reverse=by > 0)
        for place in places:
            target = place + by
            if 0 <= target < len(shown) and shown[target] not in rows:
                one, other = self.rows.index(shown[place]), self.rows.index(shown[target])
                self.rows[one], self.rows[other] = self.rows[other], self.rows[one]
                shown = self.shown

    def sort(self, options: Options) -> None:
        """Order the rows by age or date; those that tell none stay last."""
        births = [options.birth, *(row.birth for row in self.rows)]
        ages, _ = ages_of([row.when.strip() for row in self.rows], births)
        order = sorted(
            range(len(ages)), key=lambda n: float("inf") if ages[n] is None else float(ages[n] or 0)
        )
        self.rows = [self.rows[place] for place in order]

    def _choose_first(self, names: Sequence[str], others: set[str]) -> None:
        """Choose a subject where what was added holds several, and none was there before."""
        if len(set(names)) > 1 and not others - set(names):
            self.subject = names[0]


def _filled(row: Row, part: Part) -> Row:
    """Add what was found to what is known."""
    row.facts, row.error = part.facts, ""
    row.subject = row.subject or part.subject
    row.is_missing = row.is_missing or part.is_missing
    if not row.modality and part.facts.modalities != ("image",):
        row.modality = ", ".join(part.facts.modalities)
    if not row.when and part.age is not None and not row.is_listed:
        row.when = f"{part.age:.10g}"
    return row


def _row_of(first: Row, part: Part, number: int) -> Row:
    """Make a row of one of many visits of an origin."""
    assert first.origin is not None
    name = f"{first.origin.name} [{number}]"
    when = "" if part.age is None else f"{part.age:.10g}"
    return _filled(replace(first, name=name, part=number, when=when, is_missing=False), part)
