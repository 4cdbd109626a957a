from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_followup.io import write_npz
from napari_followup.methods.anofpdm import COMPACT, AnoFPDM
from napari_followup.methods.table import TABLE
from napari_followup.series.stack import VisitStack
from napari_followup.training.cohort import (
    FEW,
    Learner,
    check_series,
    cohort_of,
    fingerprint,
    given_series,
    listed,
    seen_twice,
    split_subjects,
)
from napari_followup.training.plan import TrainingPlan


def some(count: int) -> list[VisitStack]:
    return VisitStack.from_cohort(np.random.default_rng(1).random((count, 2, 4, 4)))


@pytest.mark.parametrize(("held_out", "aside"), [(0.0, 1), (0.25, 2), (0.99, 7)])
def test_at_least_one_subject_stays_on_either_side(held_out: float, aside: int) -> None:
    stacks = some(8)

    training, validation = split_subjects(stacks, held_out, seed=0)

    assert len(validation) == aside
    names = [stack.subject for stack in training + validation]
    assert sorted(names) == [stack.subject for stack in stacks]
    assert [s.subject for s in split_subjects(stacks, held_out, 0)[1]] == names[len(training) :]


def test_series_of_one_subject_stay_together() -> None:
    twice = [*some(4), *some(4)]

    training, validation = split_subjects(twice, 0.5, seed=0)

    names = [{stack.subject for stack in part} for part in (training, validation)]
    assert not names[0] & names[1]
    assert (len(training), len(validation)) == (4, 4)


def test_series_without_a_name_are_subjects_of_their_own() -> None:
    unnamed = [VisitStack.from_array(np.random.rand(2, 4, 4)) for _ in range(4)]

    assert len(split_subjects(unnamed, 0.25, 0)[0]) == 3


def test_one_subject_cannot_be_split(tiny_series: VisitStack) -> None:
    with pytest.raises(ValueError, match="at least 2 subjects, one of them to validate on; got 1"):
        split_subjects([tiny_series, tiny_series], 0.1, 0)


@pytest.mark.parametrize(
    ("sick", "held_out", "aside"),
    [
        (2, 0.25, (2, 1)),  # healthy, sick: of 6 and 2
        (5, 0.5, (2, 2)),
        (1, 0.5, (4, 0)),  # the only sick one is learned from
        (7, 0.1, (1, 1)),  # the only healthy one tells how high healthy ones score
    ],
)
def test_both_kinds_of_subjects_are_on_either_side_where_they_can_be(
    sick: int, held_out: float, aside: tuple[int, int]
) -> None:
    stacks = some(8)
    is_sick = [number < sick for number in range(8)]

    for seed in range(5):
        training, validation = split_subjects(stacks, held_out, seed, sick=is_sick)

        found = [is_sick[stacks.index(stack)] for stack in validation]
        assert (found.count(False), found.count(True)) == aside
        assert {stack.subject for stack in training + validation} == {s.subject for s in stacks}


def test_a_subject_is_healthy_in_all_its_series_or_not_at_all() -> None:
    twice = [*some(3), *some(3)]

    training, validation = split_subjects(
        twice, 0.3, 0, sick=[True, False, False, False, False, True]
    )

    held_out = [stack.subject for stack in validation]
    assert held_out.count("subject-0001") == 2
    assert len(held_out) == 4
    assert not {stack.subject for stack in training} & set(held_out)
    with pytest.raises(ValueError, match="none of the 3 subjects is healthy at all visits"):
        split_subjects(some(3), 0.3, 0, sick=[True, True, True])


def test_series_are_given_as_they_are_or_read(tmp_path: Path) -> None:
    stacks = some(2)
    for stack in stacks:
        write_npz(tmp_path / f"{stack.subject}.npz", stack)

    assert given_series(stacks) == stacks
    assert given_series(stacks[0]) == stacks[:1]
    names = [stack.subject for stack in stacks]
    assert [s.subject for s in given_series(tmp_path)] == names
    assert [s.subject for s in given_series([tmp_path / f"{names[1]}.npz", stacks[0]])] == names[
        ::-1
    ]
    with pytest.raises(TypeError, match="stacks: got ndarray; give VisitStacks"):
        given_series([np.zeros((2, 4, 4))])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        given_series("nowhere")


def test_a_fingerprint_changes_with_images_ages_and_subjects() -> None:
    one = some(3)

    assert fingerprint(one) == fingerprint(some(3))
    assert fingerprint(one) != fingerprint(one[:2])
    other = one[0].with_images(np.asarray(one[0].images) + 1.0)
    older = one[0].with_images(one[0].images, ages=one[0].ages + 1.0)
    found = {fingerprint([each, *one[1:]]) for each in (one[0], other, older)}
    assert len(found) == 3


def test_subjects_seen_once_are_left_out_where_change_is_learned() -> None:
    stacks = some(2)

    assert seen_twice([stacks[0].select([0]), stacks[1]]) == [stacks[1]]
    with pytest.raises(ValueError, match="none of 1 series has two observed visits"):
        seen_twice([stacks[0].select([0])])


def cohort(
    count: int = FEW, shape: tuple[int, ...] = (2, 8, 8), **more: object
) -> list[VisitStack]:
    rng = np.random.default_rng(0)
    return [VisitStack.from_array(rng.random(shape), subject=f"s{n}", **more) for n in range(count)]


def test_there_is_nothing_to_say_of_a_good_cohort() -> None:
    assert check_series(cohort()) == []


def test_few_subjects_are_told() -> None:
    (note,) = check_series(cohort(5))

    assert note.startswith("5 series are few")


def test_planes_of_different_sizes_are_counted() -> None:
    (note,) = check_series([*cohort(), *cohort(3, (2, 8, 12))])

    assert "planes differ in size: 8 x 8 (20), 8 x 12 (3)" in note


def test_voxels_of_different_sizes_are_told_where_they_are_known() -> None:
    fine, coarse = (cohort(FEW, spacing=(1.0, side, side)) for side in (1.0, 2.0))

    (note,) = check_series([*fine, *coarse])

    assert "from [1.0, 1.0, 1.0] to [1.0, 2.0, 2.0] mm" in note
    assert check_series([*fine, *cohort()]) == []


def test_subjects_in_other_units_are_named() -> None:
    strange = cohort(1)[0]
    strange = strange.with_images(np.asarray(strange.images) * 1000, subject="odd")

    (note,) = check_series([*cohort(), strange])

    assert note.startswith("odd: the intensities span 10 times more or less")


def test_colour_is_refused_as_an_axis_and_doubted_as_modalities() -> None:
    colour = np.zeros((2, 1, 8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="looks like colour, with red, green and blue"):
        check_series([VisitStack.from_array(colour)])

    bands = np.random.default_rng(0).integers(0, 255, (2, 3, 1, 8, 8), np.uint8)
    notes = check_series([VisitStack.from_array(bands, subject=f"s{n}") for n in range(FEW)])
    assert len(notes) == 1
    assert "if they are red, green and blue" in notes[0]


def test_long_lists_of_names_are_cut() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed([str(n) for n in range(10)]) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"


PLAN = TrainingPlan(steps=1, held_out=0.5)
PLANES = Learner(name="SDM")
LABELLED = Learner(name="AnoFPDM", takes=TABLE["anofpdm"].labels)
MASKED = Learner(name="SADM", takes=TABLE["sadm"].labels)


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
    assert found.takes == TABLE["anofpdm"].labels
    assert not Learner.of(AnoFPDM(replace(tiny, synthetic_labels=False))).makes
