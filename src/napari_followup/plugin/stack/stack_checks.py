"""What stands in the way of a stack, row by row; pure functions of rows and options.

Rows make visits as the rows of a table do: those of one visit share its name, else its age; where
there is neither, the first image of each modality makes the first visit, and so on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_followup.plugin.stack.stack_ages import OLDEST, ages_of
from napari_followup.plugin.stack.stack_rows import Facts, Options, Row
from napari_followup.series.stack import VisitStack

__all__ = ["Checked", "Verdict", "Visit", "check", "lies_on", "placed"]

LEVELS = ("good", "note", "warning", "error", "busy")


@dataclass(frozen=True)
class Verdict:
    """What is said at a row; of several things the worst."""

    text: str = ""
    level: str = "good"


@dataclass(frozen=True, kw_only=True)
class Visit:
    """Rows of one visit, by their places."""

    places: tuple[int, ...]
    age: float | None
    is_missing: bool


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Verdicts on the rows, and the visits that they make, by age."""

    verdicts: tuple[Verdict, ...]
    visits: tuple[Visit, ...]
    names: tuple[tuple[str, ...], ...]  # of the modalities of each row
    modalities: tuple[str, ...]  # of the stack
    complaint: str  # why there can be no stack; empty where there can

    @property
    def numbers(self) -> dict[int, int]:
        """Number of the visit that each row belongs to, from 1."""
        return {
            place: number
            for number, visit in enumerate(self.visits, start=1)
            for place in visit.places
        }


class _Notes:
    """Verdicts as they are found; a worse one takes the place of a better one."""

    def __init__(self, count: int) -> None:
        self.verdicts = [Verdict() for _ in range(count)]

    def add(self, place: int, level: str, text: str) -> None:
        """Say something at a row, unless something worse, or as bad, was said before."""
        if LEVELS.index(level) > LEVELS.index(self.verdicts[place].level):
            self.verdicts[place] = Verdict(text[:1].upper() + text[1:], level)


def check(rows: Sequence[Row], options: Options) -> Checked:
    """Check what the table holds.

    Parameters
    ----------
    rows
        As they stand; not all of them need to have been read.
    options
        What is said of the stack as a whole.

    Returns
    -------
    Checked
        One verdict a row.
    """
    notes = _Notes(len(rows))
    _check_sources(rows, notes)
    _check_subjects(rows, notes)
    texts = [row.when.strip() for row in rows]
    births = [options.birth.strip(), *(row.birth for row in rows)]
    ages, wrong = ages_of(_shared(rows, texts), births)
    names = _modalities(rows, options)
    visits = _visits(rows, ages, names)
    for place, text in enumerate(wrong):
        notes.add(place, "error", text) if text else None
    _check_ages(visits, ages, notes)
    _check_modalities(rows, visits, names, notes)
    _check_grids(rows, visits, options, notes)
    shown = (place for visit in visits if not visit.is_missing for place in visit.places)
    order = dict.fromkeys(name for place in shown for name in names[place])
    return Checked(
        verdicts=tuple(notes.verdicts),
        visits=tuple(visits),
        names=tuple(names),
        modalities=tuple(order),
        complaint=_complaint(rows, visits, notes),
    )


def placed(facts: Facts, options: Options) -> Facts:
    """Apply the spacing and unit of the options to images that do not know their own."""
    if facts.unit != "pixel" or (options.spacing is None and options.unit == "pixel"):
        return facts
    spacing = options.spacing or facts.spacing
    blank = np.broadcast_to(np.uint8(0), (1, 1, *facts.shape))
    sizes = VisitStack.from_array(blank, axes="vmzyx", spacing=spacing, unit=options.unit)
    return replace(facts, spacing=sizes.spacing, affine=sizes.affine, unit=sizes.unit)


def lies_on(facts: Facts, first: Facts) -> bool:
    """Whether two grids are one."""
    from napari_followup.io.same_grid import SAME_PLACE, apart

    same = facts.shape == first.shape and facts.unit == first.unit
    return same and apart(facts.affine, first.affine, first.shape) <= SAME_PLACE


def _check_sources(rows: Sequence[Row], notes: _Notes) -> None:
    """Say what could not be read, has yet to be, or stands there twice."""
    seen: dict[object, int] = {}
    for place, row in enumerate(rows):
        if row.error and not (row.is_missing and row.origin):
            notes.add(place, "error", row.error)
        if row.origin is None or row.is_missing:
            continue
        if row.is_pending:
            notes.add(place, "busy", "reading …")
        first = seen.setdefault((row.origin.said(), row.part), place)
        if first != place:
            notes.add(place, "error", f"the same image as row {first + 1}; take one out")


def _check_subjects(rows: Sequence[Row], notes: _Notes) -> None:
    named = [(place, row.subject) for place, row in enumerate(rows) if row.subject]
    for place, subject in named:
        if subject != named[0][1]:
            text = (
                f"of {subject!r}, but row {named[0][0] + 1} of {named[0][1]!r}: a stack holds one "
                "subject; choose it below, or take the others out"
            )
            notes.add(place, "error", text)


def _shared(rows: Sequence[Row], texts: Sequence[str]) -> list[str]:
    """Ages and dates as typed; where a row has none, that of its visit's other images."""
    known = {row.visit: text for row, text in zip(rows, texts, strict=True) if row.visit and text}
    return [text or known.get(row.visit, "") for row, text in zip(rows, texts, strict=True)]


