"""Layers that together are one subject's visits: one stack, or a layer a visit, any modalities.

No image is loaded here: `Gathered` names the layers that belong together, `Gathered.stacks` reads
them when the run has begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.plugin.layers.layers import (
    Source,
    about,
    check_ages,
    series_of,
    source_of,
    visit_source,
)
from napari_followup.series.stack import VisitStack

__all__ = ["Gathered", "gather", "holds_one_visit", "may_be_visit"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Gathered:
    """Sources of one subject's visits.

    `groups` has one entry for a stack of several visits, or one entry a visit; an entry lists one
    source a modality. All sources have an axis of visits and none of subjects.
    """

    groups: tuple[tuple[Source, ...], ...]

    @property
    def sources(self) -> list[Source]:
        """All sources, group by group."""
        return [source for group in self.groups for source in group]

    @property
    def places(self) -> list[tuple[int, int, float | None]]:
        """Group, position in the layer and age of each visit; sorted by age if all are known."""
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
        """Names of the modalities, or of the layers if they do not name them."""
        group = self.groups[0]
        if "m" in group[0].axes:
            return [f"modality {number + 1}" for number in range(_count(group[0], "m"))]
        return _modalities(group)

    @property
    def subjects(self) -> list[str]:
        """Names of the subjects in the layers' metadata."""
        named = [each.about.get("subject") for each in self.sources]
        return list(dict.fromkeys(str(name) for name in named if name))

    @property
    def order(self) -> NDArray[np.intp]:
        """Position in the result of each visit by age; one layer keeps its order of visits."""
        count = len(self.places)
        ages = self.groups[0][0].ages
        if len(self.groups) > 1 or ages is None:
            return np.arange(count)
        return np.argsort(ages, kind="stable")

    def stacks(self) -> list[VisitStack]:
        """Read the layers: one stack a group.

        Raises
        ------
        ValueError, TypeError
            As `VisitStack`.
        """
        stacks = [_stack(group) for group in self.groups]
        if len(stacks) > 1 and not any(stack.ages_known for stack in stacks):
            return [replace(s, ages=np.full(s.n_visits, float(n))) for n, s in enumerate(stacks)]
        return stacks


def gather(
    layers: Sequence[Any],
    *,
    axes: str | None = None,
    ages: NDArray[np.float64] | None = None,
    one_stack: bool | None = None,
) -> Gathered:
    """Sort layers into visits and modalities.

    Parameters
    ----------
    layers
        Image layers of one subject.
    axes
        Axes of a stack that does not name them, one letter each.
    ages
        In years, one a visit, or one a layer of one visit; without them, as the layers say.
    one_stack
        True: all layers show the same visits, one modality each. False: each shows one visit, and
        layers of one age are its modalities. None: False if every one of several layers can be a
        visit by itself.

    Raises
    ------
    ValueError
        If there is no layer, or the layers or ages do not fit together.
    """
    if not layers:
        raise ValueError("no layer is chosen: check the layers of at least two visits")
    if one_stack is None:
        one_stack = len(layers) == 1 or not all(map(may_be_visit, layers))
    if one_stack:
        first = source_of(layers[0], axes=axes, ages=ages)
        check_ages(first)
        sources = [first, *(source_of(layer, axes=first.axes) for layer in layers[1:])]
    else:
        sources = _with_ages([_visit_source(layer) for layer in layers], ages)
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
    """Whether a layer's metadata say that it holds a single visit."""
    meta = about(layer)
    axes = str(meta.get("axes", ""))
    return (
        len(axes) == layer.ndim
        and "v" in axes
        and "s" not in axes
        and layer.data.shape[axes.index("v")] == 1
    )


def may_be_visit(layer: Any) -> bool:
    """Whether a layer can be a visit by itself: it says so, or is a bare plane or volume."""
    if "result" in about(layer):
        return False
    return holds_one_visit(layer) or ("axes" not in about(layer) and layer.ndim in (2, 3))


def _visit_source(layer: Any) -> Source:
    """Take a layer as one visit; a bare image (y, x) or (z, y, x) gains an axis of visits."""
    if holds_one_visit(layer):
        return source_of(layer)
    if "v" in str(about(layer).get("axes", "")) or layer.ndim not in (2, 3) or layer.rgb:
        raise ValueError(
            f"{layer.name!r} is not one visit: give a grey image (y, x) or (z, y, x) a visit, or "
            "choose 'one layer' and the layer that holds all visits"
        )
    return visit_source(layer, "zyx"[-layer.ndim :])


def _with_ages(sources: Sequence[Source], ages: NDArray[np.float64] | None) -> list[Source]:
    """Give each visit's source its age; without any, they keep those of their layers."""
    if ages is None:
        return list(sources)
    if np.shape(ages) != (len(sources),):
        raise ValueError(
            f"ages: got {np.size(ages)} for {len(sources)} checked layers; give one in years a "
            "layer, in their order"
        )
    return [replace(each, ages=np.array([age])) for each, age in zip(sources, ages, strict=True)]


def _visits(sources: Sequence[Source]) -> list[tuple[Source, ...]]:
    """Group sources of one visit each; those of one age are its modalities."""
    groups: dict[Any, list[Source]] = {}
    for number, source in enumerate(sources):
        modality = source.about.get("modality")
        same = None if source.ages is None or modality is None else float(source.ages[0])
        groups.setdefault(("alone", number) if same is None else same, []).append(source)
    return [tuple(group) for group in groups.values()]


def _check_modalities(group: Sequence[Source]) -> None:
    """Raise if the sources cannot be modalities of one stack."""
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
    """Make the stack of a group; it keeps the provenance of its first layer."""
    stacks = [series_of(source).stack for source in group]
    first, before = stacks[0], group[0].about.get("provenance")
    return replace(
        first,
        images=np.concatenate([np.asarray(stack.images) for stack in stacks], axis=1),
        modalities=first.modalities if "m" in group[0].axes else tuple(_modalities(group)),
        provenance=dict(before) if isinstance(before, dict) else {},
    )
