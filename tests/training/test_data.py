from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_followup.stack import VisitStack
from napari_followup.training.data import cohort_of, drop_files, read_samples, samples_of
from napari_followup.training.plan import TrainingPlan
from napari_followup.training.samples import Form

PLAN = TrainingPlan(steps=1, held_out=0.5)
PLANES = SimpleNamespace(samples="planes")
LABELLED = SimpleNamespace(samples="planes", takes_labels=True)


@pytest.fixture
def stacks() -> list[VisitStack]:
    return VisitStack.from_cohort(np.random.default_rng(0).random((6, 2, 8, 8)))


def test_subjects_are_split_and_the_split_is_part_of_what_the_data_are(
    stacks: list[VisitStack],
) -> None:
    cohort = cohort_of(stacks, PLANES, PLAN)

    assert len(cohort.training) == len(cohort.validation) == 3
    assert cohort.healthy == cohort.validation
    again = cohort_of(stacks, PLANES, PLAN)
    assert cohort.fingerprint == again.fingerprint
    other = cohort_of(stacks, PLANES, TrainingPlan(steps=1, held_out=0.5, seed=4))
    assert cohort.fingerprint != other.fingerprint


def test_labels_go_with_their_series_and_sick_ones_are_no_measure(
    stacks: list[VisitStack],
) -> None:
    labels = [0, [0, 1], 0, 0, 1, 0]

    cohort = cohort_of(stacks, LABELLED, PLAN, labels)

    assert cohort.labels is not None
    given = {s.subject: label for s, label in zip(stacks, labels, strict=True)}
    for part, theirs in zip((cohort.training, cohort.validation), cohort.labels, strict=True):
        assert theirs == [given[stack.subject] for stack in part]
    assert all(given[stack.subject] == 0 for stack in cohort.healthy)
    assert cohort.fingerprint != cohort_of(stacks, LABELLED, PLAN, [0] * 6).fingerprint
    (planes, marks), _ = samples_of(
        cohort, Form(kind="labelled", image_size=(8, 8)), Path("unused")
    )[0]
    assert len(planes) == len(marks) == 6


@pytest.mark.parametrize(
    ("model", "labels", "problem"),
    [
        (PLANES, [0] * 6, "learns from healthy images alone"),
        (LABELLED, [0] * 5, "labels: got 5 for 6 series"),
        (LABELLED, [1] * 6, "no held-out series is healthy"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    stacks: list[VisitStack], model: object, labels: list[int], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        cohort_of(stacks, model, PLAN, labels)


@pytest.mark.parametrize("kind", ["planes", "series"])
def test_other_processes_read_the_same_samples(
    stacks: list[VisitStack], kind: str, tmp_path: Path
) -> None:
    cohort = cohort_of(stacks, SimpleNamespace(samples=kind), PLAN)
    form = Form(kind=kind, image_size=(8, 8))

    samples, files = samples_of(cohort, form, tmp_path, shared=True)

    for mine, theirs in zip(samples, map(read_samples, files), strict=True):
        pairs = zip(mine, theirs, strict=True) if kind == "series" else [(mine, theirs)]
        assert all(torch.equal(one, other) for one, other in pairs)
    drop_files(tmp_path)
    assert not list(tmp_path.iterdir())


def test_small_samples_leave_no_files(stacks: list[VisitStack], tmp_path: Path) -> None:
    cohort = cohort_of(stacks, PLANES, PLAN)

    samples_of(cohort, Form(kind="planes", image_size=(8, 8)), tmp_path)

    assert not list(tmp_path.iterdir())
