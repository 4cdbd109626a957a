from __future__ import annotations

import numpy as np
import pytest

from napari_followup.evaluation.imputation_strategies import evaluate_ahead, evaluate_middle
from napari_followup.models.files import ModelBundle
from napari_followup.series.stack import VisitStack


@pytest.fixture
def six() -> VisitStack:
    """Six visits of a square that brightens evenly, on a ground that holds the range."""
    images = np.zeros((6, 16, 16), np.float32)
    images[:, 4:12, 4:12] = np.arange(2.0, 8.0)[:, None, None]
    images[:, 0:2] = 10.0
    return VisitStack.from_array(images, ages=np.arange(60.0, 66.0), subject="six")


def test_visits_ahead_are_a_group_each_and_a_line_meets_what_is_even(
    tiny_tdm: ModelBundle, six: VisitStack
) -> None:
    rows = evaluate_ahead([six, six.select(range(4))], tiny_tdm, device="cpu")

    groups = list(dict.fromkeys(row.group for row in rows))
    assert groups == [
        "visit 5, 1 ahead of the first 4",
        "visit 6, 2 ahead of the first 4",
    ]
    last = {row.name: row for row in rows if row.group == groups[1]}
    assert list(last)[:3] == ["joint", "direct", "chain"]
    assert last["copy of the last known visit"].l1 == pytest.approx(0.2 * 64 / 256, rel=1e-2)
    assert last["line through the last two"].l1 == pytest.approx(0.0, abs=1e-4)
    assert {row.images for row in rows} == {1}


def test_the_middle_is_measured_with_every_strategy(
    tiny_both: ModelBundle, six: VisitStack
) -> None:
    told: list[tuple[int, int]] = []

    rows = evaluate_middle(
        [six, six], tiny_both, code_subjects=1, on_step=lambda *step: told.append(step)
    )

    images = {(row.group, row.name): row.images for row in rows}
    few = "middle visit, subjects with codes"
    assert images["middle visit", "joint"] == 2
    assert images[few, "lerp-slerp"] == images[few, "joint"] == images[few, "lerp-lerp"] == 1
    line = next(row for row in rows if row.name == "line between the neighbours")
    assert line.l1 == pytest.approx(0.0, abs=1e-4)
    assert told == [(1, 2), (2, 2)]


def test_without_an_sdm_no_codes_are_interpolated(tiny_tdm: ModelBundle, six: VisitStack) -> None:
    rows = evaluate_middle([six], tiny_tdm)

    assert not any(row.name.startswith("lerp") for row in rows)
