from __future__ import annotations

from napari_followup.bundle import ModelBundle
from napari_followup.recipe import Recipe
from napari_followup.stack import VisitStack
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
