"""Split subjects into training and held-out ones, and check their series. Needs no torch."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_followup.series.intensity import fit_scaling
from napari_followup.series.stack import VisitStack
from napari_followup.training.labels import Entry, Marks, checked_marks
from napari_followup.training.plan import TrainingPlan

if TYPE_CHECKING:
    from napari_followup.methods.table import TakenLabels


__all__ = [
    "FEW",
    "Cohort",
    "Given",
    "Learner",
    "check_series",
    "cohort_of",
    "fingerprint",
    "given_series",
    "listed",
    "seen_twice",
    "short_hash",
    "split_subjects",
]

Given = VisitStack | str | os.PathLike[str] | Sequence[VisitStack | str | os.PathLike[str]]
"""Series, or tables, folders and files to read them from."""

UNNAMED = "subject"  # what a series is called whose subject has no name
FEW = 20  # subjects
FAR = 10.0  # times the median range, or a tenth of it


def given_series(given: Given, *, are_healthy: bool = True) -> list[VisitStack]:
    """Series of what was given, files read.

    Parameters
    ----------
    given
        Series, or a table of visits, a folder, a file, or several of these.
    are_healthy
        Whether files of sick subjects are refused; with labels they are not.

    Returns
    -------
    list of VisitStack
        In the order given.

    Raises
    ------
    TypeError
        If something is neither a series nor a path.
    FileNotFoundError, ValueError
        As `reading.read_healthy`.
    """
    from napari_followup.io import read_healthy, read_stacks

    each = [given] if isinstance(given, VisitStack | str | os.PathLike) else list(given)
    found: list[VisitStack] = []
    for item in each:
        if isinstance(item, VisitStack):
            found.append(item)
        elif isinstance(item, str | os.PathLike):
            found += read_healthy(item) if are_healthy else read_stacks(item)
        else:
            raise TypeError(
                f"stacks: got {type(item).__name__}; give VisitStacks, one a subject, or the path "
                "of a table or folder (arrays: VisitStack.from_cohort)"
            )
    return found


def seen_twice(stacks: Sequence[VisitStack]) -> list[VisitStack]:
    """Series with two observed visits or more: those that show a change.

    Raises
    ------
    ValueError
        If there is none.
    """
    found = [stack for stack in stacks if stack.is_observed.sum() > 1]
    if not found:
        raise ValueError(
            f"none of {len(stacks)} series has two observed visits: change over time is learned "
            "from subjects seen at least twice"
        )
    return found


def split_subjects(
    stacks: Sequence[VisitStack],
    held_out: float,
    seed: int,
    *,
    sick: Sequence[bool] | None = None,
) -> tuple[list[VisitStack], list[VisitStack]]:
    """Subjects to train on, and those held out for validation and the healthy score quantiles.

    Parameters
    ----------
    stacks
        Series; those with one name are of one subject and stay together.
    held_out
        Share of the subjects to hold out; at least one is, and at least one is not.
    seed
        Source of the random choice.
    sick
        Whether a series shows anything abnormal, one a series. Where it is given, this share of the
        healthy subjects is held out, at least one, and of the others, of whom one is not.

    Returns
    -------
    tuple of list
        Training and held-out series, each in the order given.

    Raises
    ------
    ValueError
        If fewer than two subjects are given, or none of them is healthy.
    """
    names = [
        f"{stack.subject} {number}" if stack.subject == UNNAMED else stack.subject
        for number, stack in enumerate(stacks)
    ]
    subjects = list(dict.fromkeys(names))
    if len(subjects) < 2:
        alike = f": all {len(stacks)} series name the subject {names[0]!r}" if names[1:] else ""
        raise ValueError(
            "training needs at least 2 subjects, one of them to validate on; got "
            f"{len(subjects)}{alike}"
        )
    order = [subjects[i] for i in np.random.default_rng(seed).permutation(len(subjects))]
    if sick is None:
        held = set(order[: _share(len(order), held_out)])
    else:
        ill = {name for name, is_sick in zip(names, sick, strict=True) if is_sick}
        if len(ill) == len(order):
            raise ValueError(_none_healthy(len(order), len(stacks)))
        held = _of_both_kinds(order, ill, held_out)
    named = list(zip(names, stacks, strict=True))
    return [s for n, s in named if n not in held], [s for n, s in named if n in held]


def _of_both_kinds(order: Sequence[str], ill: set[str], held_out: float) -> set[str]:
    """Subjects to hold out of both kinds; at least one is healthy, for the threshold."""
    healthy, others = ([n for n in order if (n in ill) == is_ill] for is_ill in (False, True))
    few = max(1, _share(len(healthy), held_out))
    return {*healthy[:few], *others[: _share(len(others), held_out)]}


def _none_healthy(subjects: int, series: int) -> str:
    alike = ", series of one name being one subject's" if series > subjects else ""
    return (
        f"labels: none of the {subjects} subjects is healthy at all visits{alike}; their scores "
        "set the threshold: give healthy subjects, too"
    )


def _share(count: int, held_out: float) -> int:
    """How many of so many are held out: at least one, and not all."""
    return min(max(1, round(held_out * count)), max(0, count - 1))


def fingerprint(stacks: Sequence[VisitStack]) -> str:
    """Short hash of who was seen when, and of the middle plane of every observed visit."""
    digest = hashlib.sha256()
    for stack in stacks:
        digest.update(repr((stack.subject, stack.shape, stack.modalities)).encode())
        digest.update(stack.ages.tobytes() + stack.is_observed.tobytes())
        for visit in np.flatnonzero(stack.is_observed):
            plane = np.asarray(stack.images[visit, :, stack.shape[2] // 2])
            digest.update(np.ascontiguousarray(plane).tobytes())
    return digest.hexdigest()[:16]


def check_series(stacks: Sequence[VisitStack]) -> list[str]:
    """Check whether series suit each other.

    Parameters
    ----------
    stacks
        Healthy series.

    Returns
    -------
    list of str
        What the user should know; nothing if all is well.

    Raises
    ------
    ValueError
        If a series holds colour images.
    """
    for stack in stacks:
        _check_colour(stack)
    return [
        note
        for look in (_too_few, _mixed_sizes, _mixed_spacings, _mixed_ranges, _channels)
        if (note := look(stacks))
    ]


def _check_colour(stack: VisitStack) -> None:
    if stack.shape[-1] in (3, 4) and np.dtype(stack.images.dtype) == np.uint8:
        raise ValueError(
            f"images of {stack.subject!r}: shape {stack.shape} looks like colour, with red, green "
            "and blue as the last axis; convert them to one grey channel first"
        )


def _too_few(stacks: Sequence[VisitStack]) -> str:
    count = len({stack.subject for stack in stacks})
    if count >= FEW or len(stacks) >= FEW:
        return ""
    return (
        f"{len(stacks)} series are few: below about {FEW} subjects a model learns these "
        "very subjects rather than what is healthy"
    )


def _mixed_sizes(stacks: Sequence[VisitStack]) -> str:
    sizes = Counter(stack.shape[-2:] for stack in stacks)
    if len(sizes) == 1:
        return ""
    listed = ", ".join(f"{y} x {x} ({count})" for (y, x), count in sizes.most_common(4))
    return (
        f"planes differ in size: {listed}; all are brought to one size, which stretches those of "
        "other proportions (nf.regridded brings series onto one grid)"
    )


def _mixed_spacings(stacks: Sequence[VisitStack]) -> str:
    sizes = np.array([stack.spacing for stack in stacks if stack.unit == "mm"])
    if not len(sizes) or (sizes.max(axis=0) <= 1.1 * sizes.min(axis=0)).all():
        return ""
    low, high = sizes.min(axis=0).round(3).tolist(), sizes.max(axis=0).round(3).tolist()
    return (
        f"voxels differ in size, from {low} to {high} mm (z, y, x): the same organ comes in "
        "different sizes (nf.regridded brings series onto one grid)"
    )


def _mixed_ranges(stacks: Sequence[VisitStack]) -> str:
    widths = []
    for stack in stacks:
        scaling = fit_scaling(np.asarray(stack.images[np.flatnonzero(stack.is_observed)[0], 0]))
        widths.append(scaling.high - scaling.low)
    usual = float(np.median(widths))
    far = [
        stack.subject
        for stack, width in zip(stacks, widths, strict=True)
        if not usual / FAR <= width <= usual * FAR
    ]
    if not far:
        return ""
    return (
        f"{listed(far)}: the intensities span {FAR:g} times more or less than the others', "
        f"{usual:.4g}; each series is scaled by itself, but see whether they are of one kind"
    )


def _channels(stacks: Sequence[VisitStack]) -> str:
    stack = stacks[0]
    if stack.shape[1] != 3 or np.dtype(stack.images.dtype) != np.uint8:
        return ""
    return (
        f"the three modalities of {stack.subject!r} are bytes: if they are red, green and blue, "
        "convert them to one grey channel"
    )


def listed(names: Sequence[str], most: int = 8) -> str:
    """Join names, and count those beyond the first few."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


