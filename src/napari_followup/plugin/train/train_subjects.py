"""Subjects to learn from: layers as series, and the check of the series before a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from napari_followup.methods.table import TABLE
from napari_followup.plugin.layers.layers import GivenMask, Series, Source, series_of
from napari_followup.plugin.run.report import Report
from napari_followup.series.results import counted
from napari_followup.series.stack import VisitStack

__all__ = ["Facts", "Reader", "Subjects", "examined", "layer_subjects"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Subjects:
    """Series to learn from.

    `labels` has one entry a series: a mask (visit, z, y, x), or 0 if it is healthy; without labels
    all are healthy. `notes` are possible mistakes of the user.
    """

    stacks: list[VisitStack] = field(default_factory=list)
    labels: list[Any] | None = None
    notes: tuple[str, ...] = ()


Reader = Callable[[], Subjects]
"""Reads the series, in the thread."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Result of the check: one line, notes for the user, and why training is impossible."""

    text: str
    notes: tuple[str, ...] = ()
    problem: str = ""


def layer_subjects(
    sources: Sequence[Source], masks: Sequence[GivenMask | None] | None = None
) -> Subjects:
    """Make one series a subject; layers with the modalities of one subject are joined.

    Parameters
    ----------
    sources
        Layers of one subject each, or of several.
    masks
        What is abnormal in each layer, in the layer's shape without modalities; None if healthy.

    Returns
    -------
    Subjects
        In the order of the layers, with labels if there are masks.

    Raises
    ------
    ValueError, TypeError
        As `VisitStack`, with the layer's name first; or if a mask has another shape.
    """
    groups: dict[Any, list[tuple[VisitStack, str, Any]]] = {}
    for place, source in enumerate(sources):
        modality, mask = source.about.get("modality"), masks[place] if masks else None
        for number in range(source.n_subjects):
            series = _series(source, number)
            stack, entry = series.stack, _entry(source, series, number, mask)
            is_named = "subject" in source.about and modality is not None and "m" not in source.axes
            key = (stack.subject, stack.shape) if is_named else (place, number)
            groups.setdefault(key, []).append((stack, str(modality or "image"), entry))
    pairs = [pair for group in groups.values() for pair in _joined(group)]
    labels = [entry for _, entry in pairs] if masks is not None else None
    notes = _doubts(sources, masks or ())
    return Subjects(stacks=[stack for stack, _ in pairs], labels=labels, notes=notes)


def examined(
    read: Reader,
    *,
    method: str,
    held_out: float,
    seed: int,
    makes: bool = True,
    report: Report | None = None,
) -> Facts:
    """Check the series before a training, in the same way as the training.

    Parameters
    ----------
    read
        Reads the series.
    method
        Some methods need several visits, some take labels.
    held_out, seed
        As in the plan.
    makes
        Whether the method may draw anomalies if there are no labels.
    report
        Progress and stop.

    Returns
    -------
    Facts
        With a `problem` if the method cannot learn from the series.
    """
    from napari_followup.training.cohort import Learner, check_series, cohort_of
    from napari_followup.training.plan import TrainingPlan

    report = report or Report()
    report.phase("Checking the subjects")
    given = Subjects()
    learner = Learner(
        name=TABLE[method].title.partition(",")[0],
        samples="series" if TABLE[method].needs_change else "planes",
        takes=TABLE[method].labels,
        makes=makes,
    )
    try:
        given = read()
        if not given.stacks:
            return Facts(text="", problem="there is no series in it")
        report.check()
        notes = check_series(given.stacks)
        plan = TrainingPlan(steps=1, held_out=held_out, seed=seed)
        cohort = cohort_of(given.stacks, learner, plan, given.labels)
    except (OSError, TypeError, ValueError) as error:
        return Facts(text=_counts(given.stacks) if given.stacks else "", problem=str(error))
    used = [*cohort.training, *cohort.validation]
    left_out = len(given.stacks) - len(used)
    more = [f"{left_out} series with a single visit are left out"] if left_out else []
    marked = f"; {cohort.sick} of them with something abnormal" if given.labels else ""
    return Facts(
        text=_counts(used, cohort.validation) + marked, notes=(*given.notes, *notes, *more)
    )


