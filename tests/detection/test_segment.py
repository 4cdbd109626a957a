from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_followup.detection.segment import UNKNOWN, segment
from napari_followup.detection.threshold import Line, Maps
from napari_followup.models.files import HealthyScores
from napari_followup.recipe.recipe import (
    Fixed,
    HealthyHysteresis,
    HealthyQuantile,
    Quantile,
    Recipe,
    Threshold,
    Yen,
)
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
    cut = segment(Maps(score=score, pixel=score), Recipe(threshold=threshold), KNOWN)

    assert cut.threshold == pytest.approx(height)
    assert cut.notes == ()
    np.testing.assert_array_equal(cut.mask, score >= cut.threshold)


def test_a_quantile_flags_its_share_of_the_observed_visits(score: np.ndarray) -> None:
    cut = segment(Maps(score=score, pixel=score), Recipe(threshold=Quantile(q=0.75)), None)

    assert cut.mask[[0, 2]].mean() == 0.25
    assert not cut.mask[1].any()


def test_yen_is_asked_on_the_score_and_on_the_pixel_distance(score: np.ndarray) -> None:
    pixel = np.random.default_rng(1).random(score.shape).astype(np.float32) ** 4

    once = segment(Maps(score=score, pixel=pixel), Recipe(threshold=Yen(pixel_too=False)), None)
    twice = segment(Maps(score=score, pixel=pixel), Recipe(threshold=Yen()), None)

    assert once.threshold == twice.threshold == yen_threshold(score)
    inside = np.where(once.mask | np.isnan(pixel), pixel, 0)
    np.testing.assert_array_equal(twice.mask, once.mask & (pixel >= yen_threshold(inside)))
    assert 0 < twice.mask.sum() < once.mask.sum()


def test_a_healthy_floor_must_be_reached_too(score: np.ndarray) -> None:
    cut = segment(
        Maps(score=score, pixel=score), Recipe(threshold=Fixed(value=0.1), floor=0.99), KNOWN
    )

    assert (cut.threshold, cut.floor) == (0.1, pytest.approx(0.6))
    np.testing.assert_array_equal(cut.mask, score >= cut.floor)


def test_hysteresis_keeps_whole_regions(score: np.ndarray) -> None:
    even = np.full((1, 1, 1, 6), 0.0, np.float32)
    even[..., :3], even[..., 1], even[..., 5] = 0.5, 0.7, 0.5

    cut = segment(
        Maps(score=even, pixel=even), Recipe(threshold=HealthyHysteresis(low=0.9, high=1.0)), KNOWN
    )

    assert cut.mask.ravel().tolist() == [True, True, True, False, False, False]


@pytest.mark.parametrize(
    "recipe", [Recipe(threshold=HealthyQuantile()), Recipe(threshold=HealthyHysteresis())]
)
def test_without_healthy_scores_yen_stands_in_and_says_so(
    score: np.ndarray, recipe: Recipe
) -> None:
    cut = segment(Maps(score=score, pixel=score), recipe, None)

    assert cut.notes == (UNKNOWN,)
    assert cut.threshold == yen_threshold(score)
    assert cut.floor is None


def test_an_unknown_floor_is_not_blamed_on_yen(score: np.ndarray) -> None:
    cut = segment(
        Maps(score=score, pixel=score), Recipe(threshold=Fixed(value=0.3), floor=0.9), None
    )

    assert cut.threshold == 0.3
    assert len(cut.notes) == 1
    assert "Yen" not in cut.notes[0]


def test_an_even_map_has_an_empty_mask() -> None:
    even = np.full((2, 1, 4, 4), 0.2, np.float32)

    assert not segment(Maps(score=even, pixel=even), Recipe(threshold=Yen()), None).mask.any()


def test_parts_below_the_smallest_size_are_dropped_in_the_unit_of_the_voxel() -> None:
    score = np.zeros((1, 2, 8, 8), np.float32)
    score[0, 0, 0, :3] = score[0, 0, 5:7, 5:7] = 1.0
    recipe = Recipe(threshold=Fixed(value=0.5), smallest=2.0)

    sizes = {
        voxel: int(segment(Maps(score=score, pixel=score, voxel=voxel), recipe, None).mask.sum())
        for voxel in (1.0, 0.6, 0.5, 0.4)
    }

    assert sizes == {1.0: 7, 0.6: 4, 0.5: 4, 0.4: 0}  # 2, 3.3, 4 and 5 voxels at least


def test_a_line_that_was_drawn_for_many_series_is_taken_as_it_is(score: np.ndarray) -> None:
    maps, line = Maps(score=score, pixel=score), Line(height=0.25, pixel=0.5, series=3)

    cut = segment(maps, Recipe(threshold=Yen(per="dataset")), None, line=line)

    assert cut.threshold == 0.25
    np.testing.assert_array_equal(cut.mask, score >= 0.5)


def test_a_line_in_scaled_scores_is_brought_back_to_those_of_the_series(score: np.ndarray) -> None:
    maps = Maps(score=score, pixel=score, scale=(0.2, 0.7))

    cut = segment(maps, Recipe(threshold=Quantile(per="dataset")), None, line=Line(height=0.4))

    assert cut.threshold == pytest.approx(0.4)  # 0.2 + 0.4 of 0.5
    np.testing.assert_array_equal(cut.mask, score >= np.float32(0.4))


def test_each_visit_may_have_its_own_height_and_the_lowest_is_told(score: np.ndarray) -> None:
    score[2] *= 3

    cut = segment(Maps(score=score, pixel=score), Recipe(threshold=Quantile(per="image")), None)

    assert np.isnan(cut.own).tolist() == [False, True, False]
    assert cut.threshold == cut.own[0] < cut.own[2]
    assert cut.mask.mean(axis=(1, 2, 3)).tolist() == [8 / 256, 0, 8 / 256]


@pytest.mark.parametrize(("side", "says"), [(2, True), (4, False)])
def test_a_rim_that_leaves_next_to_nothing_is_told(side: int, says: bool) -> None:
    score = np.zeros((1, 1, 10, 10), np.float32)
    inside = np.zeros(score.shape, bool)
    inside[..., :side, :side] = True

    maps = Maps(score=score, pixel=score, inside=inside)
    cut = segment(maps, Recipe(threshold=Fixed(value=0.5), erosion=3), None)

    note = "the rim of 3 pixels leaves 4.0 % of an image to be marked"
    assert [note in each for each in cut.notes] == [True] * says


def test_a_mask_is_cut_freed_of_its_rim_then_of_small_parts_and_grown_last() -> None:
    score = np.zeros((1, 1, 9, 9), np.float32)
    score[0, 0, 4, :6] = 1.0  # three of these six lie at the rim
    inside = np.zeros(score.shape, bool)
    inside[..., 3:8] = True
    recipe = Recipe(threshold=Fixed(value=0.5), smallest=3)

    def found(**changes: object) -> np.ndarray:
        maps = Maps(score=score, pixel=score, inside=inside)
        return segment(maps, replace(recipe, **changes), None).mask[0, 0]

    assert np.argwhere(found()).tolist() == [[4, 3], [4, 4], [4, 5]]
    assert not found(smallest=4).any()  # the part counts without its rim
    grown = found(dilation=1)
    assert grown.sum() == 3 + 3 + 3 + 2
    assert grown[4, 2]  # into the rim, too
    assert not found(smallest=4, dilation=3).any()  # dropped before it could grow
