from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

import napari_followup as nf
from napari_followup.detection import segment, stream
from napari_followup.detection.prepare import visits_of
from napari_followup.detection.segment import UNKNOWN, Thresholds
from napari_followup.detection.steps import examine
from napari_followup.detection.stream import (
    Maps,
    Segmented,
    prepare,
    score_planes,
    segment_maps,
    thresholds_of,
)
from napari_followup.models.bundle import HealthyScores, ModelBundle
from napari_followup.recipe.recipe import (
    Fam,
    Fixed,
    HealthyHysteresis,
    HealthyQuantile,
    Lafm,
    Pixel,
    Quantile,
    Recipe,
    Support,
    Threshold,
    Yen,
)
from napari_followup.segmentation.threshold import yen_threshold
from napari_followup.series import disk_arrays
from napari_followup.series.intensity import fit_scaling
from napari_followup.series.stack import VisitStack

Scorer = Callable[..., dict[str, Tensor]]

CPU = torch.device("cpu")
RECIPES = {
    "pixel": Recipe(score=Pixel(tolerance=2.0)),
    "fam, lafm, median": Recipe(score=Fam(blur=1.0), fusion=Lafm(), median=3),
    "pixel, lafm": Recipe(fusion=Lafm(gamma=0.5)),
    "fam, support": Recipe(score=Fam(), fusion=Support(), median=3),
    "median in space": Recipe(score=Fam(), fusion=Lafm(), median=3, volume_median=True),
    "median in space, blur": Recipe(score=Pixel(), median=3, volume_median=True, blur=0.8),
}


def volumes(depth: int = 5, size: tuple[int, int] = (16, 16)) -> VisitStack:
    """Three visits and a missing one; brighter from plane to plane, so that extremes differ."""
    images = np.random.default_rng(0).random((4, depth, *size)).astype(np.float32)
    images *= 1 + np.arange(depth, dtype=np.float32)[:, None, None]
    images[2] = np.nan
    return VisitStack.from_array(images, axes="vzyx", ages=[60.0, 61.0, 62.5, 64.0])


