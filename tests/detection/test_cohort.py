from __future__ import annotations

import json
from dataclasses import replace

import dask.array
import numpy as np
import pytest

import napari_followup as nf
from napari_followup.detection import cohort, segment, stream
from napari_followup.detection.cohort import Cohort
from napari_followup.models.bundle import ModelBundle
from napari_followup.recipe.recipe import (
    Fixed,
    HealthyHysteresis,
    Lafm,
    Quantile,
    Recipe,
    Threshold,
    Yen,
)
from napari_followup.segmentation.threshold import yen_threshold
from napari_followup.series import disk_arrays
from napari_followup.series.plane_selection import Slicing
from napari_followup.series.results import Cancelled, Detection
from napari_followup.series.stack import VisitStack

POOLED = [
    Yen(per="dataset"),
    Yen(per="dataset", pixel_too=False),
    Quantile(q=0.6, per="dataset"),
    Quantile(q=0.6, per="pixel"),
]


@pytest.fixture
def stacks(tiny_series: VisitStack) -> list[VisitStack]:
    """Three patients: as it is, brighter and noisy, and one who missed a visit."""
    images = np.asarray(tiny_series.images)
    noisy = images * 2 + np.random.default_rng(0).random(images.shape).astype(np.float32) * 30
    gapped = np.flip(images, axis=-1).copy()
    gapped[2] = np.nan
    return [
        tiny_series.with_images(values, subject=name)
        for name, values in (("anna", images), ("bert", noisy), ("carl", gapped))
    ]


