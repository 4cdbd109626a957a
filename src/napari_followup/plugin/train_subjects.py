"""Whom a training learns from: layers as series of subjects, and what is said of them before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_followup.plugin.layers import Source, series_of
from napari_followup.plugin.report import Report
from napari_followup.plugin.train_methods import NEEDS_CHANGE
from napari_followup.stack import VisitStack

__all__ = ["Facts", "Reader", "examined", "layer_stacks"]

Reader = Callable[[], list[VisitStack]]
"""Reads the series, in the thread."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What there is to learn from: one line, and what the user should know."""

    text: str
    notes: tuple[str, ...] = ()
    problem: str = ""  # why it cannot be learned from


def layer_stacks(sources: Sequence[Source]) -> list[VisitStack]:
    """Make a series a subject; layers that show one subject's modalities go together.

    Parameters
    ----------
    sources
        Layers of one subject each, or of many.

    Returns
    -------
    list of VisitStack
        In the order of the layers.

    Raises
    ------
    ValueError, TypeError
        As `VisitStack`; the message begins with the layer's name.
    """
    groups: dict[Any, list[tuple[VisitStack, str]]] = {}
    for place, source in enumerate(sources):
        modality = source.about.get("modality")
        for number in range(source.n_subjects):
            stack = _stack(source, number)
            is_named = "subject" in source.about and modality is not None and "m" not in source.axes
            key = (stack.subject, stack.shape) if is_named else (place, number)
            groups.setdefault(key, []).append((stack, str(modality or "image")))
    return [stack for group in groups.values() for stack in _joined(group)]


def examined(
    read: Reader, *, method: str, held_out: float, seed: int, report: Report | None = None
) -> Facts:
    """Look at the series before a training, as it does itself.

    Parameters
    ----------
    read
        Gives the series.
    method
        Some need several visits.
    held_out, seed
        As in the plan.
    report
        Progress and stop.

    Returns
    -------
    Facts
        With `problem` where the series cannot be learned from.
    """
    from napari_followup.training.checks import check_series
    from napari_followup.training.subjects import seen_twice, split_subjects

    report = report or Report()
    report.phase("Looking at the subjects")
    stacks: list[VisitStack] = []
    try:
        stacks = read()
        if not stacks:
            return Facts(text="", problem="there is no series in it")
        report.check()
        notes = check_series(stacks)
        used = seen_twice(stacks) if method in NEEDS_CHANGE else stacks
        aside = split_subjects(used, held_out, seed)[1]
    except (OSError, TypeError, ValueError) as error:
        return Facts(text=_counts(stacks) if stacks else "", problem=str(error))
    left_out = len(stacks) - len(used)
    more = [f"{left_out} series with a single visit are left out"] if left_out else []
    return Facts(text=_counts(used, aside), notes=(*notes, *more))


def _stack(source: Source, number: int) -> VisitStack:
    try:
        return series_of(source, number).stack
    except (TypeError, ValueError) as error:
        raise type(error)(f"{source.name!r}: {error}") from error


def _joined(group: Sequence[tuple[VisitStack, str]]) -> list[VisitStack]:
    """One series of several modalities, or all series where they are none of one another."""
    first, names = group[0][0], tuple(name for _, name in group)
    alike = all(np.array_equal(stack.ages, first.ages) for stack, _ in group)
    if len(group) == 1 or not alike or len(set(names)) < len(names):
        return [stack for stack, _ in group]
    images = np.concatenate([stack.images for stack, _ in group], axis=1)
    seen = np.all([stack.is_observed for stack, _ in group], axis=0)
    return [replace(first, images=images, modalities=names, is_observed=seen)]


def _counts(stacks: Sequence[VisitStack], aside: Sequence[VisitStack] = ()) -> str:
    """Say how many there are of what."""
    subjects = len(stacks)
    visits = sum(int(stack.is_observed.sum()) for stack in stacks)
    planes = sum(int(stack.is_observed.sum()) * stack.shape[2] for stack in stacks)
    sizes = sorted({stack.shape[-2:] for stack in stacks})
    size = f"{sizes[0][0]} x {sizes[0][1]}" + (" and other sizes" if len(sizes) > 1 else "")
    modalities = stacks[0].shape[1]
    parts = [
        _counted(subjects, "subject") + (f" ({len(aside)} held out)" if aside else ""),
        _counted(visits, "visit"),
        f"{_counted(planes, 'plane')} of {size} pixels",
        *([f"{modalities} modalities"] if modalities > 1 else []),
    ]
    return ", ".join(parts)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