def at_once(
    stack: VisitStack, bundle: ModelBundle, recipe: Recipe, seed: int, score: Scorer
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """All planes at once, in tensors: stages by name on the stack's grid, and image scores."""
    scaling, prepared = fit_scaling(stack, bundle.value_range), prepare(stack, bundle, CPU)
    visits = visits_of(stack, stack.images, (scaling,), bundle.image_size, CPU)
    with torch.no_grad():
        evidence = examine(prepared, bundle, recipe.options, seed)
        stages = score(visits, evidence, recipe)
    maps = {name: prepared.spread(prepared.grid_back(each)) for name, each in stages.items()}
    return maps, stages["final"].amax(dim=(1, 2, 3)).numpy()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("size", [(16, 16), (30, 22)])
def test_a_planar_series_is_scored_to_the_last_bit_as_all_at_once(
    tiny_bundle: ModelBundle,
    tiny_recipe: Recipe,
    recipe: Recipe,
    size: tuple[int, int],
    score_series: Scorer,
) -> None:
    stack, recipe = volumes(1, size), replace(recipe, options=tiny_recipe.options)

    found = nf.detect(stack, tiny_bundle, recipe, seed=5)

    expected, highest = at_once(stack, tiny_bundle, recipe, 5, score_series)
    assert [*found.scores, "final"] == list(expected)
    for name, values in expected.items():
        maps = found.score if name == "final" else found.scores[name]
        np.testing.assert_array_equal(maps, values)
    np.testing.assert_array_equal(found.image_score[[0, 1, 3]], highest)


def test_noise_of_a_planar_series_comes_from_the_seed_alone(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    prepared = prepare(tiny_series, tiny_bundle, CPU)
    method = tiny_bundle.build("cpu")
    options = method.options_type(**tiny_recipe.options)

    found = examine(prepared, tiny_bundle, tiny_recipe.options, 7).healthy

    generator = torch.Generator().manual_seed(7)
    expected = method.examine(prepared.visits, options, generator, lambda done, total: None).healthy
    assert torch.equal(found, expected)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("size", [(16, 16), (12, 20)])
def test_volumes_are_scored_as_all_planes_at_once(
    tiny_bundle: ModelBundle,
    tiny_recipe: Recipe,
    recipe: Recipe,
    size: tuple[int, int],
    score_series: Scorer,
) -> None:
    stack, recipe = volumes(size=size), replace(recipe, options=tiny_recipe.options)

    found = nf.detect(stack, tiny_bundle, recipe, seed=5)

    expected, highest = at_once(stack, tiny_bundle, recipe, 5, score_series)
    for name, values in expected.items():
        maps = found.score if name == "final" else found.scores[name]
        np.testing.assert_allclose(maps, values, atol=1e-5)
    np.testing.assert_allclose(found.image_score[[0, 1, 3]], highest, atol=1e-5)


@pytest.mark.parametrize("parts", [[0, 5], [0, 2, 5], [0, 1, 2, 3, 4, 5]])
def test_how_the_planes_are_divided_does_not_matter(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe, parts: Sequence[int]
) -> None:
    stack = volumes()
    recipe = replace(RECIPES["fam, lafm, median"], options=tiny_recipe.options)
    prepared = prepare(stack, tiny_bundle, CPU)
    with torch.no_grad():
        evidence = examine(prepared, tiny_bundle, recipe.options, 5)
        slabs = [slice(start, stop) for start, stop in pairwise(parts)]
        found = score_planes(
            prepared,
            (
                (
                    slab,
                    prepared.slab(slab),
                    replace(evidence, healthy=evidence.healthy[..., slab, :, :]),
                )
                for slab in slabs
            ),
            recipe,
        )

    whole = nf.detect(stack, tiny_bundle, recipe, seed=5)
    np.testing.assert_allclose(found.maps["final"], whole.score, atol=1e-6)
    np.testing.assert_array_equal(found.healthy, whole.healthy)


@pytest.mark.parametrize(
    "threshold", [Yen(), Yen(pixel_too=False), Quantile(q=0.9), Fixed(value=0.2)], ids=repr
)
@pytest.mark.parametrize("rescale", [False, True])
def test_results_in_files_are_those_in_memory(
    tiny_bundle: ModelBundle,
    tiny_recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
    threshold: object,
    rescale: bool,
) -> None:
    recipe = replace(
        RECIPES["fam, lafm, median"],
        options=tiny_recipe.options,
        threshold=threshold,
        rescale=rescale,
        smallest=2.0,
    )
    inside = nf.detect(volumes(), tiny_bundle, recipe)

    monkeypatch.setattr(disk_arrays, "IN_MEMORY", 0)
    outside = nf.detect(volumes(), tiny_bundle, recipe)

    assert outside.threshold == inside.threshold
    for name in ("mask", "score", "healthy", "image_score"):
        np.testing.assert_array_equal(getattr(outside, name), getattr(inside, name))
    for name, maps in inside.scores.items():
        np.testing.assert_array_equal(outside.scores[name], maps)


def test_a_method_sees_one_plane_at_a_time(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, shapes = tiny_bundle.build("cpu"), []
    kept = model.examine

    def watched(visits: object, *rest: object) -> object:
        shapes.append(tuple(visits.images.shape))
        return kept(visits, *rest)

    monkeypatch.setattr(model, "examine", watched)
    nf.detect(volumes(), tiny_bundle, tiny_recipe)

    assert shapes == [(3, 1, 1, 16, 16)] * 5


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
    found = thresholds_of(cohort, Yen(per="dataset"))

    height = slow_yen(all_of([maps.score for maps in cohort]))
    inside = [
        np.where((maps.score >= height) | np.isnan(maps.pixel), maps.pixel, 0) for maps in cohort
    ]
    assert found.score == pytest.approx(height, rel=1e-5)
    assert found.pixel == pytest.approx(slow_yen(all_of(inside)), rel=1e-5)
    assert found.series == 3
    assert thresholds_of(cohort, Yen(per="dataset", pixel_too=False)).pixel is None
    assert found.score != pytest.approx(yen_threshold(lambda: [cohort[0].score]), rel=1e-3)


def test_yen_of_one_series_lets_missing_visits_have_no_say(cohort: list[Maps]) -> None:
    maps = cohort[0]
    there = Maps(score=maps.score[[0, 2]], pixel=maps.pixel[[0, 2]])

    found, expected = (thresholds_of([each], Yen()) for each in (maps, there))

    assert (found.score, found.pixel) == (expected.score, expected.pixel)
    assert found.score == yen_threshold(lambda: [maps.score])


def test_scores_that_are_all_the_same_have_no_threshold() -> None:
    even = np.full((2, 1, 4, 4), 0.3, np.float32)

    assert thresholds_of([Maps(score=even, pixel=even)] * 2, Yen(per="dataset")).score == np.inf


@pytest.mark.parametrize("q", [0.0, 0.5, 0.9, 1.0])
def test_quantiles_per_patient_and_dataset_are_those_of_the_pooled_scores(
    cohort: list[Maps], q: float
) -> None:
    alone = thresholds_of(cohort[:1], Quantile(q=q))
    together = thresholds_of(cohort, Quantile(q=q, per="dataset"))

    assert alone.score == pytest.approx(slow_quantile(all_of([cohort[0].score]), q))
    assert alone.score == float(np.nanquantile(cohort[0].score, q))
    assert together.score == pytest.approx(slow_quantile(all_of([m.score for m in cohort]), q))
    assert (alone.lowest, alone.at(2)) == (alone.score, alone.score)


def test_a_quantile_per_image_is_one_for_each_visit_that_is_there(cohort: list[Maps]) -> None:
    found = thresholds_of(cohort[:1], Quantile(q=0.8, per="image"))

    heights = [slow_quantile(all_of([score]), 0.8) for score in cohort[0].score[[0, 2]]]
    assert [found.at(0), found.at(2)] == pytest.approx(heights)
    assert math.isnan(found.at(1))
    assert found.lowest == pytest.approx(min(heights))


@pytest.mark.parametrize("sample", [1, 40, 2**24])
@pytest.mark.parametrize("q", [0.0, 0.7, 1.0])
def test_a_quantile_per_pixel_is_one_over_the_visits_of_all_series(
    cohort: list[Maps], q: float, sample: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SAMPLE", sample)  # rows of a plane, at once or one by one

    found = thresholds_of(cohort, Quantile(q=q, per="pixel"))

    for place in np.ndindex(2, 6, 5):
        values = all_of([maps.score[(slice(None), *place)] for maps in cohort])
        assert len(values) == 2 + 1 + 3
        assert found.score[place] == pytest.approx(slow_quantile(values, q), rel=1e-6)
    assert found.at(1) is found.score
    assert found.lowest == found.score.min()


def test_a_quantile_of_very_many_scores_goes_by_an_even_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    score = np.arange(4000, dtype=np.float32).reshape(4, 1, 40, 25)
    monkeypatch.setattr(segment, "SAMPLE", 1000)

    found = thresholds_of([Maps(score=score, pixel=score)] * 2, Quantile(q=0.9, per="dataset"))

    assert found.score == pytest.approx(3600, abs=40)


@pytest.mark.parametrize(
    "threshold",
    [
        Yen(per="dataset"),
        Quantile(q=0.9, per="dataset"),
        Quantile(q=0.9, per="pixel"),
    ],
    ids=repr,
)
def test_scores_are_pooled_in_their_scale_and_thresholds_given_back_in_that_of_the_series(
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

    found, expected = thresholds_of(scaled, threshold), thresholds_of(by_hand, threshold)

    np.testing.assert_allclose(found.score, expected.score, rtol=1e-6)
    low, high = ends[2]
    own = found.unscaled(scaled[2].scale)
    np.testing.assert_allclose(own.score, low + (high - low) * expected.score, rtol=1e-6)
    assert (own.pixel, own.series) == (found.pixel, 3)
    assert Thresholds(score=0.5).unscaled(cohort[0].scale).score == 0.5


def test_thresholds_of_scores_in_files_are_those_in_memory(
    cohort: list[Maps], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_arrays, "IN_MEMORY", 0)
    filed = []
    for maps in cohort:
        score, pixel = (disk_arrays.new_array(maps.score.shape) for _ in range(2))
        score[...], pixel[...] = maps.score, maps.pixel
        filed.append(Maps(score=score, pixel=pixel))

    for chosen in (Yen(), Quantile(per="dataset"), Quantile(per="pixel")):
        here, there = thresholds_of(cohort, chosen), thresholds_of(filed, chosen)
        np.testing.assert_array_equal(there.score, here.score)
        assert there.pixel == here.pixel


def test_a_sample_of_many_scores_sees_every_column(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.broadcast_to(np.arange(16.0, dtype=np.float32), (8, 4, 16, 16)).copy()
    monkeypatch.setattr(segment, "SAMPLE", scores.size // 16)  # one of each row, were it the same

    found = thresholds_of([Maps(score=scores, pixel=scores)], Quantile(q=0.9, per="dataset"))

    assert found.score == pytest.approx(np.quantile(scores, 0.9), abs=1.5)


def lowest(found: Segmented) -> float:
    return found.levels.thresholds.lowest


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
def test_a_pixel_that_reaches_the_threshold_is_abnormal(
    score: np.ndarray, threshold: Threshold, height: float
) -> None:
    found = segment_maps(Maps(score=score, pixel=score), Recipe(threshold=threshold), KNOWN)

    assert lowest(found) == pytest.approx(height)
    assert found.levels.notes == ()
    np.testing.assert_array_equal(found.mask, score >= lowest(found))


def test_a_quantile_flags_its_share_of_the_observed_visits(score: np.ndarray) -> None:
    found = segment_maps(Maps(score=score, pixel=score), Recipe(threshold=Quantile(q=0.75)), None)

    assert found.mask[[0, 2]].mean() == 0.25
    assert not found.mask[1].any()


def test_yen_is_asked_on_the_score_and_on_the_pixel_distance(score: np.ndarray) -> None:
    pixel = np.random.default_rng(1).random(score.shape).astype(np.float32) ** 4

    once = segment_maps(
        Maps(score=score, pixel=pixel), Recipe(threshold=Yen(pixel_too=False)), None
    )
    twice = segment_maps(Maps(score=score, pixel=pixel), Recipe(threshold=Yen()), None)

    assert lowest(once) == lowest(twice) == yen_threshold(lambda: [score])
    inside = np.where(once.mask | np.isnan(pixel), pixel, 0)
    np.testing.assert_array_equal(
        twice.mask, once.mask & (pixel >= yen_threshold(lambda: [inside]))
    )
    assert 0 < twice.mask.sum() < once.mask.sum()


def test_a_healthy_floor_must_be_reached_too(score: np.ndarray) -> None:
    found = segment_maps(
        Maps(score=score, pixel=score), Recipe(threshold=Fixed(value=0.1), floor=0.99), KNOWN
    )

    assert (lowest(found), found.levels.floor) == (0.1, pytest.approx(0.6))
    np.testing.assert_array_equal(found.mask, score >= found.levels.floor)


def test_hysteresis_keeps_whole_regions(score: np.ndarray) -> None:
    even = np.full((1, 1, 1, 6), 0.0, np.float32)
    even[..., :3], even[..., 1], even[..., 5] = 0.5, 0.7, 0.5

    found = segment_maps(
        Maps(score=even, pixel=even), Recipe(threshold=HealthyHysteresis(low=0.9, high=1.0)), KNOWN
    )

    assert found.mask.ravel().tolist() == [True, True, True, False, False, False]


@pytest.mark.parametrize(
    "recipe", [Recipe(threshold=HealthyQuantile()), Recipe(threshold=HealthyHysteresis())]
)
def test_without_healthy_scores_yen_stands_in_and_says_so(
    score: np.ndarray, recipe: Recipe
) -> None:
    found = segment_maps(Maps(score=score, pixel=score), recipe, None)

    assert found.levels.notes == (UNKNOWN,)
    assert lowest(found) == yen_threshold(lambda: [score])
    assert found.levels.floor is None


def test_an_unknown_floor_is_not_blamed_on_yen(score: np.ndarray) -> None:
    found = segment_maps(
        Maps(score=score, pixel=score), Recipe(threshold=Fixed(value=0.3), floor=0.9), None
    )

    assert lowest(found) == 0.3
    assert len(found.levels.notes) == 1
    assert "Yen" not in found.levels.notes[0]


def test_an_even_map_has_an_empty_mask() -> None:
    even = np.full((2, 1, 4, 4), 0.2, np.float32)

    assert not segment_maps(Maps(score=even, pixel=even), Recipe(threshold=Yen()), None).mask.any()


def test_parts_below_the_smallest_size_are_dropped_in_the_unit_of_the_voxel() -> None:
    score = np.zeros((1, 2, 8, 8), np.float32)
    score[0, 0, 0, :3] = score[0, 0, 5:7, 5:7] = 1.0
    recipe = Recipe(threshold=Fixed(value=0.5), smallest=2.0)
    maps = Maps(score=score, pixel=score)

    sizes = {
        voxel: int(segment_maps(maps, recipe, None, voxel=voxel).mask.sum())
        for voxel in (1.0, 0.6, 0.5, 0.4)
    }

    assert sizes == {1.0: 7, 0.6: 4, 0.5: 4, 0.4: 0}  # 2, 3.3, 4 and 5 voxels at least


def test_thresholds_of_many_series_are_taken_as_they_are(score: np.ndarray) -> None:
    maps, pooled = Maps(score=score, pixel=score), Thresholds(score=0.25, pixel=0.5, series=3)

    found = segment_maps(maps, Recipe(threshold=Yen(per="dataset")), None, thresholds=pooled)

    assert lowest(found) == 0.25
    np.testing.assert_array_equal(found.mask, score >= 0.5)


def test_a_threshold_of_scaled_scores_is_brought_back_to_those_of_the_series(
    score: np.ndarray,
) -> None:
    maps = Maps(score=score, pixel=score, scale=(0.2, 0.7))

    found = segment_maps(
        maps, Recipe(threshold=Quantile(per="dataset")), None, thresholds=Thresholds(score=0.4)
    )

    assert lowest(found) == pytest.approx(0.4)  # 0.2 + 0.4 of 0.5
    np.testing.assert_array_equal(found.mask, score >= np.float32(0.4))


def test_each_visit_may_have_its_own_threshold_and_the_lowest_is_reported(
    score: np.ndarray,
) -> None:
    score[2] *= 3

    found = segment_maps(
        Maps(score=score, pixel=score), Recipe(threshold=Quantile(per="image")), None
    )

    assert np.isnan(found.levels.thresholds.score).tolist() == [False, True, False]
    assert lowest(found) == found.levels.thresholds.score[0] < found.levels.thresholds.score[2]
    assert found.mask.mean(axis=(1, 2, 3)).tolist() == [8 / 256, 0, 8 / 256]


def test_a_mask_loses_its_border_then_its_small_parts_and_is_grown_last() -> None:
    score = np.zeros((1, 1, 9, 9), np.float32)
    score[0, 0, 4, :6] = 1.0  # three of these six lie at the border
    inside = np.zeros(score.shape, bool)
    inside[..., 3:8] = True
    recipe = Recipe(threshold=Fixed(value=0.5), smallest=3)

    def found(**changes: object) -> np.ndarray:
        changed = replace(recipe, **changes)
        return segment_maps(
            Maps(score=score, pixel=score),
            changed,
            None,
            examined_at=lambda visit: inside[visit : visit + 1],
        ).mask[0, 0]

    assert np.argwhere(found()).tolist() == [[4, 3], [4, 4], [4, 5]]
    assert not found(smallest=4).any()  # the part counts without its border
    grown = found(dilation=1)
    assert grown.sum() == 3 + 3 + 3 + 2
    assert grown[4, 2]  # into the border, too
    assert not found(smallest=4, dilation=3).any()  # dropped before it could grow
