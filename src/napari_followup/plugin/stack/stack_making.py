"""From the rows of the table to a stack: check them, plan the stack, make it.

Rows of one visit share the visit's name, or else its age. Without both, the first image of each
modality belongs to the first visit, the second to the second, and so on. Large images stay on disk,
unless they are resampled onto another grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_followup.io.lazy import stacked
from napari_followup.plugin.run.progress import message_of
from napari_followup.plugin.run.report import Report
from napari_followup.plugin.stack.stack_rows import OLDEST, Facts, Opener, Options, Row, ages_of
from napari_followup.series.stack import VisitStack, add_step

__all__ = ["Checked", "Verdict", "check", "lies_on", "make_stack", "placed", "plan_of"]

LEVELS = ("good", "note", "warning", "error", "busy")


@dataclass(frozen=True)
class Verdict:
    """Status of a row: the most severe of its problems."""

    text: str = ""
    level: str = "good"


@dataclass(frozen=True, kw_only=True)
class Visit:
    """Rows of one visit, by their positions."""

    places: tuple[int, ...]
    age: float | None
    is_missing: bool


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Status of the rows, and their visits by age."""

    verdicts: tuple[Verdict, ...]
    visits: tuple[Visit, ...]
    names: tuple[tuple[str, ...], ...]  # of the modalities of each row
    modalities: tuple[str, ...]  # of the stack
    complaint: str  # why no stack can be made; empty if it can

    @property
    def numbers(self) -> dict[int, int]:
        """Number of the visit that each row belongs to, from 1."""
        return {
            place: number
            for number, visit in enumerate(self.visits, start=1)
            for place in visit.places
        }


class _Notes:
    """Collects the status of the rows; a more severe problem replaces a less severe one."""

    def __init__(self, count: int) -> None:
        self.verdicts = [Verdict() for _ in range(count)]

    def add(self, place: int, level: str, text: str) -> None:
        """Set the status of a row, unless it already has a problem of this level or above."""
        if LEVELS.index(level) > LEVELS.index(self.verdicts[place].level):
            self.verdicts[place] = Verdict(text[:1].upper() + text[1:], level)


def check(rows: Sequence[Row], options: Options) -> Checked:
    """Check the rows of the table, some of which may not be read yet."""
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
    """Apply the spacing and unit of the options to images without their own."""
    if facts.unit != "pixel" or (options.spacing is None and options.unit == "pixel"):
        return facts
    spacing = options.spacing or facts.spacing
    blank = np.broadcast_to(np.uint8(0), (1, 1, *facts.shape))
    sizes = VisitStack.from_array(blank, axes="vmzyx", spacing=spacing, unit=options.unit)
    return replace(facts, spacing=sizes.spacing, affine=sizes.affine, unit=sizes.unit)


def lies_on(facts: Facts, first: Facts) -> bool:
    """Whether two grids are the same."""
    from napari_followup.series.grid import SAME_PLACE, apart

    same = facts.shape == first.shape and facts.unit == first.unit
    return same and apart(facts.affine, first.affine, first.shape) <= SAME_PLACE


def _check_sources(rows: Sequence[Row], notes: _Notes) -> None:
    """Note rows that cannot be read, are not read yet, or occur twice."""
    seen: dict[object, int] = {}
    for place, row in enumerate(rows):
        if row.error and not (row.is_missing and row.origin):
            notes.add(place, "error", row.error)
        if row.origin is None or row.is_missing:
            continue
        if row.is_pending:
            notes.add(place, "busy", "reading …")
        first = seen.setdefault((row.origin.description(), row.part), place)
        if first != place:
            notes.add(place, "error", f"the same image as row {first + 1}; remove one")


def _check_subjects(rows: Sequence[Row], notes: _Notes) -> None:
    named = [(place, row.subject) for place, row in enumerate(rows) if row.subject]
    for place, subject in named:
        if subject != named[0][1]:
            text = (
                f"of {subject!r}, but row {named[0][0] + 1} is of {named[0][1]!r}: a stack has "
                "one subject; choose it below, or remove the others"
            )
            notes.add(place, "error", text)


def _shared(rows: Sequence[Row], texts: Sequence[str]) -> list[str]:
    """Ages and dates as typed; a row without one takes that of its visit's other images."""
    known = {row.visit: text for row, text in zip(rows, texts, strict=True) if row.visit and text}
    return [text or known.get(row.visit, "") for row, text in zip(rows, texts, strict=True)]