@dataclass(frozen=True, kw_only=True)
class Learner:
    """What a method learns from, as far as the choice of subjects depends on it."""

    name: str
    samples: str = "planes"
    takes: TakenLabels | None = None
    makes: bool = True  # anomalies of its own, where there are no labels

    @classmethod
    def of(cls, model: Any) -> Learner:
        """Read it off a model."""
        takes = getattr(model, "takes_labels", None)
        makes = takes is None or bool(getattr(model.config, takes.made_by))
        name = type(model).__name__
        return cls(name=name, samples=model.samples, takes=takes, makes=makes)


@dataclass(frozen=True, eq=False, kw_only=True)
class Cohort:
    """Series to learn from and held-out ones, with their labels if there are any.

    `healthy` are the held-out series without anything abnormal, which a model is measured on.
    """

    training: list[VisitStack]
    validation: list[VisitStack]
    healthy: list[VisitStack]
    labels: tuple[list[Marks], list[Marks]] | None = None

    @property
    def fingerprint(self) -> str:
        """Short hash of the data."""
        plain = fingerprint([*self.training, *self.validation])
        if self.labels is None:
            return plain
        entries = [marks.fingerprint for part in self.labels for marks in part]
        return f"{plain}-{short_hash(repr(entries))}"

    @property
    def sick(self) -> int:
        """Number of series with anything abnormal."""
        return sum(marks.is_sick for part in self.labels or () for marks in part)


