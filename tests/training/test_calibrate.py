from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_followup.detection.detect import detect
from napari_followup.detection.rim import examined_region
from napari_followup.models.files import ModelBundle
from napari_followup.recipe.recipe import Recipe
from napari_followup.series.stack import VisitStack
from napari_followup.training.calibrate import healthy_scores


def test_a_bundle_learns_the_scores_of_one_recipe_and_stays_what_it_was(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe, tiny_series: VisitStack
) -> None:
    found = healthy_scores(tiny_bundle, [tiny_series, tiny_series], tiny_recipe)

    assert list(found.healthy) == [tiny_recipe.score_key]
    assert len(found.healthy[tiny_recipe.score_key].maxima) == 2
    assert tiny_bundle.healthy == {}
    again = healthy_scores(tiny_bundle, [tiny_series, tiny_series], tiny_recipe)
    assert again.healthy == found.healthy


def test_scores_of_a_part_are_kept_by_the_part(
    tiny_both: ModelBundle, tiny_series: VisitStack
) -> None:
    recipe = Recipe.temporal()

    found = healthy_scores(tiny_both, [tiny_series, tiny_series], recipe)

    assert list(found.part("tdm").healthy) == [recipe.score_key]
    assert found.healthy == {}
    assert found.fingerprint == tiny_both.fingerprint


def test_a_rim_that_is_not_marked_draws_no_line(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe, tiny_series: VisitStack
) -> None:
    narrow = replace(tiny_recipe, erosion=1)

    whole, found = (
        healthy_scores(tiny_bundle, [tiny_series], recipe).healthy[recipe.score_key]
        for recipe in (tiny_recipe, narrow)
    )

    region = examined_region(tiny_series, 1)
    assert region is not None
    scores = detect(tiny_series, tiny_bundle, narrow, device="cpu").score
    assert found.maxima == pytest.approx([float(np.nanmax(scores[region]))])
    assert found != whole
