from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import dask.array
import numpy as np
import pytest
import torch

import napari_followup as nf
from napari_followup.detection.detect import detection_of, doubt_of, score_visits
from napari_followup.detection.segment import Thresholds, examined_in
from napari_followup.detection.stream import maps_of
from napari_followup.models.bundle import HealthyScores, ModelBundle
from napari_followup.recipe.recipe import (
    Fam,
    Fixed,
    Fusion,
    HealthyQuantile,
    Lafm,
    Pixel,
    Quantile,
    Recipe,
    Support,
    Temporal,
    Yen,
)
from napari_followup.series.plane_selection import Slicing
from napari_followup.series.results import Cancelled
from napari_followup.series.stack import VisitStack
from napari_followup.training.measuring import healthy_scores


def gapped(series: VisitStack) -> VisitStack:
    images = series.images.copy()
    images[1] = np.nan
    return series.with_images(images)


def test_a_series_goes_all_the_way_to_a_mask(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    recipe = replace(tiny_recipe, score=Fam(), fusion=Lafm(), median=3)

    found = nf.detect(tiny_series, tiny_bundle, recipe)

    assert found.stack is tiny_series
    assert list(found.scores) == ["pixel", "feature", "fam", "lafm"]
    for values in (found.score, *found.scores.values()):
        assert values.shape == (4, 1, 16, 16)
        assert values.dtype == np.float32
    assert found.mask.dtype == bool
    np.testing.assert_array_equal(found.mask, found.score >= found.threshold)
    np.testing.assert_allclose(found.image_score, found.score.max(axis=(1, 2, 3)))
    assert found.healthy is not None
    assert found.healthy.shape == tiny_series.shape
    assert found.healthy.min() >= 0
    assert found.healthy.max() <= 80.0 + 1e-4  # the model's range in the series' own units
    assert json.loads(json.dumps(found.provenance)) == found.provenance
    assert Recipe.from_dict(found.provenance["recipe"]) == recipe


def test_pixel_score_is_the_distance_to_the_healthy_image(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    found = nf.detect(tiny_series, tiny_bundle, tiny_recipe)

    distance = np.abs(tiny_series.images - found.healthy)[:, 0] / 80.0
    np.testing.assert_allclose(found.score, distance, atol=1e-5)


def test_the_same_seed_gives_the_same_result(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    first, again, other = (
        nf.detect(tiny_series, tiny_bundle, tiny_recipe, seed=seed).score for seed in (1, 1, 2)
    )

    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_a_missing_visit_stays_missing(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    found = nf.detect(gapped(tiny_series), tiny_bundle, replace(tiny_recipe, fusion=Lafm()))

    for values in (found.score, found.scores["pixel"], found.healthy, found.image_score):
        assert np.isnan(values[1]).all()
        assert np.isfinite(values[[0, 2, 3]]).all()
    assert not found.mask[1].any()


@pytest.mark.parametrize(
    "images",
    [
        np.arange(2 * 30 * 22, dtype=np.uint16).reshape(2, 30, 22),
        np.arange(256, dtype=np.uint8).reshape(1, 16, 16),
        -np.random.default_rng(0).random((3, 16, 16)),
        np.random.default_rng(0).random((2, 3, 9, 40)).astype(np.float32),
        np.random.default_rng(0).random((2, 16, 16)) > 0.5,
    ],
    ids=["other size", "one visit", "negative", "volume", "boolean"],
)
@pytest.mark.parametrize("score", [Pixel(tolerance=0.5), Fam()])
def test_any_series_of_the_right_modalities_goes_through(
    images: np.ndarray, score: object, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    stack = VisitStack.from_array(images)

    found = nf.detect(stack, tiny_bundle, replace(tiny_recipe, score=score, fusion=Lafm()))

    visits, _, *grid = stack.shape
    assert found.mask.shape == found.score.shape == (visits, *grid)
    assert np.isfinite(found.score).all()
    assert found.healthy.shape == stack.shape


def test_equal_and_unsorted_ages_are_fine(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    stack = VisitStack.from_array(tiny_series.images[:, 0, 0], ages=[64.0, 60.0, 60.0, 61.0])

    found = nf.detect(stack, tiny_bundle, replace(tiny_recipe, fusion=Lafm()))

    assert np.isfinite(found.score).all()


def test_progress_counts_every_network_call_over_all_planes(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    stack = VisitStack.from_array(np.random.rand(2, 3, 16, 16))
    seen = []

    found = nf.detect(stack, tiny_bundle, tiny_recipe, on_step=lambda *step: seen.append(step))

    assert seen == [(n, 9) for n in range(1, 10)]
    assert np.isfinite(found.score).all()


def test_a_plane_too_large_for_memory_is_said_to_be(
    tiny_series: VisitStack,
    tiny_bundle: ModelBundle,
    tiny_recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cramped(*_: object) -> object:
        raise MemoryError

    monkeypatch.setattr(tiny_bundle.build("cpu"), "examine", cramped)

    with pytest.raises(MemoryError, match="not even one plane fits into memory"):
        nf.detect(tiny_series, tiny_bundle, tiny_recipe)


def test_a_run_is_stopped_between_steps(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    seen = []

    def stop_at_two(done: int, total: int) -> bool:
        seen.append(done)
        return done < 2

    with pytest.raises(Cancelled, match="stopped before the end"):
        nf.detect(tiny_series, tiny_bundle, tiny_recipe, on_step=stop_at_two)
    assert seen == [1, 2]


def test_the_healthy_threshold_comes_from_the_bundle(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    recipe = replace(tiny_recipe, threshold=HealthyQuantile(q=0.9))
    known = HealthyScores(shares=(1.0, 0.1), heights=(0.0, 0.37), maxima=(0.37, 0.4))

    found = nf.detect(tiny_series, tiny_bundle.with_healthy(recipe.score_key, known), recipe)
    unknown = nf.detect(tiny_series, tiny_bundle, recipe)

    assert found.threshold == pytest.approx(0.37)
    assert not any("Yen's" in note for note in found.provenance["notes"])
    assert "Yen's threshold" in unknown.provenance["notes"][0]


def test_rescaled_scores_and_their_threshold_move_together(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    recipe = replace(tiny_recipe, threshold=Fixed(value=0.3))

    plain = nf.detect(tiny_series, tiny_bundle, recipe)
    scaled = nf.detect(tiny_series, tiny_bundle, replace(recipe, rescale=True))

    assert (scaled.score.min(), scaled.score.max()) == (0.0, 1.0)
    assert scaled.score.dtype == np.float32
    np.testing.assert_array_equal(scaled.mask, plain.mask)
    assert (plain.mask == (scaled.score >= scaled.threshold)).mean() > 0.999


def test_other_modalities_are_refused(tiny_bundle: ModelBundle, tiny_recipe: Recipe) -> None:
    stack = VisitStack.from_array(np.random.rand(2, 2, 1, 16, 16))

    with pytest.raises(ValueError, match="has 2 modalities, model 'tiny' was trained on 1"):
        nf.detect(stack, tiny_bundle, tiny_recipe)


def test_an_unknown_option_is_refused_with_the_known_ones(
    tiny_series: VisitStack, tiny_bundle: ModelBundle
) -> None:
    recipe = Recipe(options={"noise_level": 250})

    with pytest.raises(ValueError, match="has no option noise_level; it has noise_levels, draws"):
        nf.detect(tiny_series, tiny_bundle, recipe)


def test_the_steps_of_detect_can_be_chained_by_hand(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    stack, recipe = gapped(tiny_series), replace(tiny_recipe, score=Fam(), fusion=Lafm())
    whole = nf.detect(stack, tiny_bundle, recipe, seed=3)

    made = nf.reconstruct(stack, tiny_bundle, options=recipe.options, seed=3)
    scores = nf.score_pair(stack, made.healthy, tiny_bundle, recipe.score)
    fused = nf.fuse_scores(scores["fam"], stack.ages, recipe.fusion)

    np.testing.assert_allclose(made.healthy, whole.healthy)
    assert list(scores) == ["pixel", "feature", "fam"]
    np.testing.assert_allclose(scores["fam"], whole.scores["fam"], atol=1e-4)
    np.testing.assert_allclose(fused, whole.scores["lafm"], atol=1e-4)
    assert made.provenance["options"] == recipe.options


def test_a_healthy_image_of_another_shape_is_refused(
    tiny_series: VisitStack, tiny_bundle: ModelBundle
) -> None:
    with pytest.raises(ValueError, match=r"healthy images are \(4, 16, 16\), the series is"):
        nf.score_pair(tiny_series, tiny_series.images[:, 0, 0], tiny_bundle, Pixel())


def test_scores_without_one_age_a_visit_are_not_fused() -> None:
    with pytest.raises(ValueError, match="got 2 for 3 visits; give one age per visit"):
        nf.fuse_scores(np.random.rand(3, 1, 4, 4), np.arange(2.0), Lafm())


def test_a_public_function_stays_one_after_its_module_is_imported() -> None:
    script = """
import napari_followup.detection.detect
import napari_followup as nf
assert callable(nf.detect), nf.detect
from napari_followup.detection.detect import detect
from napari_followup import detect as door
assert detect is door is nf.detect
import napari_followup.training.train
assert callable(nf.train), nf.train
assert nf.synthetic.starmen
assert set(nf.__all__) <= set(dir(nf))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there() -> None:
    for name in nf.__all__:
        assert getattr(nf, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'magic'"):
        nf.magic  # noqa: B018


@pytest.mark.gpu
def test_a_gpu_scores_like_the_cpu(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    recipe = replace(tiny_recipe, fusion=Lafm(), median=3)

    here = nf.detect(tiny_series, tiny_bundle, recipe, device="cpu")
    there = nf.detect(tiny_series, tiny_bundle, recipe, device="cuda")

    np.testing.assert_allclose(there.score, here.score, atol=0.03)
    assert torch.is_grad_enabled()


def test_constant_images_are_refused(tiny_bundle: ModelBundle, tiny_recipe: Recipe) -> None:
    flat = nf.VisitStack.from_array(np.full((3, 16, 16), 7.0))

    with pytest.raises(ValueError, match="the same value everywhere"):
        nf.detect(flat, tiny_bundle, tiny_recipe)


def test_one_constant_visit_among_others_is_fine(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    images = np.array(tiny_series.images, np.float32)
    images[0] = 0

    nf.detect(tiny_series.with_images(images), tiny_bundle, tiny_recipe)


def test_a_run_that_flags_much_reports_that_the_images_are_out_of_distribution(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    everything = replace(tiny_recipe, threshold=Fixed(value=0.0))
    nothing = replace(tiny_recipe, threshold=Fixed(value=1e9))

    unlike = nf.detect(tiny_series, tiny_bundle, everything)
    usual = nf.detect(tiny_series, tiny_bundle, nothing)

    assert "out of distribution" in unlike.provenance["notes"][-1]
    assert unlike.is_out_of_distribution
    assert usual.provenance["notes"] == []
    assert not usual.is_out_of_distribution


def test_arrays_and_names_are_no_series_and_models(
    tiny_series: VisitStack, tiny_bundle: ModelBundle
) -> None:
    with pytest.raises(TypeError, match="got ndarray; give one VisitStack"):
        nf.detect(np.zeros((3, 16, 16)), tiny_bundle)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"load_bundle\('starmen'\)"):
        nf.detect(tiny_series, "starmen")  # type: ignore[arg-type]


def test_scores_that_are_not_finite_are_refused(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    weights = {
        name: torch.full_like(values, torch.inf) if values.is_floating_point() else values
        for name, values in tiny_bundle.weights.items()
    }

    with pytest.raises(ValueError, match="score is not finite at visit 1, 3, 4; give the recipe"):
        nf.detect(gapped(tiny_series), replace(tiny_bundle, weights=weights), tiny_recipe)


def test_the_name_of_a_recipe_is_no_recipe(
    tiny_series: VisitStack, tiny_bundle: ModelBundle
) -> None:
    with pytest.raises(TypeError, match="got 'published'; give a Recipe"):
        nf.detect(tiny_series, tiny_bundle, "published")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="got 'published'; give a Recipe"):
        nf.detect_cohort([tiny_series], tiny_bundle, "published")  # type: ignore[arg-type]


def with_imputed(series: VisitStack) -> VisitStack:
    """Visit 2 is imputed: an anomaly of its own, and brighter than any observed visit."""
    images = series.images.copy()
    images[1, ..., 9:11, 9:11] = 400.0
    return replace(series, images=images, is_observed=np.array([True, False, True, True]))


@pytest.mark.parametrize("fusion", [Lafm(gamma=1.0), Support(gain=1.0)])
def test_imputed_visits_count_as_references_but_are_never_flagged(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe, fusion: Fusion
) -> None:
    series = with_imputed(tiny_series)
    recipe = replace(tiny_recipe, fusion=fusion, threshold=Fixed(value=0.0))
    alone = replace(recipe, imputed_references=False)

    found = nf.detect(series, tiny_bundle, replace(recipe, imputed_references=True))
    without = nf.detect(series, tiny_bundle, alone)

    for each in (found, without):
        assert not each.mask[1].any()
        assert np.isnan(each.score[1]).all()
        assert np.isnan(each.image_score[1])
        assert each.healthy is not None
        assert np.isnan(each.healthy[1]).all()
        assert np.isfinite(each.score[[0, 2, 3]]).all()
    place = (slice(None), 0, slice(9, 11), slice(9, 11))
    assert found.score[place][0].mean() > without.score[place][0].mean() + 0.05
    assert "imputed visits served as references only: 2" in found.provenance["notes"]
    assert "imputed visits were left out: 2" in without.provenance["notes"]
    gone = series.select(series.is_observed)
    np.testing.assert_array_equal(
        without.score[[0, 2, 3]], nf.detect(gone, tiny_bundle, alone).score
    )


def test_imputed_visits_set_no_scale(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    recipe = replace(tiny_recipe, imputed_references=True)

    found = nf.detect(with_imputed(tiny_series), tiny_bundle, recipe)

    assert found.healthy is not None
    distance = np.abs(tiny_series.images - found.healthy)[:, 0] / 80.0  # not 400
    np.testing.assert_allclose(found.score[[0, 2, 3]], distance[[0, 2, 3]], atol=1e-5)


def test_the_temporal_residual_is_the_distance_to_what_the_others_predict(
    tiny_series: VisitStack, tiny_both: ModelBundle
) -> None:
    recipe = replace(Recipe.temporal(), score=Temporal(tolerance=0.0), threshold=Fixed(value=0.1))

    found = nf.detect(gapped(tiny_series), tiny_both, recipe, seed=3)

    expected = nf.expected_visits(gapped(tiny_series), tiny_both, seed=3).healthy
    assert found.healthy is not None
    np.testing.assert_array_equal(found.healthy, expected)
    np.testing.assert_allclose(
        found.score, np.abs(tiny_series.images - expected)[:, 0] / 80.0, atol=1e-5
    )
    assert list(found.scores) == ["pixel", "temporal"]
    assert np.isnan(found.score[1]).all()
    assert found.provenance["method"] == "tdm"
    assert found.provenance["model_fingerprint"] == tiny_both.part("tdm").fingerprint


def test_a_temporal_model_alone_detects_by_its_own_recipe(
    tiny_series: VisitStack, tiny_tdm: ModelBundle
) -> None:
    found = nf.detect(tiny_series, tiny_tdm)

    assert Recipe.from_dict(found.provenance["recipe"]) == Recipe.temporal()


def test_imputed_references_serve_the_temporal_residual_too(
    tiny_series: VisitStack, tiny_tdm: ModelBundle
) -> None:
    series, recipe = with_imputed(tiny_series), Recipe.temporal()

    found = nf.detect(series, tiny_tdm, replace(recipe, imputed_references=True))
    without = nf.detect(series, tiny_tdm, recipe)

    assert np.isnan(found.score[1]).all()
    assert not np.allclose(found.score[0], without.score[0])


def test_the_temporal_residual_needs_two_visits_and_a_temporal_model(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_tdm: ModelBundle
) -> None:
    with pytest.raises(ValueError, match="a single visit: there is no other one"):
        nf.detect(tiny_series.select([0]), tiny_tdm)
    with pytest.raises(ValueError, match=r"'tiny' \(sdm\) has no tdm"):
        nf.detect(tiny_series, tiny_bundle, Recipe.temporal())


def test_healthy_scores_of_a_part_are_found_where_they_were_put(
    tiny_series: VisitStack, tiny_both: ModelBundle
) -> None:
    known = healthy_scores(tiny_both, [tiny_series, tiny_series], Recipe.temporal())

    found = nf.detect(tiny_series, known, Recipe.temporal())

    assert np.isfinite(found.threshold)
    assert not any("healthy" in note for note in found.provenance["notes"])


def volumes(depth: int = 4) -> VisitStack:
    images = np.random.default_rng(1).random((2, depth, 16, 16)).astype(np.float32)
    return VisitStack.from_array(images, ages=[60.0, 61.0], spacing=(3.0, 1.0, 2.0), subject="p7")


def test_a_plane_is_the_same_whichever_others_are_examined(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    stack, recipe = volumes(6), replace(tiny_recipe, threshold=Fixed(value=0.3))
    whole = nf.detect(stack, tiny_bundle, recipe, seed=3)

    some = nf.detect(stack, tiny_bundle, recipe, seed=3, planes=Slicing(first=1, last=6, step=2))

    for name in ("score", "healthy", "mask"):
        theirs, ours = getattr(whole, name), getattr(some, name)
        assert ours.shape == theirs.shape
        np.testing.assert_array_equal(ours[..., [1, 3, 5], :, :], theirs[..., [1, 3, 5], :, :])
    assert np.isnan(some.score[:, [0, 2, 4]]).all()
    assert some.healthy is not None
    assert np.isnan(some.healthy[:, :, [0, 2, 4]]).all()
    assert not some.mask[:, [0, 2, 4]].any()
    np.testing.assert_array_equal(some.image_score, np.nanmax(some.score, axis=(1, 2, 3)))
    assert some.provenance["planes"] == {"axis": "z", "first": 1, "last": 6, "step": 2}
    assert some.provenance["notes"][0].startswith("planes 1 to 5 across z were examined, every 2")
    assert "planes" not in whole.provenance
    assert json.loads(json.dumps(some.provenance)) == some.provenance


@pytest.mark.parametrize("axis", ["y", "x"])
def test_planes_across_another_axis_are_those_of_the_turned_volume(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe, axis: str
) -> None:
    stack = volumes()
    recipe = replace(tiny_recipe, score=Fam(), fusion=Lafm(), median=3)
    planes = Slicing(axis, 2, 9, 3)

    found = nf.detect(stack, tiny_bundle, recipe, planes=planes)

    turned = VisitStack.from_array(planes.turned(stack.images), axes="vmzyx", ages=stack.ages)
    expected = nf.detect(turned, tiny_bundle, recipe, planes=Slicing("z", 2, 9, 3))
    assert found.stack is stack
    assert found.mask.shape == found.score.shape == (2, 4, 16, 16)
    for name in ("mask", "score", "healthy"):
        np.testing.assert_array_equal(planes.turned(getattr(found, name)), getattr(expected, name))
    assert list(found.scores) == list(expected.scores)


def test_planes_outside_the_stack_are_refused_by_every_public_function(
    tiny_both: ModelBundle, tiny_recipe: Recipe
) -> None:
    model = replace(tiny_both, own_recipe=tiny_recipe)
    for door in (nf.detect, nf.reconstruct, nf.expected_visits):
        with pytest.raises(ValueError, match="0 to 9 across z, and 'p7' has 4; first can be 3"):
            door(volumes(), model, planes=Slicing(last=9))


def test_lazy_volumes_are_read_a_visit_at_a_time(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    stack, sizes = volumes(), []

    def chunk(values: np.ndarray) -> np.ndarray:
        sizes.append(values.shape[0])
        return values

    lazy = dask.array.from_array(stack.images, chunks=(1, 1, 4, 16, 16)).map_blocks(
        chunk, dtype=np.float32, meta=np.empty((0,) * 5, np.float32)
    )
    lazy_stack = replace(stack, images=lazy)
    checked = len(sizes)

    found = nf.detect(lazy_stack, tiny_bundle, tiny_recipe)

    assert len(sizes) - checked == 2  # each chunk once, whatever the number of planes
    np.testing.assert_array_equal(found.score, nf.detect(stack, tiny_bundle, tiny_recipe).score)


def test_a_run_on_volumes_is_stopped_between_planes(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    seen = []

    def stop_in_the_second_plane(done: int, total: int) -> bool:
        seen.append((done, total))
        return done < 4

    with pytest.raises(Cancelled):
        nf.detect(volumes(), tiny_bundle, tiny_recipe, on_step=stop_in_the_second_plane)
    assert seen == [(n, 12) for n in range(1, 5)]


def test_small_parts_are_measured_in_the_unit_of_the_series(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    stack = volumes()
    recipe = replace(tiny_recipe, threshold=Fixed(value=0.6))
    everything = int(nf.detect(stack, tiny_bundle, recipe).mask.sum())

    def left(smallest: float, planes: Slicing | None = None) -> int:
        small = replace(recipe, smallest=smallest)
        return int(nf.detect(stack, tiny_bundle, small, planes=planes).mask.sum())

    assert everything > 0
    assert left(6.0) == everything  # one voxel of 3 x 1 x 2 mm
    assert left(6.1) < everything
    assert left(1e6) == 0
    thin = Slicing(step=2)
    assert left(12.0, thin) == left(0.0, thin)  # each plane stands for two


def test_reconstructions_of_some_planes_leave_the_others_open(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    stack = volumes()
    how = {"options": tiny_recipe.options, "seed": 2}

    some = nf.reconstruct(stack, tiny_bundle, planes=Slicing(first=2), **how)

    whole = nf.reconstruct(stack, tiny_bundle, **how).healthy
    np.testing.assert_array_equal(some.healthy[:, :, 2:], whole[:, :, 2:])
    assert np.isnan(some.healthy[:, :, :2]).all()
    assert some.provenance["planes"]["first"] == 2


def test_planes_that_were_not_examined_stay_out_when_scores_are_fused() -> None:
    scores = np.random.default_rng(0).random((3, 4, 6, 6)).astype(np.float32)
    ages = np.arange(3.0)
    some = scores.copy()
    some[:, 2:] = np.nan

    fused = nf.fuse_scores(some, ages, Support())

    np.testing.assert_allclose(fused[:, :2], nf.fuse_scores(scores, ages, Support())[:, :2])
    assert np.isnan(fused[:, 2:]).all()
    some[0, 1] = np.nan
    with pytest.raises(ValueError, match="some visits lack planes that others have"):
        nf.fuse_scores(some, ages, Support())


@pytest.fixture
def all_flagged(tiny_recipe: Recipe) -> Recipe:
    return replace(tiny_recipe, threshold=Fixed(value=0.0))


def test_what_was_scored_is_segmented_as_detect_does(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    recipe = replace(tiny_recipe, rescale=True, median=3)
    prepared, scores = score_visits(tiny_series, tiny_bundle, recipe, seed=3)

    found = detection_of(prepared, scores, tiny_bundle, recipe, seed=3)

    expected = nf.detect(tiny_series, tiny_bundle, recipe, seed=3)
    np.testing.assert_array_equal(found.mask, expected.mask)
    np.testing.assert_array_equal(found.score, expected.score)
    assert (found.threshold, found.provenance) == (expected.threshold, expected.provenance)
    assert list(found.scores) == ["pixel"]


def test_a_threshold_of_many_series_is_reported(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    recipe = replace(tiny_recipe, threshold=Yen(per="dataset"))
    prepared, scores = score_visits(tiny_series, tiny_bundle, recipe)

    pooled = Thresholds(score=0.125, series=7)
    found = detection_of(prepared, scores, tiny_bundle, recipe, seed=0, pooled=pooled)

    assert found.threshold == 0.125
    assert found.provenance["pooled_series"] == 7
    assert not [note for note in found.provenance["notes"] if "alone" in note]
    np.testing.assert_array_equal(found.mask, found.score >= np.float32(0.125))


@pytest.mark.parametrize("rescale", [False, True])
def test_only_scores_that_are_pooled_are_scaled_before_they_are_segmented(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe, rescale: bool
) -> None:
    recipe = replace(tiny_recipe, rescale=rescale)
    prepared, scores = score_visits(tiny_series, tiny_bundle, recipe)
    final = scores.maps["final"]

    alone = maps_of(prepared, scores, recipe)
    pooled = maps_of(prepared, scores, replace(recipe, threshold=Quantile(per="dataset")))

    assert alone.scale is None
    assert pooled.scale == ((final.min(), final.max()) if rescale else None)
    assert np.shares_memory(alone.score, final)


def test_nothing_is_flagged_at_the_border_of_what_each_visit_shows(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, all_flagged: Recipe
) -> None:
    images = np.asarray(tiny_series.images).copy()
    images[1], images[3] = np.nan, np.roll(images[0], 3, axis=-1)
    stack = tiny_series.with_images(images)

    found = nf.detect(stack, tiny_bundle, replace(all_flagged, erosion=2))

    expected = np.zeros(found.mask.shape, bool)
    expected[[0, 2], :, 6:10, 6:10] = expected[3, :, 6:10, 9:13] = True  # 8 x 8 less 2 all round
    np.testing.assert_array_equal(found.mask, expected)
    region = [examined_in(stack.images[visit], 2) for visit in (0, 2, 3)]
    np.testing.assert_array_equal(found.mask[[0, 2, 3]], region)
    assert nf.detect(stack, tiny_bundle, all_flagged).mask[0].all()


def test_a_border_in_space_is_found_before_planes_are_chosen(
    tiny_bundle: ModelBundle, all_flagged: Recipe
) -> None:
    volume = np.zeros((2, 9, 10, 16), np.float32)
    volume[:, 2:8, 2:9, 3:13] = 1.0
    stack = VisitStack.from_array(volume)
    recipe = replace(all_flagged, erosion=1)

    found = nf.detect(stack, tiny_bundle, recipe, planes=Slicing("y", 1, 10, 3))

    expected = np.zeros(volume.shape, bool)
    expected[:, 3:7, 4:8:3, 4:12] = True  # planes 1, 4 and 7; the first lies outside
    np.testing.assert_array_equal(found.mask, expected)


def test_a_mask_grows_in_the_planes_that_were_examined(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    stack = VisitStack.from_array(np.random.default_rng(0).random((2, 5, 16, 16)))
    recipe = replace(tiny_recipe, threshold=Quantile(q=0.995))

    planes = Slicing("x", 2, 9)
    found, grown = (
        nf.detect(stack, tiny_bundle, replace(recipe, dilation=width), planes=planes).mask
        for width in (0, 1)
    )

    expected = found.copy()
    for axis, size in ((1, 5), (2, 16)):  # z and y are the rows and columns of planes across x
        ahead, behind = (np.take(found, np.arange(size - 1) + d, axis) for d in (0, 1))
        expected[(slice(None),) * axis + (slice(1, None),)] |= ahead
        expected[(slice(None),) * axis + (slice(None, -1),)] |= behind
    assert found.sum() < grown.sum()
    np.testing.assert_array_equal(grown, expected)


@pytest.mark.parametrize("planes", [None, Slicing("x", 2, 9, 3)])
def test_a_mask_at_another_threshold_is_cleaned_as_the_first_was(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe, planes: Slicing | None
) -> None:
    volume = np.zeros((2, 9, 10, 16), np.float32)
    volume[:, 1:8, 1:9, 1:15] = 1 + np.random.default_rng(0).random((2, 7, 8, 14))
    stack = VisitStack.from_array(volume)
    low, high = (
        replace(tiny_recipe, threshold=Fixed(value=height), erosion=1, smallest=2, dilation=1)
        for height in (0.2, 0.4)
    )

    first, other = (nf.detect(stack, tiny_bundle, r, planes=planes) for r in (low, high))

    assert first.mask.sum() > other.mask.sum() > 0
    assert not np.array_equal(other.mask, first.score >= 0.4)
    np.testing.assert_array_equal(first.at_threshold(0.4).mask, other.mask)
    np.testing.assert_array_equal(first.at_threshold(0.2).mask, first.mask)


@pytest.mark.parametrize("rescale", [False, True])
def test_thresholds_that_differ_are_reported_in_the_unit_of_the_score(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe, rescale: bool
) -> None:
    images = np.asarray(tiny_series.images).copy()
    images[1] = np.nan
    recipe = replace(tiny_recipe, rescale=rescale)

    by_image, by_pixel = (
        nf.detect(
            tiny_series.with_images(images),
            tiny_bundle,
            replace(recipe, threshold=Quantile(q=0.6, per=per)),
        )
        for per in ("image", "pixel")
    )

    heights = np.quantile(by_image.score[[0, 2, 3]], 0.6, axis=(1, 2, 3))
    assert len(set(heights)) == 3
    told = f"{heights[0]:.3g}, -, {heights[1]:.3g}, {heights[2]:.3g}; the lowest is given"
    assert told in "\n".join(by_image.provenance["notes"])
    assert by_image.threshold == pytest.approx(heights.min(), rel=1e-5)
    assert by_image.mask.sum(axis=(1, 2, 3)).tolist() == [103, 0, 103, 103]
    own = np.nanquantile(by_pixel.score, 0.6, axis=0)
    assert by_pixel.threshold == pytest.approx(own.min(), abs=1e-6)
    np.testing.assert_array_equal(by_pixel.mask.any(axis=0), True)
    assert "each pixel has a threshold of its own, from" in "\n".join(by_pixel.provenance["notes"])


def test_scores_are_found_without_a_gradient(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    prepared, scores = score_visits(tiny_series, tiny_bundle, tiny_recipe)

    assert isinstance(scores.maps["final"], np.ndarray)
    assert prepared.device == torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(("dice", "doubtful"), [(3.0, True), (60.0, False), (None, False)])
def test_a_model_that_finds_little_says_so_with_every_result(
    tiny_series: VisitStack,
    tiny_bundle: ModelBundle,
    tiny_recipe: Recipe,
    dice: float | None,
    doubtful: bool,
) -> None:
    card = {"sees": {"mdice_percent": {"darker_blob": dice, "brighter_blob": None}}}
    bundle = replace(tiny_bundle, card=card, own_recipe=tiny_recipe)

    own = nf.detect(tiny_series, bundle).provenance["notes"]
    other = nf.detect(tiny_series, bundle, replace(tiny_recipe, median=3)).provenance["notes"]

    assert any("found few of the anomalies drawn" in note for note in own) == doubtful
    assert not any("found few" in note for note in other)
    assert not doubt_of(bundle, Recipe.temporal())


def knowing(bundle: ModelBundle, recipe: Recipe, height: float) -> ModelBundle:
    """Model of whose healthy subjects' pixels 1 % score above a height."""
    scores = HealthyScores(shares=(0.02, 0.01, 0.005), heights=(0.0, height, 2.0), maxima=(2.0,))
    return bundle.with_healthy(recipe.score_key, scores)


def test_high_scores_everywhere_are_reported_as_out_of_distribution(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    recipe = replace(tiny_recipe, threshold=Fixed(value=2.0))  # nothing is marked
    scores = nf.detect(tiny_series, tiny_bundle, recipe).score
    height = float(np.quantile(scores, 0.5))

    usual, unlike = (
        nf.detect(tiny_series, knowing(tiny_bundle, recipe, at), recipe) for at in (1.5, height)
    )

    share = 100 * np.mean(scores > height)
    assert f"{share:.1f} % of the pixels far from any flagged region" in unlike.out_of_distribution
    assert unlike.is_out_of_distribution
    assert unlike.provenance["notes"][-1] == unlike.out_of_distribution
    assert not usual.is_out_of_distribution
    assert "out_of_distribution" not in usual.provenance
    assert not [note for note in usual.provenance["notes"] if "out of distribution" in note]


def test_a_flagged_region_alone_is_not_out_of_distribution(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    scores = nf.detect(tiny_series, tiny_bundle, tiny_recipe).score
    height = float(np.quantile(scores, 0.6))
    recipe = replace(tiny_recipe, threshold=Fixed(value=height))

    found = nf.detect(tiny_series, knowing(tiny_bundle, recipe, height), recipe)

    assert 0.3 < found.mask.mean() < 0.5
    assert not [note for note in found.provenance["notes"] if "far from any flagged" in note]


@pytest.mark.parametrize(("side", "says"), [(9, True), (11, False)])
def test_a_border_that_leaves_next_to_nothing_is_reported(
    tiny_bundle: ModelBundle, all_flagged: Recipe, side: int, says: bool
) -> None:
    image = np.zeros((16, 16), np.float32)
    image[2 : 2 + side, 2 : 2 + side] = 1.0

    found = nf.detect(
        VisitStack.from_array(image[None]), tiny_bundle, replace(all_flagged, erosion=3)
    )

    note = "the border of 3 pixels leaves 3.5 % of an image in which something may be flagged"
    assert [note in each for each in found.provenance["notes"] if "border" in each] == [True] * says
