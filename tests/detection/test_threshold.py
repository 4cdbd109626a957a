from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from napari_followup.detection import threshold
from napari_followup.detection.threshold import Line, Maps, line_of
from napari_followup.recipe.choices import Quantile, Yen
from napari_followup.segmentation.threshold import yen_threshold
from napari_followup.series import disk_arrays


def some_maps(seed: int, visits: int = 3, grid: tuple[int, ...] = (2, 6, 5)) -> Maps:
    rng = np.random.default_rng(seed)
    score = rng.gamma(2.0, 0.1 * (seed + 1), (visits, *grid)).astype(np.float32)
    pixel = rng.gamma(2.0, 0.2, score.shape).astype(np.float32)
    if visits > 2:
        score[1] = pixel[1] = np.nan
    return Maps(score=score, pixel=pixel)


@pytest.fixture
def cohort() -> list[Maps]:
    return [some_maps(seed, visits) for seed, visits in enumerate((3, 1, 4))]


def slow_yen(values: Sequence[float]) -> float:
    """Yen's criterion written out bin by bin."""
    low, high = min(values), max(values)
    width = (high - low) / 256
    counts = [0] * 256
    for value in values:
        counts[min(int((value - low) / width), 255)] += 1
    share = [count / len(values) for count in counts]
    best, place = -math.inf, 0
    for cut in range(255):
        below = sum(share[: cut + 1])
        squares = sum(p * p for p in share[: cut + 1]), sum(p * p for p in share[cut + 1 :])
        if min(*squares, below * (1 - below)) <= 0:
            continue
        criterion = -math.log(squares[0] * squares[1]) + 2 * math.log(below * (1 - below))
        if criterion > best:
            best, place = criterion, cut
    return low + (place + 0.5) * width


def slow_quantile(values: Sequence[float], q: float) -> float:
    """Interpolated between the two values of a sorted list about the place."""
    ordered = sorted(float(value) for value in values)
    place = q * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def all_of(arrays: Sequence[np.ndarray]) -> list[float]:
    return [float(v) for array in arrays for v in array.ravel() if not math.isnan(v)]


def test_yen_per_dataset_is_that_of_all_scores_together(cohort: list[Maps]) -> None:
    line = line_of(cohort, Yen(per="dataset"))

    height = slow_yen(all_of([maps.score for maps in cohort]))
    inside = [
        np.where((maps.score >= height) | np.isnan(maps.pixel), maps.pixel, 0) for maps in cohort
    ]
    assert line.height == pytest.approx(height, rel=1e-5)
    assert line.pixel == pytest.approx(slow_yen(all_of(inside)), rel=1e-5)
    assert line.series == 3
    assert line_of(cohort, Yen(per="dataset", pixel_too=False)).pixel is None
    assert line.height != pytest.approx(yen_threshold(cohort[0].score), rel=1e-3)


def test_yen_of_one_series_lets_missing_visits_have_no_say(cohort: list[Maps]) -> None:
    maps = cohort[0]
    there = Maps(score=maps.score[[0, 2]], pixel=maps.pixel[[0, 2]])

    line, expected = (line_of([each], Yen()) for each in (maps, there))

    assert (line.height, line.pixel) == (expected.height, expected.pixel)
    assert line.height == yen_threshold(maps.score)


def test_scores_that_are_all_the_same_draw_no_line() -> None:
    even = np.full((2, 1, 4, 4), 0.3, np.float32)

    assert line_of([Maps(score=even, pixel=even)] * 2, Yen(per="dataset")).height == np.inf


@pytest.mark.parametrize("q", [0.0, 0.5, 0.9, 1.0])
def test_quantiles_per_patient_and_dataset_are_those_of_the_pooled_scores(
    cohort: list[Maps], q: float
) -> None:
    alone = line_of(cohort[:1], Quantile(q=q))
    together = line_of(cohort, Quantile(q=q, per="dataset"))

    assert alone.height == pytest.approx(slow_quantile(all_of([cohort[0].score]), q))
    assert alone.height == float(np.nanquantile(cohort[0].score, q))
    assert together.height == pytest.approx(slow_quantile(all_of([m.score for m in cohort]), q))
    assert (alone.lowest, alone.at(2)) == (alone.height, alone.height)


