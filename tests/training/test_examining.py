from __future__ import annotations

import numpy as np

import napari_followup as nf
from napari_followup.models.files import ModelBundle
from napari_followup.recipe.recipe import Recipe
from napari_followup.series.stack import VisitStack
from napari_followup.training.examining import scored, thinned


def test_series_are_scored_as_the_door_scores_them(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe, tiny_series: VisitStack
) -> None:
    maps = scored(tiny_bundle, tiny_series, tiny_recipe, seed=3).maps

    found = nf.detect(tiny_series, tiny_bundle, tiny_recipe, device="cpu", seed=3)
    np.testing.assert_allclose(maps["final"], found.score, rtol=1e-5)


def test_few_visits_and_planes_stand_for_many() -> None:
    images = np.random.rand(20, 1, 30, 4, 4)
    images[3] = np.nan
    stack = VisitStack.from_array(images)

    few = thinned(stack)

    assert few.shape == (6, 1, 9, 4, 4)
    assert few.is_observed.all()
    assert (few.ages[0], few.ages[-1]) == (0.0, 19.0)
    np.testing.assert_array_equal(few.images[0], images[0, :, 10:19])
    assert thinned(stack, whole=True).shape == (6, 1, 30, 4, 4)


def test_a_small_series_stays_as_it_is(tiny_series: VisitStack) -> None:
    np.testing.assert_array_equal(thinned(tiny_series).images, tiny_series.images)
