"""Who is learned from and who is held out; known without torch, so that a form tells it, too."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from napari_followup.methods.given import TakenLabels
from napari_followup.series.stack import VisitStack
from napari_followup.training.labels import Entry, Marks, checked_marks
from napari_followup.training.plan import TrainingPlan
from napari_followup.training.subjects import fingerprint, seen_twice, split_subjects

__all__ = ["Cohort", "Learner", "cohort_of", "short_hash"]


@dataclass(frozen=True, kw_only=True)
class Learner:
    """What a method learns from, as far as the choice of subjects hangs on it."""

    name: str
    samples: str = "planes"
    takes: TakenLabels | None = None
    makes: bool = True  # anomalies of its own, where there are no labels

    @classmethod
    def of(cls, model: Any) -> Learner:
        """Say it of a model."""
        takes = getattr(model, "takes_labels", None)
        makes = takes is None or bool(getattr(model.config, takes.made_by))
        name = type(model).__name__
        return cls(name=name, samples=model.samples, takes=takes, makes=makes)


@dataclass(frozen=True, eq=False, kw_only=True)
class Cohort:
    """Series to learn from and held-out ones, with what is abnormal in them if that is told.

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
