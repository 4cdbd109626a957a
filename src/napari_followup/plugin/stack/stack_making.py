"""Make one stack of rows that were checked, in a thread, and its layers.

Large images stay on disk, but for those that are brought onto another grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_followup.io.lazy import stacked
from napari_followup.plugin.layers.layers import LayerTuple
from napari_followup.plugin.layers.stack_layers import stack_layers
from napari_followup.plugin.run.progress import spoken
from napari_followup.plugin.run.report import Report
from napari_followup.plugin.stack.stack_checks import Checked, lies_on, placed
from napari_followup.plugin.stack.stack_rows import Facts, Opener, Options, Row
from napari_followup.series.provenance import add_step
from napari_followup.series.stack import VisitStack

__all__ = ["StackPlan", "make_layers", "make_stack", "plan_of"]


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
    """All that making a stack needs; holds no layer."""

    visits: tuple[PlannedVisit, ...]
    modalities: tuple[str, ...]
    options: Options

    @property
    def ages(self) -> list[float] | None:
        """One a visit, or none at all."""
        ages = [visit.age for visit in self.visits if visit.age is not None]
        return ages if len(ages) == len(self.visits) else None


def plan_of(rows: Sequence[Row], checked: Checked, options: Options) -> StackPlan:
    """Plan the stack of rows that were checked.

    Raises
    ------
    ValueError
        If there can be no stack of them.
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


def make_layers(plan: StackPlan, report: Report) -> list[LayerTuple]:
    """Make the stack's image layers, one a modality; what was done is in their metadata.

    Raises
    ------
    ValueError
        As `make_stack`.
    """
    return stack_layers(make_stack(plan, report))


def make_stack(plan: StackPlan, report: Report) -> VisitStack:
    """Read the visits and bring them together.

    Raises
    ------
    ValueError
        If an image cannot be read, has changed since it was, or does not fit; it is named.
    """
    maker = _Maker(plan.options)
    images: list[Any] = []
    observed, said = [], []
    for done, visit in enumerate(plan.visits):
        report.phase(f"Visit {done + 1} of {len(plan.visits)}")
        report(done, len(plan.visits))
        parts = [maker.read(image) for image in visit.images]
        images.append(_side_by_side(parts, visit.images, plan.modalities) if parts else None)
        observed.append(bool(parts) and all(i.facts.is_observed for i in visit.images))
        said.append(_said(visit, parts))
    report.phase("Putting the visits together")
    first = maker.first
    assert first is not None  # the checks let no plan without an image pass
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
        provenance=add_step({}, "stacked", visits=said),
    )


class _Maker:
    """Reads images onto the grid of the first; the file read last is kept, for its other visits."""

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
            text = spoken(error).removeprefix(f"{image.name!r}: ")
            raise ValueError(f"{image.name!r}: {text}") from error

    def _opened(self, image: PlannedImage) -> VisitStack:
        if self._opener is not image.opener:
            self._visits, self._opener = [], None  # before the next one takes memory
            self._visits, self._opener = image.opener(), image.opener
        shapes = [stack.shape[2:] for stack, _ in self._visits]
        if shapes[image.part : image.part + 1] != [image.facts.shape]:
            raise ValueError("has changed since it was read; press 'Check again'")
        stack, index = self._visits[image.part]
        kept = slice(index, index + 1)
        return replace(
            stack,
            images=stack.images[kept],
            ages=stack.ages[kept],
            is_observed=np.ones(1, dtype=bool),
        )

    def _placed(self, image: PlannedImage, stack: VisitStack) -> VisitStack:
        """Put the image where the options say, and onto the first one's grid."""
        from napari_followup.alignment.resample import regridded

        facts = replace(image.facts, affine=stack.affine, spacing=stack.spacing, unit=stack.unit)
        facts = placed(facts, self._options)
        stack = replace(stack, affine=facts.affine, spacing=facts.spacing, unit=facts.unit)
        if self.first is None:
            self.first, self._grid = stack, facts
        assert self._grid is not None  # it comes with the first
        return stack if lies_on(facts, self._grid) else regridded(stack, like=self.first)


def _planned(row: Row, names: tuple[str, ...], openers: dict[int, Opener]) -> PlannedImage:
    assert row.origin is not None  # the checks let no row pass without
    assert row.facts is not None
    return PlannedImage(
        name=row.name,
        source=row.origin.said(),
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


def _said(visit: PlannedVisit, parts: Sequence[VisitStack]) -> dict[str, Any]:
    """Say in the provenance where a visit came from, and what was done to its images."""
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
