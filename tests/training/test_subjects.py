from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_followup.io import write_npz
from napari_followup.series.stack import VisitStack
from napari_followup.training.subjects import (
    fingerprint,
    given_series,
    seen_twice,
    split_subjects,
)


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