def test_a_quantile_per_image_is_one_for_each_visit_that_is_there(cohort: list[Maps]) -> None:
    line = line_of(cohort[:1], Quantile(q=0.8, per="image"))

    heights = [slow_quantile(all_of([score]), 0.8) for score in cohort[0].score[[0, 2]]]
    assert [line.at(0), line.at(2)] == pytest.approx(heights)
    assert math.isnan(line.at(1))
    assert line.lowest == pytest.approx(min(heights))


@pytest.mark.parametrize("sample", [1, 40, 2**24])
@pytest.mark.parametrize("q", [0.0, 0.7, 1.0])
def test_a_quantile_per_pixel_is_one_over_the_visits_of_all_series(
    cohort: list[Maps], q: float, sample: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threshold, "SAMPLE", sample)  # rows of a plane, at once or one by one

    line = line_of(cohort, Quantile(q=q, per="pixel"))

    for place in np.ndindex(2, 6, 5):
        values = all_of([maps.score[(slice(None), *place)] for maps in cohort])
        assert len(values) == 2 + 1 + 3
        assert line.height[place] == pytest.approx(slow_quantile(values, q), rel=1e-6)
    assert line.at(1) is line.height
    assert line.lowest == line.height.min()


def test_a_quantile_of_very_many_scores_goes_by_an_even_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    score = np.arange(4000, dtype=np.float32).reshape(4, 1, 40, 25)
    monkeypatch.setattr(threshold, "SAMPLE", 1000)

    line = line_of([Maps(score=score, pixel=score)] * 2, Quantile(q=0.9, per="dataset"))

    assert line.height == pytest.approx(3600, abs=40)


@pytest.mark.parametrize(
    "threshold",
    [
        Yen(per="dataset"),
        Quantile(q=0.9, per="dataset"),
        Quantile(q=0.9, per="pixel"),
    ],
    ids=repr,
)
def test_scores_are_pooled_in_their_scale_and_the_line_is_given_back_in_the_series(
    cohort: list[Maps], threshold: Yen | Quantile
) -> None:
    ends = [(float(np.nanmin(m.score)), float(np.nanmax(m.score))) for m in cohort]
    scaled = [
        Maps(score=m.score, pixel=m.pixel, scale=end) for m, end in zip(cohort, ends, strict=True)
    ]
    by_hand = [
        Maps(score=(m.score - low) / (high - low), pixel=m.pixel)
        for m, (low, high) in zip(cohort, ends, strict=True)
    ]

    line, expected = line_of(scaled, threshold), line_of(by_hand, threshold)

    np.testing.assert_allclose(line.height, expected.height, rtol=1e-6)
    low, high = ends[2]
    own = line.for_maps(scaled[2])
    np.testing.assert_allclose(own.height, low + (high - low) * expected.height, rtol=1e-6)
    assert (own.pixel, own.series) == (line.pixel, 3)
    assert Line(height=0.5).for_maps(cohort[0]).height == 0.5


def test_lines_of_scores_in_files_are_those_in_memory(
    cohort: list[Maps], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_arrays, "IN_MEMORY", 0)
    filed = []
    for maps in cohort:
        score, pixel = (disk_arrays.new_array(maps.score.shape) for _ in range(2))
        score[...], pixel[...] = maps.score, maps.pixel
        filed.append(Maps(score=score, pixel=pixel))

    for chosen in (Yen(), Quantile(per="dataset"), Quantile(per="pixel")):
        here, there = line_of(cohort, chosen), line_of(filed, chosen)
        np.testing.assert_array_equal(there.height, here.height)
        assert there.pixel == here.pixel


def test_a_sample_of_many_scores_sees_every_column(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.broadcast_to(np.arange(16.0, dtype=np.float32), (8, 4, 16, 16)).copy()
    monkeypatch.setattr(threshold, "SAMPLE", scores.size // 16)  # one of each row, were it the same

    found = line_of([Maps(score=scores, pixel=scores)], Quantile(q=0.9, per="dataset"))

    assert found.height == pytest.approx(np.quantile(scores, 0.9), abs=1.5)