def cohort_of(
    stacks: Sequence[VisitStack],
    learner: Learner,
    plan: TrainingPlan,
    labels: Sequence[Entry] | None = None,
) -> Cohort:
    """Split subjects into those a method learns from and those it is measured on.

    Parameters
    ----------
    stacks
        Healthy series; with `labels`, others too.
    learner
        What the method learns from.
    plan
        Its share of held-out subjects, and seed.
    labels
        One entry a series, see `labels.marks_of`, for methods that learn from them.

    Returns
    -------
    Cohort
        Split by subject; with labels, healthy and other subjects are each split by this share.

    Raises
    ------
    ValueError
        If there are too few subjects, none is healthy, labels are missing, or do not suit the
        method.
    """
    if labels is None:
        return _unlabelled(stacks, learner, plan)
    marks = checked_marks(stacks, labels, learner.takes, learner.name)
    sick = [each.is_sick for each in marks]
    training, validation = split_subjects(stacks, plan.held_out, plan.seed, sick=sick)
    known = {id(stack): each for stack, each in zip(stacks, marks, strict=True)}
    cohort = Cohort(
        training=training,
        validation=validation,
        healthy=[stack for stack in validation if not known[id(stack)].is_sick],
        labels=([known[id(s)] for s in training], [known[id(s)] for s in validation]),
    )
    if learner.takes is not None and learner.takes.per == "pixel":
        _check_pixels(cohort, learner)
    return cohort


def short_hash(text: str) -> str:
    """Twelve letters that stand for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _unlabelled(stacks: Sequence[VisitStack], learner: Learner, plan: TrainingPlan) -> Cohort:
    if not learner.makes and learner.takes is not None:
        raise ValueError(
            f"labels: {learner.name} learns from labels alone where {learner.takes.made_by} is "
            "off, got none; give one entry a series, or leave it on"
        )
    used = seen_twice(stacks) if learner.samples == "series" else stacks
    training, validation = split_subjects(used, plan.held_out, plan.seed)
    return Cohort(training=training, validation=validation, healthy=validation)


def _check_pixels(cohort: Cohort, learner: Learner) -> None:
    """Refuse too few planes of either kind."""
    assert cohort.labels is not None
    assert learner.takes is not None
    if not _planes(cohort.training, cohort.labels[0], sick=False):
        raise ValueError(
            f"labels: every plane of the {len(cohort.training)} training series is marked; "
            f"{learner.name} learns from healthy planes first: give healthy subjects, too"
        )
    if not learner.makes and not _planes(cohort.validation, cohort.labels[1], sick=True):
        raise ValueError(
            "labels: no held-out series shows anything abnormal, so nothing tells how well it is "
            f"found where {learner.takes.made_by} is off; mark 2 subjects or more, or leave it on"
        )


def _planes(stacks: Sequence[VisitStack], labels: Sequence[Marks], *, sick: bool) -> int:
    """Count the observed planes with marks, or without."""
    pairs = zip(stacks, labels, strict=True)
    return sum(int((marks.planes[stack.is_observed] == sick).sum()) for stack, marks in pairs)
