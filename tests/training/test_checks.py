from __future__ import annotations

import numpy as np
import pytest

from napari_followup.series.stack import VisitStack
from napari_followup.training.checks import FEW, check_series, listed


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