def _modalities(rows: Sequence[Row], options: Options) -> list[tuple[str, ...]]:
    """Names of each row's modalities; those without a name get that of the options."""
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
    """Group rows into visits, sorted by age if all have one."""
    groups: dict[object, list[int]] = {}
    count: dict[object, int] = {}
    for place, row in enumerate(rows):
        key: object = row.visit
        if row.origin is None and not (row.visit or row.modality):
            key = place  # added by hand: a visit of its own
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
                text = f"age {ages[place]:.5g}, but {visit.age:.5g} in another row of this visit"
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
    """Note visits that lack a modality, or have one twice."""
    shown = [visit for visit in visits if not visit.is_missing]
    wanted = dict.fromkeys(name for v in shown for place in v.places for name in names[place])
    for visit in shown:
        seen: dict[str, int] = {}
        for place in visit.places:
            if rows[place].is_missing or rows[place].origin is None:
                text = (
                    "this visit has an image of another modality; give this one too, or remove it"
                )
                notes.add(place, "error", text)
            for name in names[place]:
                if seen.setdefault(name, place) != place:
                    text = f"the same visit and modality as row {seen[name] + 1}; remove one"
                    notes.add(place, "error", text)
        if lacking := [name for name in wanted if name not in seen]:
            text = f"this visit has no {lacking[0]}, but others have; add it, or remove theirs"
            notes.add(visit.places[0], "error", text)


def _check_grids(
    rows: Sequence[Row], visits: Sequence[Visit], options: Options, notes: _Notes
) -> None:
    """Note images on another grid than the first, and what can be done."""
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
    """Level and text of the problem of an image on another grid."""
    if facts.unit != first.unit:
        text = f"voxels in {facts.unit}, those of visit 1 in {first.unit}; set spacing and unit"
        return "error", text
    if facts.unit == "pixel":
        size = " × ".join(map(str, first.shape))
        text = f"another shape than visit 1 ({size}), and no place in space is known; crop or pad"
        return "error", f"{text} it, or set the spacing in mm below"
    if (facts.shape[0] == 1) != (first.shape[0] == 1):
        return "error", "a plane and a volume do not make a stack; remove one kind"
    if options.onto_first:
        return "note", "will be resampled onto the grid of visit 1"
    text = "another grid than visit 1: resample it onto that one (below), or use Align visits"
    return "error", text


def _complaint(rows: Sequence[Row], visits: Sequence[Visit], notes: _Notes) -> str:
    """Why no stack can be made; empty if it can."""
    if not rows:
        return "Add the files or layers of one subject first."
    for level in ("busy", "error"):
        for place, verdict in enumerate(notes.verdicts):
            if verdict.level == level:
                return f"Row {place + 1}: {verdict.text[:1].lower()}{verdict.text[1:]}"
    if all(visit.is_missing for visit in visits):
        return "All visits are missing; give at least one image."
    return ""


