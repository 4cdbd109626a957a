from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import napari_followup as nf
from napari_followup.detection.detect import score_visits
from napari_followup.detection.finish import doubt_of, judged, maps_of
from napari_followup.detection.rim import examined_region
from napari_followup.detection.threshold import Line
from napari_followup.models.files import ModelBundle
from napari_followup.models.healthy_scores import HealthyScores
from napari_followup.recipe.recipe import Fixed, Quantile, Recipe, Yen
from napari_followup.series.plane_selection import Slicing
from napari_followup.series.stack import VisitStack


@pytest.fixture
def all_marked(tiny_recipe: Recipe) -> Recipe:
    return replace(tiny_recipe, threshold=Fixed(value=0.0))


def test_what_was_scored_is_cut_as_detect_cuts_it(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    recipe = replace(tiny_recipe, rescale=True, median=3)
    prepared, scores = score_visits(tiny_series, tiny_bundle, recipe, seed=3)

    found = judged(prepared, scores, tiny_bundle, recipe, seed=3)

    expected = nf.detect(tiny_series, tiny_bundle, recipe, seed=3)
    np.testing.assert_array_equal(found.mask, expected.mask)
    np.testing.assert_array_equal(found.score, expected.score)
    assert (found.threshold, found.provenance) == (expected.threshold, expected.provenance)
    assert list(found.scores) == ["pixel"]


def test_a_line_from_outside_is_told(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    recipe = replace(tiny_recipe, threshold=Yen(per="dataset"))
    prepared, scores = score_visits(tiny_series, tiny_bundle, recipe)

    line = Line(height=0.125, series=7)
    found = judged(prepared, scores, tiny_bundle, recipe, seed=0, line=line)

    assert found.threshold == 0.125
    assert found.provenance["pooled_series"] == 7
    assert not [note for note in found.provenance["notes"] if "alone" in note]
    np.testing.assert_array_equal(found.mask, found.score >= np.float32(0.125))


@pytest.mark.parametrize("rescale", [False, True])
def test_only_scores_that_are_pooled_are_scaled_before_the_cut(
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


def test_nothing_is_marked_at_the_rim_of_what_each_visit_shows(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, all_marked: Recipe
) -> None:
    images = np.asarray(tiny_series.images).copy()
    images[1], images[3] = np.nan, np.roll(images[0], 3, axis=-1)
    stack = tiny_series.with_images(images)

    found = nf.detect(stack, tiny_bundle, replace(all_marked, erosion=2))

    expected = np.zeros(found.mask.shape, bool)
    expected[[0, 2], :, 6:10, 6:10] = expected[3, :, 6:10, 9:13] = True  # 8 x 8 less 2 all round
    np.testing.assert_array_equal(found.mask, expected)
    np.testing.assert_array_equal(found.mask, examined_region(stack, 2))
    assert nf.detect(stack, tiny_bundle, all_marked).mask[0].all()


def test_a_rim_in_space_is_found_before_planes_are_chosen(
    tiny_bundle: ModelBundle, all_marked: Recipe
) -> None:
    volume = np.zeros((2, 9, 10, 16), np.float32)
    volume[:, 2:8, 2:9, 3:13] = 1.0
    stack = VisitStack.from_array(volume)
    recipe = replace(all_marked, erosion=1)

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
def test_heights_that_differ_are_told_in_the_unit_of_the_score(
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

    assert any("found little of what was drawn" in note for note in own) == doubtful
    assert not any("found little" in note for note in other)
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
