from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

import napari_followup as nf
from napari_followup.detection.detect import examine
from napari_followup.detection.planewise import score_planes
from napari_followup.detection.prepare import prepare, visits_of
from napari_followup.detection.score import score_series
from napari_followup.models.files import ModelBundle
from napari_followup.recipe.recipe import Fam, Fixed, Lafm, Pixel, Quantile, Recipe, Support, Yen
from napari_followup.scores.image import image_scores
from napari_followup.series import disk_arrays
from napari_followup.series.intensity import fit_scaling
from napari_followup.series.stack import VisitStack

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


def as_before(
    stack: VisitStack, bundle: ModelBundle, recipe: Recipe, seed: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """All planes at once, in tensors: stages by name on the stack's grid, and image scores."""
    scaling = fit_scaling(stack, bundle.value_range)
    visits = visits_of(stack, stack.images, (scaling,), bundle.image_size, CPU)
    with torch.no_grad():
        evidence = examine(visits, bundle, recipe.options, CPU, seed, None)
        stages = score_series(visits, evidence, recipe)
    back = prepare(stack, bundle, CPU).map_back
    return {n: back(v) for n, v in stages.items()}, image_scores(stages["final"]).numpy()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("size", [(16, 16), (30, 22)])
def test_a_planar_series_is_scored_to_the_last_bit_as_all_at_once(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe, recipe: Recipe, size: tuple[int, int]
) -> None:
    stack, recipe = volumes(1, size), replace(recipe, options=tiny_recipe.options)

    found = nf.detect(stack, tiny_bundle, recipe, seed=5)

    expected, highest = as_before(stack, tiny_bundle, recipe, 5)
    assert [*found.scores, "final"] == list(expected)
    for name, values in expected.items():
        maps = found.score if name == "final" else found.scores[name]
        np.testing.assert_array_equal(maps, values)
    np.testing.assert_array_equal(found.image_score[[0, 1, 3]], highest)


def test_noise_of_a_planar_series_comes_from_the_seed_alone(
    tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    visits = prepare(tiny_series, tiny_bundle, CPU).visits
    method = tiny_bundle.build("cpu")
    options = method.options_type(**tiny_recipe.options)

    found = examine(visits, tiny_bundle, tiny_recipe.options, CPU, 7, None).healthy

    generator = torch.Generator().manual_seed(7)
    expected = method.examine(visits, options, generator, lambda done, total: None).healthy
    assert torch.equal(found, expected)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("size", [(16, 16), (12, 20)])
def test_volumes_are_scored_as_all_planes_at_once(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe, recipe: Recipe, size: tuple[int, int]
) -> None:
    stack, recipe = volumes(size=size), replace(recipe, options=tiny_recipe.options)

    found = nf.detect(stack, tiny_bundle, recipe, seed=5)

    expected, highest = as_before(stack, tiny_bundle, recipe, 5)
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
        evidence = examine(prepared.visits, tiny_bundle, recipe.options, CPU, 5, None)
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