def plain_scores(
    stacks: list[VisitStack], bundle: ModelBundle, recipe: Recipe
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Final scores and pixel distances, from `detect` at a threshold that changes nothing."""
    found = [nf.detect(each, bundle, replace(recipe, threshold=Fixed())) for each in stacks]
    return [each.score for each in found], [each.scores["pixel"] for each in found]


def masks_by_hand(
    scores: list[np.ndarray], pixels: list[np.ndarray], threshold: Threshold
) -> list[np.ndarray]:
    """All scores side by side in memory, cut at once."""
    every, count = np.concatenate(scores), [len(score) for score in scores]
    match threshold:
        case Yen(pixel_too=pixel_too):
            mask = every >= yen_threshold(lambda: [every])
            if pixel_too:
                pixel = np.concatenate(pixels)
                inside = np.where(mask | np.isnan(pixel), pixel, 0)
                mask &= pixel >= yen_threshold(lambda: [inside])
        case Quantile(q=q, per="dataset"):
            mask = every >= np.nanquantile(every, q)
        case Quantile(q=q):
            mask = every >= np.nanquantile(every, q, axis=0)
    return np.split(mask, np.cumsum(count)[:-1])


@pytest.mark.parametrize("threshold", POOLED, ids=repr)
def test_series_are_segmented_at_what_all_of_them_give(
    stacks: list[VisitStack], tiny_bundle: ModelBundle, tiny_recipe: Recipe, threshold: Threshold
) -> None:
    recipe = replace(tiny_recipe, fusion=Lafm(), threshold=threshold)

    found = nf.detect_cohort(stacks, tiny_bundle, recipe)

    scores, pixels = plain_scores(stacks, tiny_bundle, recipe)
    expected = masks_by_hand(scores, pixels, threshold)
    assert [each.stack.subject for each in found] == ["anna", "bert", "carl"]
    assert len({each.threshold for each in found}) == 1
    assert sum(each.mask.sum() for each in found) > 0
    for each, score, mask in zip(found, scores, expected, strict=True):
        np.testing.assert_array_equal(each.score, score)
        np.testing.assert_array_equal(each.mask, mask)
        assert each.provenance["pooled_series"] == 3
        assert Recipe.from_dict(json.loads(json.dumps(each.provenance))["recipe"]) == recipe
    assert not found[2].mask[2].any()


@pytest.mark.parametrize("threshold", [*POOLED, Yen(), Quantile(per="image")], ids=repr)
def test_a_series_by_itself_is_its_own_data_set_and_says_so(
    stacks: list[VisitStack], tiny_bundle: ModelBundle, tiny_recipe: Recipe, threshold: Threshold
) -> None:
    recipe = replace(tiny_recipe, threshold=threshold)

    found = nf.detect(stacks[2], tiny_bundle, recipe)

    (together,) = nf.detect_cohort(stacks[2:], tiny_bundle, recipe)
    np.testing.assert_array_equal(together.mask, found.mask)
    for each in (found, together):
        alone = [note for note in each.provenance["notes"] if "this one alone" in note]
        assert len(alone) == (threshold in POOLED)


def test_thresholds_of_each_patient_give_what_detect_gives(
    stacks: list[VisitStack], tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    recipe = replace(tiny_recipe, threshold=Quantile(q=0.8), median=3, smallest=2, rescale=True)

    found = nf.detect_cohort(stacks, tiny_bundle, recipe, seed=4)

    for each, stack in zip(found, stacks, strict=True):
        one = nf.detect(stack, tiny_bundle, recipe, seed=4)
        np.testing.assert_array_equal(each.mask, one.mask)
        np.testing.assert_array_equal(each.score, one.score)
        assert (each.threshold, each.provenance) == (one.threshold, one.provenance)


@pytest.mark.parametrize("threshold", POOLED, ids=repr)
def test_scores_that_are_rescaled_are_pooled_rescaled(
    stacks: list[VisitStack], tiny_bundle: ModelBundle, tiny_recipe: Recipe, threshold: Threshold
) -> None:
    recipe = replace(tiny_recipe, threshold=threshold, rescale=True)

    found = nf.detect_cohort(stacks, tiny_bundle, recipe)

    scores, pixels = plain_scores(stacks, tiny_bundle, recipe)
    assert all((np.nanmin(each), np.nanmax(each)) == (0, 1) for each in scores)
    expected = masks_by_hand(scores, pixels, threshold)
    differ = sum(int((a.mask != b).sum()) for a, b in zip(found, expected, strict=True))
    assert differ <= 1  # the score that is the quantile itself may round to either side
    np.testing.assert_allclose([each.threshold for each in found], found[0].threshold, rtol=1e-6)


@pytest.mark.parametrize("threshold", POOLED, ids=repr)
@pytest.mark.parametrize("rescale", [False, True])
def test_results_that_wait_in_files_are_those_in_memory(
    tiny_bundle: ModelBundle,
    tiny_recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
    threshold: Threshold,
    rescale: bool,
) -> None:
    rng = np.random.default_rng(1)
    volumes = [VisitStack.from_array(rng.random((2, 3, 20, 16))) for _ in range(3)]
    recipe = replace(tiny_recipe, threshold=threshold, rescale=rescale, smallest=2, dilation=1)
    inside = nf.detect_cohort(volumes, tiny_bundle, recipe)

    monkeypatch.setattr(disk_arrays, "IN_MEMORY", 0)
    monkeypatch.setattr(cohort, "IN_MEMORY", 0)
    if threshold != Quantile(q=0.6, per="dataset"):  # that one would go by a sample
        monkeypatch.setattr(segment, "SAMPLE", 64)
        monkeypatch.setattr(stream, "SAMPLE", 64)
    outside = nf.detect_cohort(volumes, tiny_bundle, recipe)

    for here, there in zip(inside, outside, strict=True):
        assert there.threshold == here.threshold
        for name in ("mask", "score", "healthy", "image_score"):
            np.testing.assert_array_equal(getattr(there, name), getattr(here, name))


def test_planes_that_were_not_examined_give_no_threshold(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    rng = np.random.default_rng(1)
    volumes = [VisitStack.from_array(rng.random((2, 6, 16, 16))) for _ in range(2)]
    recipe = replace(tiny_recipe, threshold=Quantile(q=0.8, per="pixel"))
    planes = Slicing("y", 3, 9, 2)

    found = nf.detect_cohort(volumes, tiny_bundle, recipe, planes=planes)

    every = np.concatenate([each.score for each in found])[:, :, 3:9:2]
    marked = np.concatenate([each.mask for each in found])
    np.testing.assert_array_equal(marked[:, :, 3:9:2], every >= np.quantile(every, 0.8, axis=0))
    assert marked.sum() == marked[:, :, 3:9:2].sum()


def test_a_threshold_of_each_pixel_needs_one_grid(
    stacks: list[VisitStack], tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    other = VisitStack.from_array(np.random.rand(2, 16, 18), subject="dora")
    recipe = replace(tiny_recipe, threshold=Quantile(per="pixel"))

    with pytest.raises(ValueError, match=r"'dora', 1 x 16 x 18 of .*another grid than 'anna', 1 x"):
        nf.detect_cohort([*stacks, other], tiny_bundle, recipe)
    with pytest.raises(ValueError, match='take the threshold per "dataset"'):
        nf.detect_cohort([stacks[0], moved_by(stacks[1], 2.0)], tiny_bundle, recipe)
    anywhere = replace(recipe, threshold=Quantile(per="dataset"))
    assert len(nf.detect_cohort([*stacks, other], tiny_bundle, anywhere)) == 4


def moved_by(stack: VisitStack, pixels: float) -> VisitStack:
    affine = np.array(stack.affine)
    affine[:3, 3] += pixels * affine[:3, 2]
    return stack.with_images(stack.images, affine=affine)


def test_a_series_that_fails_leaves_the_cohort_as_it_was(
    stacks: list[VisitStack], tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    recipe = replace(tiny_recipe, threshold=Quantile(q=0.6, per="dataset"))
    cohort = Cohort(tiny_bundle, recipe)
    wrong = VisitStack.from_array(np.random.rand(2, 2, 16, 16), axes="vmyx")

    cohort.add(stacks[0])
    with pytest.raises(ValueError, match="2 modalities"):
        cohort.add(wrong)
    cohort.add(stacks[1])
    found = [len(cohort), *cohort.detections(), len(cohort)]

    expected = nf.detect_cohort(stacks[:2], tiny_bundle, recipe)
    assert (found[0], found[-1]) == (2, 0)
    for each, other in zip(found[1:-1], expected, strict=True):
        assert isinstance(each, Detection)
        np.testing.assert_array_equal(each.mask, other.mask)


def test_a_cohort_is_segmented_once(
    stacks: list[VisitStack], tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    cohort = Cohort(tiny_bundle, tiny_recipe)
    with pytest.raises(ValueError, match="no series is left to segment"):
        cohort.segment()

    cohort.add(stacks[0])
    cohort.segment()

    with pytest.raises(ValueError, match="'bert': this cohort is segmented already; make another"):
        cohort.add(stacks[1])
    assert nf.detect_cohort([], tiny_bundle, tiny_recipe) == []


def test_steps_are_counted_over_all_series_and_stop_when_asked(
    stacks: list[VisitStack], tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    seen: list[tuple[int, int]] = []
    nf.detect_cohort(stacks, tiny_bundle, tiny_recipe, on_step=lambda *step: seen.append(step))

    assert seen == [(done, 9) for done in range(1, 10)]
    with pytest.raises(Cancelled, match="stopped before the end"):
        nf.detect_cohort(stacks, tiny_bundle, tiny_recipe, on_step=lambda done, _: done < 4)


def test_a_lazy_series_is_read_for_its_own_turn_alone(
    stacks: list[VisitStack], tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    lazy = [
        each.with_images(dask.array.from_array(np.asarray(each.images), chunks=(1, 1, 1, 16, 16)))
        for each in stacks
    ]
    recipe = replace(tiny_recipe, threshold=Quantile(q=0.6, per="dataset"), erosion=1)

    found = nf.detect_cohort(lazy, tiny_bundle, recipe)

    expected = nf.detect_cohort(stacks, tiny_bundle, recipe)
    for each, other, stack in zip(found, expected, lazy, strict=True):
        assert each.stack is stack
        np.testing.assert_array_equal(each.mask, other.mask)


def test_without_a_recipe_it_is_the_models_own(
    stacks: list[VisitStack], tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    own = replace(tiny_recipe, threshold=Quantile(q=0.6, per="dataset"))
    bundle = replace(tiny_bundle, own_recipe=own)

    found = nf.detect_cohort(stacks, bundle)

    assert {each.provenance["pooled_series"] for each in found} == {3}
    healthy = replace(own, threshold=HealthyHysteresis())
    assert "pooled_series" not in nf.detect_cohort(stacks, bundle, healthy)[0].provenance
