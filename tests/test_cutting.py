from __future__ import annotations

import numpy as np
import pytest

from napari_followup.bundle import HealthyScores
from napari_followup.cutting import UNKNOWN, segment
from napari_followup.recipe import (
    Fixed,
    HealthyHysteresis,
    HealthyQuantile,
    Quantile,
    Recipe,
    Threshold,
    Yen,
)
from napari_followup.segmentation.masks import confirmed_by
from napari_followup.segmentation.threshold import yen_threshold

KNOWN = HealthyScores(shares=(1.0, 0.1, 0.01), heights=(0.0, 0.4, 0.6), maxima=(0.6, 0.6))


@pytest.fixture
def score() -> np.ndarray:
    score = np.random.default_rng(0).random((3, 1, 16, 16)).astype(np.float32) ** 4
    score[1] = np.nan
    return score


@pytest.mark.parametrize(
    ("threshold", "height"),
    [(Fixed(value=0.3), 0.3), (HealthyQuantile(q=0.9), 0.4), (HealthyQuantile(q=1.0), 0.6)],
)
def test_a_pixel_that_reaches_the_height_is_abnormal(
    score: np.ndarray, threshold: Threshold, height: float
) -> None:
    cut = segment(score, score, Recipe(threshold=threshold), KNOWN)

    assert cut.threshold == pytest.approx(height)
    assert cut.notes == ()
    np.testing.assert_array_equal(cut.mask, score >= cut.threshold)


def test_a_quantile_flags_its_share_of_the_observed_visits(score: np.ndarray) -> None:
    cut = segment(score, score, Recipe(threshold=Quantile(q=0.75)), None)

    assert cut.mask[[0, 2]].mean() == 0.25
    assert not cut.mask[1].any()


def test_yen_is_asked_on_the_score_and_on_the_pixel_distance(score: np.ndarray) -> None:
    pixel = np.random.default_rng(1).random(score.shape).astype(np.float32)

    once = segment(score, pixel, Recipe(threshold=Yen(pixel_too=False)), None)
    twice = segment(score, pixel, Recipe(threshold=Yen()), None)

    assert once.threshold == twice.threshold == yen_threshold(score)
    np.testing.assert_array_equal(twice.mask, confirmed_by(once.mask, pixel))


def test_a_healthy_floor_must_be_reached_too(score: np.ndarray) -> None:
    cut = segment(score, score, Recipe(threshold=Fixed(value=0.1), floor=0.99), KNOWN)

    assert (cut.threshold, cut.floor) == (0.1, pytest.approx(0.6))
    np.testing.assert_array_equal(cut.mask, score >= cut.floor)


def test_hysteresis_keeps_whole_regions(score: np.ndarray) -> None:
    even = np.full((1, 1, 1, 6), 0.0, np.float32)
    even[..., :3], even[..., 1], even[..., 5] = 0.5, 0.7, 0.5

    cut = segment(even, even, Recipe(threshold=HealthyHysteresis(low=0.9, high=1.0)), KNOWN)

    assert cut.mask.ravel().tolist() == [True, True, True, False, False, False]


@pytest.mark.parametrize(
    "recipe", [Recipe(threshold=HealthyQuantile()), Recipe(threshold=HealthyHysteresis())]
)
def test_without_healthy_scores_yen_stands_in_and_says_so(
    score: np.ndarray, recipe: Recipe
) -> None:
    cut = segment(score, score, recipe, None)

    assert cut.notes == (UNKNOWN,)
    assert cut.threshold == yen_threshold(score)
    assert cut.floor is None


def test_an_unknown_floor_is_not_blamed_on_yen(score: np.ndarray) -> None:
    cut = segment(score, score, Recipe(threshold=Fixed(value=0.3), floor=0.9), None)

    assert cut.threshold == 0.3
    assert len(cut.notes) == 1
    assert "Yen" not in cut.notes[0]


def test_an_even_map_has_an_empty_mask() -> None:
    even = np.full((2, 1, 4, 4), 0.2, np.float32)

    assert not segment(even, even, Recipe(threshold=Yen()), None).mask.any()


def test_parts_below_the_smallest_size_are_dropped_in_the_unit_of_the_voxel() -> None:
    score = np.zeros((1, 2, 8, 8), np.float32)
    score[0, 0, 0, :3] = score[0, 0, 5:7, 5:7] = 1.0
    recipe = Recipe(threshold=Fixed(value=0.5), smallest=2.0)

    sizes = {
        voxel: int(segment(score, score, recipe, None, voxel=voxel).mask.sum())
        for voxel in (1.0, 0.6, 0.5, 0.4)
    }

    assert sizes == {1.0: 7, 0.6: 4, 0.5: 4, 0.4: 0}  # 2, 3.3, 4 and 5 voxels at least