@dataclass(frozen=True, eq=False, kw_only=True)
class PlannedImage:
    """One image that goes into the stack."""

    name: str
    source: str  # for the provenance
    opener: Opener
    part: int  # which visit of what `opener` reads
    facts: Facts
    modalities: tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class PlannedVisit:
    """One visit of the stack; missing without images."""

    age: float | None
    images: tuple[PlannedImage, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class StackPlan:
    """Everything that is needed to make a stack; holds no layer."""

    visits: tuple[PlannedVisit, ...]
    modalities: tuple[str, ...]
    options: Options

    @property
    def ages(self) -> list[float] | None:
        """One a visit, or none at all."""
        ages = [visit.age for visit in self.visits if visit.age is not None]
        return ages if len(ages) == len(self.visits) else None


def plan_of(rows: Sequence[Row], checked: Checked, options: Options) -> StackPlan:
    """Plan the stack of checked rows.

    Raises
    ------
    ValueError
        If no stack can be made.
    """
    if checked.complaint:
        raise ValueError(checked.complaint)
    used = [rows[p].origin for v in checked.visits if not v.is_missing for p in v.places]
    openers = {id(origin): origin.opener() for origin in used if origin is not None}
    visits = []
    for visit in checked.visits:
        places = () if visit.is_missing else visit.places
        images = tuple(_planned(rows[p], checked.names[p], openers) for p in places)
        visits.append(PlannedVisit(age=visit.age, images=images))
    return StackPlan(visits=tuple(visits), modalities=checked.modalities, options=options)


def make_stack(plan: StackPlan, report: Report) -> VisitStack:
    """Read the visits, and join them to one stack.

    Raises
    ------
    ValueError
        If an image cannot be read, has changed, or does not fit; the message names it.
    """
    maker = _Maker(plan.options)
    images: list[Any] = []
    observed, origins = [], []
    for done, visit in enumerate(plan.visits):
        report.phase(f"Visit {done + 1} of {len(plan.visits)}")
        report(done, len(plan.visits))
        parts = [maker.read(image) for image in visit.images]
        images.append(_side_by_side(parts, visit.images, plan.modalities) if parts else None)
        observed.append(bool(parts) and all(i.facts.is_observed for i in visit.images))
        origins.append(_provenance(visit, parts))
    report.phase("Joining the visits")
    first = maker.first
    assert first is not None  # a checked plan has an image
    gap = next(image for image in images if image is not None) * np.float32("nan")
    return VisitStack(
        images=stacked([gap if image is None else image for image in images]),
        ages=np.arange(len(images), dtype=float) if plan.ages is None else np.array(plan.ages),
        affine=first.affine,
        spacing=first.spacing,
        unit=first.unit,
        is_observed=np.array(observed),
        subject=plan.options.name,
        modalities=plan.modalities,
        ages_known=plan.ages is not None,
        provenance=add_step({}, "stacked", visits=origins),
    )


class _Maker:
    """Reads images onto the grid of the first; keeps the last file for its other visits."""

    def __init__(self, options: Options) -> None:
        self.first: VisitStack | None = None
        self._options = options
        self._grid: Facts | None = None
        self._opener: Opener | None = None
        self._visits: list[tuple[VisitStack, int]] = []

    def read(self, image: PlannedImage) -> VisitStack:
        """Read one visit's image, as a stack of its own."""
        try:
            return self._placed(image, self._opened(image))
        except Exception as error:  # each format's reader has errors of its own
            text = message_of(error).removeprefix(f"{image.name!r}: ")
            raise ValueError(f"{image.name!r}: {text}") from error

    def _opened(self, image: PlannedImage) -> VisitStack:
        if self._opener is not image.opener:
            self._visits, self._opener = [], None  # before the next one takes memory
            self._visits, self._opener = image.opener(), image.opener
        shapes = [stack.shape[2:] for stack, _ in self._visits]
        if shapes[image.part : image.part + 1] != [image.facts.shape]:
            raise ValueError("has changed since it was checked; press 'Check again'")
        stack, index = self._visits[image.part]
        kept = slice(index, index + 1)
        return replace(
            stack,
            images=stack.images[kept],
            ages=stack.ages[kept],
            is_observed=np.ones(1, dtype=bool),
        )

    def _placed(self, image: PlannedImage, stack: VisitStack) -> VisitStack:
        """Apply the options' spacing, and resample onto the first image's grid."""
        from napari_followup.alignment.resample import regridded

        facts = replace(image.facts, affine=stack.affine, spacing=stack.spacing, unit=stack.unit)
        facts = placed(facts, self._options)
        stack = replace(stack, affine=facts.affine, spacing=facts.spacing, unit=facts.unit)
        if self.first is None:
            self.first, self._grid = stack, facts
        assert self._grid is not None  # set with the first
        return stack if lies_on(facts, self._grid) else regridded(stack, like=self.first)


def _planned(row: Row, names: tuple[str, ...], openers: dict[int, Opener]) -> PlannedImage:
    assert row.origin is not None  # checked rows have both
    assert row.facts is not None
    return PlannedImage(
        name=row.name,
        source=row.origin.description(),
        opener=openers[id(row.origin)],
        part=row.part,
        facts=row.facts,
        modalities=names,
    )


def _side_by_side(
    parts: Sequence[VisitStack], images: Sequence[PlannedImage], modalities: Sequence[str]
) -> Any:
    """Images of one visit, ``(1, modality, z, y, x)``, its modalities in the stack's order."""
    if len(parts) == 1 and images[0].modalities == tuple(modalities):
        return parts[0].images
    by_name = {
        name: part.images[:, number : number + 1]
        for part, image in zip(parts, images, strict=True)
        for number, name in enumerate(image.modalities)
    }
    return stacked([by_name[name] for name in modalities], axis=1)


def _provenance(visit: PlannedVisit, parts: Sequence[VisitStack]) -> dict[str, Any]:
    """Provenance of a visit: where its images come from, and what was done to them."""
    return {
        "age": visit.age,
        "images": [
            {
                "from": image.source,
                "part": image.part,
                "modalities": list(image.modalities),
                "provenance": dict(part.provenance),
            }
            for image, part in zip(visit.images, parts, strict=True)
        ],
    }
