from __future__ import annotations

import numpy as np
import pytest

from napari_followup.evaluation.cases import (
    EXTRA_KINDS,
    GENERIC_KINDS,
    KINDS,
    add_extra_anomaly,
    healthy_cases,
    make_cases,
    unused,
)
from napari_followup.evaluation.patients import HEALTHY
from napari_followup.series.stack import VisitStack
from napari_followup.synthetic import starmen

STACKS = starmen(9, visits=4, seed=5)


def test_last_subjects_are_sick_and_nobody_plays_two_parts() -> None:
    cases = make_cases(STACKS, KINDS, patients=2)

    assert [case.kind for case in cases] == [HEALTHY] * 3 + [k for k in KINDS for _ in range(2)]
    assert [case.number for case in cases] == list(range(9))
    assert [case.stack.subject for case in cases] == [stack.subject for stack in STACKS]


def test_truth_is_where_a_case_differs_from_its_healthy_series() -> None:
    for case in make_cases(STACKS, KINDS, patients=2):
        changed = np.abs(case.stack.images - case.healthy.images)[:, 0] > 1 / 255
        np.testing.assert_array_equal(changed, case.truth)
        assert case.truth.any() == (case.kind != HEALTHY)


def test_the_same_seed_gives_the_same_cases_and_another_one_others() -> None:
    kinds = ("faint_disc",)
    first, again = (make_cases(STACKS, kinds, patients=3, seed=1)[-1].truth for _ in range(2))
    other = make_cases(STACKS, kinds, patients=3, seed=2)[-1].truth

    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_number_of_healthy_subjects_can_be_limited() -> None:
    cases = make_cases(STACKS, KINDS, patients=1, healthy=2)

    assert [case.number for case in cases if case.kind == HEALTHY] == [0, 1]
    assert [case.number for case in cases if case.kind != HEALTHY] == [6, 7, 8]


@pytest.mark.parametrize("kinds", [EXTRA_KINDS, GENERIC_KINDS])
def test_other_kinds_are_drawn_too(kinds: tuple[str, ...]) -> None:
    cases = make_cases(STACKS, kinds, patients=1)

    assert [case.kind for case in cases if case.kind != HEALTHY] == list(kinds)
    assert all(case.truth.any() for case in cases if case.kind != HEALTHY)


def test_subjects_without_a_part_stay_healthy_and_keep_their_numbers() -> None:
    cases = make_cases(STACKS, KINDS, patients=1, healthy=2)

    free = unused(STACKS, cases)

    assert [case.number for case in free] == [2, 3, 4, 5]
    assert [case.stack.subject for case in free] == [stack.subject for stack in STACKS[2:6]]
    assert not any(case.truth.any() for case in free)


def test_healthy_cases_are_numbered_from_where_others_end() -> None:
    cases = healthy_cases(STACKS[:2], first=9)

    assert [(case.kind, case.number) for case in cases] == [(HEALTHY, 9), (HEALTHY, 10)]


def test_somebody_must_stay_healthy() -> None:
    text = r"3 kinds of 3 need more than 9 subjects, got 9; at most 2 of a kind .*--patients 2\)"
    with pytest.raises(ValueError, match=text):
        make_cases(STACKS, KINDS, patients=3)
    with pytest.raises(ValueError, match="patients: got 0; give 1 of each kind or more"):
        make_cases(STACKS, KINDS, patients=0)
    with pytest.raises(ValueError, match="give at least 4 subjects"):
        make_cases(STACKS[:2], KINDS, patients=1)


(SUBJECT,) = starmen(1, seed=3)


@pytest.mark.parametrize("kind", EXTRA_KINDS)
def test_truth_is_what_changed_visibly_and_the_original_stays(kind: str) -> None:
    before = SUBJECT.images.copy()

    sick, truth = add_extra_anomaly(SUBJECT, kind, seed=1)

    np.testing.assert_array_equal(SUBJECT.images, before)
    change = np.abs(sick.images[:, 0].astype(float) - before[:, 0])
    assert truth.any()
    assert (change[truth] > 0.99 / 255).all()
    assert (change[~truth] < 1.01 / 255).all()


def test_faint_disc_is_a_quarter_darker_and_stays_in_its_place() -> None:
    sick, truth = add_extra_anomaly(SUBJECT, "faint_disc", seed=1)

    assert (truth == truth[0]).all()
    assert 20 <= truth[0].sum() <= 29
    np.testing.assert_allclose(
        sick.images[:, 0][truth], 0.75 * SUBJECT.images[:, 0][truth], rtol=1e-5
    )


def test_limb_is_erased_from_the_third_visit_on_and_ever_more_of_it() -> None:
    sick, truth = add_extra_anomaly(SUBJECT, "erased_limb")

    sizes = truth.sum(axis=(1, 2, 3))
    assert (sizes[:2] == 0).all()
    assert (np.diff(sizes[2:]) > 0).all()
    assert sick.images[:, 0][truth].max() < 0.01


def test_square_lies_where_no_visit_has_body() -> None:
    sick, truth = add_extra_anomaly(SUBJECT, "background_square", seed=2)

    assert truth.sum(axis=(1, 2, 3)).tolist() == [25] * 10
    assert SUBJECT.images[:, 0][truth].max() < 0.05
    np.testing.assert_allclose(sick.images[:, 0][truth], 0.8, atol=1e-3)


def test_blur_is_local_and_keeps_the_mean_nearly() -> None:
    sick, truth = add_extra_anomaly(SUBJECT, "local_blur", seed=2)

    assert 0 < truth[0].sum() <= 81
    assert abs(sick.images.mean() - SUBJECT.images.mean()) < 5e-3


@pytest.mark.parametrize("kind", EXTRA_KINDS)
def test_integers_and_missing_visits_stay_what_they_are(kind: str) -> None:
    counts = np.round(1000 * SUBJECT.images[:, 0, 0]).astype(np.int16)
    sick, _ = add_extra_anomaly(VisitStack.from_array(counts), kind)
    assert sick.images.dtype == np.int16

    gaps = SUBJECT.images[:, 0, 0].copy()
    gaps[4] = np.nan
    sick, truth = add_extra_anomaly(VisitStack.from_array(gaps), kind)
    assert not sick.is_observed[4]
    assert not truth[4].any()


def test_blank_images_are_no_obstacle() -> None:
    stack = VisitStack.from_array(np.zeros((3, 16, 16), np.float32))

    for kind in EXTRA_KINDS:
        _, truth = add_extra_anomaly(stack, kind)
        assert truth.shape == (3, 1, 16, 16)


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'hole'; choose one of transient_circle, faint_disc"):
        add_extra_anomaly(SUBJECT, "hole")