def _doubts(sources: Sequence[Source], masks: Sequence[GivenMask | None]) -> tuple[str, ...]:
    """Note labels that are used for two subjects, or are empty."""
    shown: dict[str, dict[Any, str]] = {}  # by labels and subject, a layer
    empty = []
    for source, mask in zip(sources, masks, strict=False):
        if mask is None:
            continue
        shown.setdefault(mask.name, {})[source.about.get("subject", source.name)] = source.name
        if not np.any(mask.data):
            empty.append(f"{mask.name!r} is empty: {source.name!r} counts as healthy")
    twice = [
        f"{name!r} is chosen for {' and '.join(map(repr, layers.values()))}: is it of both?"
        for name, layers in shown.items()
        if len(layers) > 1
    ]
    return (*twice, *empty)


def _series(source: Source, number: int) -> Series:
    try:
        return series_of(source, number)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{source.name!r}: {error}") from error


def _entry(source: Source, series: Series, number: int, mask: GivenMask | None) -> Any:
    """Mask (visit, z, y, x) of one subject, or 0; a copy, as the user may continue to paint."""
    if mask is None:
        return 0
    sizes = dict(zip(source.axes, source.data.shape, strict=True))
    letters = source.axes.replace("m", "")
    wanted = tuple(sizes[letter] for letter in letters)
    if np.shape(mask.data) != wanted:
        raise ValueError(
            f"labels: {mask.name!r} has the shape {np.shape(mask.data)}, {source.name!r} has "
            f"{wanted}; choose labels that lie on its pixels"
        )
    own = (
        mask.data[(slice(None),) * letters.index("s") + (number,)] if "s" in letters else mask.data
    )
    rest = letters.replace("s", "")
    marks = np.asarray(own).transpose([rest.index(each) for each in "vzyx" if each in rest]) != 0
    return (marks if "z" in rest else marks[:, None])[series.order]


def _joined(group: Sequence[tuple[VisitStack, str, Any]]) -> list[tuple[VisitStack, Any]]:
    """One series of several modalities; all series if they do not belong together."""
    first, names = group[0][0], tuple(name for _, name, _ in group)
    alike = all(np.array_equal(stack.ages, first.ages) for stack, _, _ in group)
    if len(group) == 1 or not alike or len(set(names)) < len(names):
        return [(stack, entry) for stack, _, entry in group]
    images = np.concatenate([stack.images for stack, _, _ in group], axis=1)
    seen = np.all([stack.is_observed for stack, _, _ in group], axis=0)
    masks = [entry for _, _, entry in group if np.ndim(entry)]
    joined = replace(first, images=images, modalities=names, is_observed=seen)
    return [(joined, np.any(masks, axis=0) if masks else 0)]


def _counts(stacks: Sequence[VisitStack], aside: Sequence[VisitStack] = ()) -> str:
    """Write how many subjects, visits and planes there are."""
    subjects = len(stacks)
    visits = sum(int(stack.is_observed.sum()) for stack in stacks)
    planes = sum(int(stack.is_observed.sum()) * stack.shape[2] for stack in stacks)
    sizes = sorted({stack.shape[-2:] for stack in stacks})
    size = f"{sizes[0][0]} x {sizes[0][1]}" + (" and other sizes" if len(sizes) > 1 else "")
    modalities = stacks[0].shape[1]
    parts = [
        counted(subjects, "subject") + (f" ({len(aside)} held out)" if aside else ""),
        counted(visits, "visit"),
        f"{counted(planes, 'plane')} of {size} pixels",
        *([f"{modalities} modalities"] if modalities > 1 else []),
    ]
    return ", ".join(parts)
