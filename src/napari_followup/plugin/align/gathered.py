"""Layers that together are one subject's visits: one stack, or a layer a visit, any modalities.

Nothing is loaded here: `Gathered` says which layers belong together, `Gathered.stacks` reads them
in the thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.plugin.layers.layers import (
    NAMES,
    Source,
    about,
    series_of,
    source_of,
    with_visits,
)
from napari_followup.series.stack import VisitStack

__all__ = ["Gathered", "gathered", "holds_one_visit", "visit_source", "with_ages"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Gathered:
    """Stacks of visits, each as its modalities' sources.

    `groups` holds one entry for a stack of many visits, or one a visit; each lists a source a
    modality. All sources have an axis of visits and none of subjects.
    """

    groups: tuple[tuple[Source, ...], ...]

    @property
    def sources(self) -> list[Source]:
        """All of them."""
        return [source for group in self.groups for source in group]

    @property
    def places(self) -> list[tuple[int, int, float | None]]:
        """Group, position in its layer and age of each visit; by age, where all have one."""
        found = [
            (number, visit, None if group[0].ages is None else float(group[0].ages[visit]))
            for number, group in enumerate(self.groups)
            for visit in range(_count(group[0]))
        ]
        if any(age is None for *_, age in found):
            return [(number, visit, None) for number, visit, _ in found]
        return sorted(found, key=lambda place: place[2] or 0.0)

    @property
    def names(self) -> list[str]:
        """Modalities, as far as the layers name them."""
        group = self.groups[0]
        if "m" in group[0].axes:
            return [f"modality {number + 1}" for number in range(_count(group[0], "m"))]
        return _modalities(group)

    @property
    def subjects(self) -> list[str]:
        """Whom the layers say that they show."""
        named = [each.about.get("subject") for each in self.sources]
        return list(dict.fromkeys(str(name) for name in named if name))

    @property
    def order(self) -> NDArray[np.intp]:
        """Position in the result of each visit, which stands there by age: a layer keeps its."""
        count = len(self.places)
        ages = self.groups[0][0].ages
        if len(self.groups) > 1 or ages is None:
            return np.arange(count)
        return np.argsort(ages, kind="stable")

    def stacks(self) -> list[VisitStack]:
        """Read the layers, a stack a group.

        Raises
        ------
        ValueError, TypeError
            As `VisitStack`.
        """
        stacks = [_stack(group) for group in self.groups]
        if len(stacks) > 1 and not any(stack.ages_known for stack in stacks):
            return [replace(s, ages=np.full(s.n_visits, float(n))) for n, s in enumerate(stacks)]
        return stacks


def gathered(sources: Sequence[Source], *, one_stack: bool) -> Gathered:
    """Sort sources into visits and modalities.

    Parameters
    ----------
    sources
        In the order of the layers.
    one_stack
        Whether all show the same visits, a modality each; else each shows a visit, and those of
        one age are its modalities.

    Raises
    ------
    ValueError
        If there is none, or they do not belong together.
    """
    if not sources:
        raise ValueError("no layer is chosen: check the layers of at least two visits")
    for source in sources:
        if "s" in source.axes:
            raise ValueError(
                f"{source.name!r} holds {source.n_subjects} subjects; align one at a time"
            )
    groups = [tuple(sources)] if one_stack else _visits(sources)
    for group in groups:
        _check_modalities(group)
    return Gathered(groups=tuple(groups))


def holds_one_visit(layer: Any) -> bool:
    """Whether a layer says that it holds a single visit."""
    said = about(layer)
    axes = str(said.get("axes", ""))
    return (
        len(axes) == layer.ndim
        and "v" in axes
        and "s" not in axes
        and layer.data.shape[axes.index("v")] == 1
    )


def visit_source(layer: Any) -> Source:
    """Take a layer as one visit: one that says so, or a bare image (y, x) or (z, y, x).

    Raises
    ------
    ValueError
        If the layer holds several visits, or is no image of two or three axes.
    """
    if holds_one_visit(layer):
        return source_of(layer)
    if "v" in str(about(layer).get("axes", "")) or layer.ndim not in (2, 3) or layer.rgb:
        raise ValueError(
            f"{layer.name!r} is not one visit: give a grey image (y, x) or (z, y, x) a visit, or "
            "choose 'one layer' and the layer that holds all visits"
        )
    axes = "zyx"[-layer.ndim :]
    bare = source_of(layer, axes=axes)
    bare.geometry["axis_labels"] = tuple(NAMES[letter] for letter in axes)
    return replace(bare, data=bare.data[None], axes=f"v{axes}", geometry=with_visits(bare.geometry))


def with_ages(sources: Sequence[Source], ages: NDArray[np.float64] | None) -> list[Source]:
    """Give each visit's source its age, one a layer; as the layers say where none are typed."""
    if ages is None:
        return list(sources)
    if ages.shape != (len(sources),):
        raise ValueError(
            f"ages: got {ages.size} for {len(sources)} checked layers; give one in years a layer, "
            "in their order"
        )
    return [replace(each, ages=ages[n : n + 1]) for n, each in enumerate(sources)]


def _visits(sources: Sequence[Source]) -> list[tuple[Source, ...]]:
    """Group sources of one visit each; those of one age and different modalities go together."""
    groups: dict[Any, list[Source]] = {}
    for number, source in enumerate(sources):
        modality = source.about.get("modality")
        same = None if source.ages is None or modality is None else float(source.ages[0])
        groups.setdefault(("alone", number) if same is None else same, []).append(source)
    return [tuple(group) for group in groups.values()]


def _check_modalities(group: Sequence[Source]) -> None:
    """Refuse sources that cannot be modalities of one stack."""
    first = group[0]
    for other in group[1:]:
        if (other.axes, other.data.shape) != (first.axes, first.data.shape):
            raise ValueError(
                f"{other.name!r} has the shape {other.data.shape}, {first.name!r} has "
                f"{first.data.shape}; modalities of one visit must lie on one grid"
            )
    names = [source.about.get("modality", "image") for source in group]
    if len(group) > 1 and len(set(names)) == 1 and "v" in first.axes and _count(first) == 1:
        raise ValueError(
            f"{first.name!r} and {group[1].name!r} are of the same age and modality; check one of "
            "them, or give each visit its age"
        )


def _modalities(group: Sequence[Source]) -> list[str]:
    names = [str(source.about.get("modality", "image")) for source in group]
    return names if len(set(names)) == len(names) else [source.name for source in group]


def _count(source: Source, axis: str = "v") -> int:
    return int(source.data.shape[source.axes.index(axis)])


def _stack(group: Sequence[Source]) -> VisitStack:
    """One stack of a group, with what was done to its layers before."""
    stacks = [series_of(source).stack for source in group]
    first, said = stacks[0], group[0].about.get("provenance")
    return replace(
        first,
        images=np.concatenate([np.asarray(stack.images) for stack in stacks], axis=1),
        modalities=first.modalities if "m" in group[0].axes else tuple(_modalities(group)),
        provenance=dict(said) if isinstance(said, dict) else {},
    )
