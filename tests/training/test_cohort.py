from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_followup.methods.anofpdm import COMPACT, AnoFPDM
from napari_followup.methods.given import LABELS
from napari_followup.series.stack import VisitStack
from napari_followup.training.cohort import Learner, cohort_of
from napari_followup.training.plan import TrainingPlan

PLAN = TrainingPlan(steps=1, held_out=0.5)
PLANES = Learner(name="SDM")
LABELLED = Learner(name="AnoFPDM", takes=LABELS["anofpdm"])
MASKED = Learner(name="SADM", takes=LABELS["sadm"])


@pytest.fixture
def stacks() -> list[VisitStack]:
    return VisitStack.from_cohort(np.random.default_rng(0).random((6, 2, 8, 8)))


def masks(*sick: int, whole: bool = False) -> list[Any]:
    """Labels of the six: a mask with a square at the last visit, or all over, or 0."""
    mask = np.zeros((2, 1, 8, 8), bool)
    mask[0 if whole else 1 :, :, 2:4, 2:4] = True
    return [mask if number in sick else 0 for number in range(6)]


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


@pytest.mark.parametrize(
    ("learner", "labels"),
    [(LABELLED, [0, [0, 1], 0, 0, 1, 0]), (LABELLED, masks(1, 4)), (MASKED, masks(1, 4))],
)
def test_labels_go_with_their_series_and_sick_ones_are_no_measure(
    stacks: list[VisitStack], learner: Learner, labels: list[Any]
) -> None:
    cohort = cohort_of(stacks, learner, PLAN, labels)

    assert cohort.labels is not None
    given = {s.subject: np.any(label) for s, label in zip(stacks, labels, strict=True)}
    for part, theirs in zip((cohort.training, cohort.validation), cohort.labels, strict=True):
        assert [marks.is_sick for marks in theirs] == [given[stack.subject] for stack in part]
        assert sum(marks.is_sick for marks in theirs) == 1  # both kinds are on either side
    assert [stack.subject for stack in cohort.healthy] == [
        stack.subject for stack in cohort.validation if not given[stack.subject]
    ]
    assert cohort.sick == 2


def test_other_labels_make_other_data(stacks: list[VisitStack]) -> None:
    moved, counted = masks(1, 4), [7 * np.asarray(mask, int) for mask in masks(1, 4)]
    moved[4] = np.roll(moved[4], 1, axis=-1)
    found = [
        cohort_of(stacks, MASKED, PLAN, labels).fingerprint
        for labels in (masks(1, 4), counted, moved)
    ]

    assert found[0] == found[1] != found[2]
    assert found[0] != cohort_of(stacks, MASKED, PLAN).fingerprint


@pytest.mark.parametrize(
    ("learner", "labels", "problem"),
    [
        (PLANES, [0] * 6, "SDM learns from healthy images alone; leave them out"),
        (LABELLED, [0] * 5, "labels: got 5 for 6 series"),
        (LABELLED, [1] * 6, "none of the 6 subjects is healthy at all visits"),
        (LABELLED, [0] * 6, "they mark nothing in any observed visit"),
        (MASKED, masks(), "they mark nothing in any observed visit"),
        (MASKED, [0, [0, 1], 0, 0, 0, 0], "'subject-0001': SADM learns which pixels are abnormal"),
        (MASKED, masks(0, 1, 2, 4, 5, whole=True), "every plane of the .* training series"),
        (
            replace(MASKED, makes=False),
            masks(3),
            "no held-out series shows anything abnormal.* synthetic_anomalies is off",
        ),
        (
            replace(MASKED, makes=False),
            None,
            "SADM learns from labels alone where synthetic_anomalies is off, got none",
        ),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    stacks: list[VisitStack], learner: Learner, labels: list[Any] | None, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        cohort_of(stacks, learner, PLAN, labels)


def test_one_sick_subject_is_learned_from_and_one_healthy_one_held_out(
    stacks: list[VisitStack],
) -> None:
    cohort = cohort_of(stacks, MASKED, PLAN, masks(0, 1, 2, 3, 4))
    assert [stack.subject for stack in cohort.healthy] == ["subject-0005"]

    cohort = cohort_of(stacks, MASKED, PLAN, masks(3))
    assert cohort.labels is not None
    assert any(marks.is_sick for marks in cohort.labels[0])
    assert cohort.healthy == cohort.validation


def test_what_a_method_learns_from_is_read_off_the_model() -> None:
    tiny = replace(COMPACT, image_size=(16, 16), channels=(8, 8), attention=(), unshuffle=1)

    found = Learner.of(AnoFPDM(tiny))
    assert (found.name, found.samples, found.makes) == ("AnoFPDM", "planes", True)
    assert found.takes == LABELS["anofpdm"]
    assert not Learner.of(AnoFPDM(replace(tiny, synthetic_labels=False))).makes
