from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_followup.series.results import Cancelled, Detection, Imputation
from napari_followup.series.stack import VisitStack


def nothing_found(stack: VisitStack, score: np.ndarray, **more: Any) -> Detection:
    return Detection(
        stack=stack,
        mask=np.zeros(score.shape, bool),
        score=score,
        scores={},
        healthy=None,
        image_score=np.zeros(4, np.float32),
        threshold=np.inf,
        **more,
    )


def test_a_detection_can_be_segmented_anew(tiny_series: VisitStack) -> None:
    score = np.linspace(0, 1, 4 * 256, dtype=np.float32).reshape(4, 1, 16, 16)
    score[1] = np.nan
    found = nothing_found(tiny_series, score, provenance={"seed": 0})

    anew = found.at_threshold(0.9)

    assert anew.threshold == 0.9
    assert anew.provenance == {"seed": 0, "threshold": 0.9}
    np.testing.assert_array_equal(anew.mask, score >= 0.9)
    assert not anew.mask[1].any()
    assert not found.mask.any()
    assert repr(found) == "Detection('tiny', 0 of 4 visits flagged, 0 pixels, threshold inf)"


def test_an_imputation_introduces_itself_in_a_line(tiny_series: VisitStack) -> None:
    found = Imputation(
        stack=tiny_series,
        spread=None,
        imputed=np.array([False, True, True, False]),
        provenance={"strategy": "chain"},
    )

    assert repr(found) == "Imputation('tiny', 2 of 4 visits imputed, chain)"


def test_what_was_stopped_may_leave_a_part_behind(tiny_series: VisitStack) -> None:
    stopped = Cancelled("stopped")
    found = Imputation(stack=tiny_series, spread=None, imputed=np.zeros(4, bool))

    stopped.partial = found

    assert stopped.partial is found
    assert Cancelled("another").partial is None


def test_a_new_threshold_keeps_what_is_done_to_the_mask(tiny_series: VisitStack) -> None:
    def without_first_row(mask: np.ndarray) -> None:
        mask[..., 0, :] = False

    score = np.ones((4, 1, 16, 16), np.float32)
    found = nothing_found(tiny_series, score, clean=without_first_row)

    mask = found.at_threshold(0.5).mask

    assert not mask[..., 0, :].any()
    assert mask[..., 1:, :].all()


@pytest.mark.parametrize(
    ("kind", "recipe_floor", "floor", "expected"),
    [
        ("HealthyHysteresis", None, 0.7, (0.7, 0.5)),  # one pixel of a region reaches the floor
        ("HealthyHysteresis", 0.9, 0.7, (0.7, 0.7)),  # a floor of the recipe holds for all pixels
        ("Yen", 0.9, 0.7, (0.7, 0.7)),
        ("Yen", 0.9, 0.3, (0.5, 0.5)),
        ("Yen", None, None, (0.5, 0.5)),
    ],
)
def test_the_two_thresholds_of_a_region_differ_after_hysteresis_alone(
    tiny_series: VisitStack,
    kind: str,
    recipe_floor: float | None,
    floor: float | None,
    expected: tuple[float, float],
) -> None:
    recipe = {"threshold": {"kind": kind}, "floor": recipe_floor}
    score = np.ones((4, 1, 16, 16), np.float32)
    made = nothing_found(tiny_series, score, floor=floor, provenance={"recipe": recipe})
    found = replace(made, threshold=0.5)

    assert found.flagging_thresholds == expected
    assert found.at_threshold(0.1).flagging_thresholds == (0.1, 0.1)


def test_why_images_are_out_of_distribution_is_in_the_provenance(tiny_series: VisitStack) -> None:
    score = np.ones((4, 1, 16, 16), np.float32)
    usual = nothing_found(tiny_series, score)
    unlike = replace(usual, provenance={"out_of_distribution": "scores are high everywhere"})

    assert (usual.is_out_of_distribution, usual.out_of_distribution) == (False, "")
    assert unlike.is_out_of_distribution
    assert unlike.at_threshold(0.5).out_of_distribution == "scores are high everywhere"
