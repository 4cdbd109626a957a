"""The rows of the table of visits, and what may be done to them; plain Python."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_followup.plugin.stack.stack_ages import ages_of
from napari_followup.plugin.stack.stack_rows import Options, Origin, Part, Row

__all__ = ["Found", "StackModel"]

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