def _modalities(rows: Sequence[Row], options: Options) -> list[tuple[str, ...]]:
    """Names of each row's modalities; one that goes unnamed is what the options say."""
    named = {row.modality for row in rows if row.modality}
    usual = options.modality or (named.pop() if len(named) == 1 else "image")
    return [
        row.facts.modalities
        if row.facts is not None and len(row.facts.modalities) > 1
        else (row.modality or usual,)
        for row in rows
    ]


def _visits(
    rows: Sequence[Row], ages: Sequence[float | None], names: Sequence[tuple[str, ...]]
) -> list[Visit]:
    """Group rows into visits, by age where all have one."""
    groups: dict[object, list[int]] = {}
    count: dict[object, int] = {}
    for place, row in enumerate(rows):
        key: object = row.visit
        if row.origin is None and not (row.visit or row.modality):
            key = place  # typed in: a visit by itself
        elif not row.visit:
            kind = (ages[place], names[place])
            count[kind] = count.get(kind, 0) + 1
            key = (ages[place], count[kind])
        groups.setdefault(key, []).append(place)
    found = [
        Visit(
            places=tuple(places),
            age=next((ages[p] for p in places if ages[p] is not None), None),
            is_missing=all(rows[p].is_missing or rows[p].origin is None for p in places),
        )
        for places in groups.values()
    ]
    if all(visit.age is not None for visit in found):
        found.sort(key=lambda visit: visit.age or 0.0)
    return found


def _check_ages(visits: Sequence[Visit], ages: Sequence[float | None], notes: _Notes) -> None:
    seen: dict[float, int] = {}
    for number, visit in enumerate(visits, start=1):
        for place in visit.places:
            if ages[place] not in (None, visit.age):
                text = f"says {ages[place]:.5g} of a visit that is {visit.age:.5g} in another row"
                notes.add(place, "error", text)
        if visit.age is None:
            continue
        first = seen.setdefault(visit.age, number)
        if first != number:
            text = f"the same age as visit {first}; check that it is another visit"
            notes.add(visit.places[0], "warning", text)
        if visit.age > OLDEST:
            text = f"an age of {visit.age:.5g} years; were they months or days?"
            notes.add(visit.places[0], "warning", text)


def _check_modalities(
    rows: Sequence[Row],
    visits: Sequence[Visit],
    names: Sequence[tuple[str, ...]],
    notes: _Notes,
) -> None:
    """Every visit that has images has the same modalities, each once."""
    shown = [visit for visit in visits if not visit.is_missing]
    wanted = dict.fromkeys(name for v in shown for place in v.places for name in names[place])
    for visit in shown:
        seen: dict[str, int] = {}
        for place in visit.places:
            if rows[place].is_missing or rows[place].origin is None:
                text = "this visit has an image of another modality; give this one, or take it out"
                notes.add(place, "error", text)
            for name in names[place]:
                if seen.setdefault(name, place) != place:
                    text = f"the same visit and modality as row {seen[name] + 1}; take one out"
                    notes.add(place, "error", text)
        if lacking := [name for name in wanted if name not in seen]:
            text = f"this visit has no {lacking[0]}, others have; add it, or take theirs out"
            notes.add(visit.places[0], "error", text)


def _check_grids(
    rows: Sequence[Row], visits: Sequence[Visit], options: Options, notes: _Notes
) -> None:
    """Say which images lie on another grid than the first, and what can be done."""
    places = [place for visit in visits if not visit.is_missing for place in visit.places]
    known: Mapping[int, Facts] = {
        place: placed(facts, options)
        for place in places
        if (facts := rows[place].facts) is not None
    }
    if not known:
        return
    first = known[next(iter(known))]
    for place, facts in known.items():
        if not lies_on(facts, first):
            notes.add(place, *_apart(facts, first, options))


def _apart(facts: Facts, first: Facts, options: Options) -> tuple[str, str]:
    """Level and text about an image on another grid."""
    if facts.unit != first.unit:
        text = f"voxels in {facts.unit}, those of visit 1 in {first.unit}; set spacing and unit"
        return "error", text
    if facts.unit == "pixel":
        size = " × ".join(map(str, first.shape))
        text = f"another shape than visit 1 ({size}), and no place in space is known; crop or pad"
        return "error", f"{text} it, or set the spacing in mm below"
    if (facts.shape[0] == 1) != (first.shape[0] == 1):
        return "error", "a plane and a volume do not make a stack; take one kind out"
    if options.onto_first:
        return "note", "will be brought onto the grid of visit 1"
    text = "another grid than visit 1: bring it onto that one (below), or use Align visits"
    return "error", text


def _complaint(rows: Sequence[Row], visits: Sequence[Visit], notes: _Notes) -> str:
    """Say why there can be no stack."""
    if not rows:
        return "Add the files or layers of one subject first."
    for level in ("busy", "error"):
        for place, verdict in enumerate(notes.verdicts):
            if verdict.level == level:
                return f"Row {place + 1}: {verdict.text[:1].lower()}{verdict.text[1:]}"
    if all(visit.is_missing for visit in visits):
        return "All visits are missing; give at least one image."
    return ""
