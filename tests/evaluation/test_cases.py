from __future__ import annotations

import numpy as np
import pytest

from napari_followup.evaluation.cases import (
    EXTRA_KINDS,
    GENERIC_KINDS,
    HEALTHY,
    KINDS,
    healthy_cases,
    make_cases,
    unused,
)
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
