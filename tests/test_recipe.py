from __future__ import annotations

import json
from dataclasses import replace

import pytest

from napari_followup.recipe import (
    Fam,
    Fixed,
    HealthyHysteresis,
    HealthyQuantile,
    Lafm,
    Pixel,
    Quantile,
    Recipe,
    Support,
    Temporal,
    Yen,
)

RECIPES = [
    Recipe(),
    Recipe.default(),
    Recipe.published(),
    Recipe(
        options={"noise_levels": (100, 250), "start": "infer"},
        score=Fam(levels=(1, 2), blur=1.5),
        fusion=Support(reach=2),
        threshold=Fixed(value=0.25),
        floor=0.999,
    ),
    Recipe(score=Pixel(tolerance=0.5), fusion=Lafm(sigma=0.0), threshold=Quantile(q=0.9)),
    Recipe(threshold=HealthyHysteresis()),
    Recipe.temporal(),
    Recipe(score=Temporal(tolerance=1.0, draws=3), imputed_references=True),
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_comes_back_from_json(recipe: Recipe) -> None:
    assert Recipe.from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe


def test_the_published_recipe_is_the_thesis() -> None:
    recipe = Recipe.published()

    assert recipe.options == {"noise_levels": (250,), "draws": 1, "sampling_steps": 100}
    assert recipe.score == Fam(weight=1.0, levels=(2, 3), blur=0.0)
    assert recipe.fusion == Lafm(sigma=2.5, beta=1.0, gamma=0.1)
    assert (recipe.median, recipe.rescale, recipe.floor) == (5, True, None)
    assert recipe.threshold == Yen(per="patient", pixel_too=True)


def test_recipes_that_differ_in_the_cut_only_share_their_healthy_scores() -> None:
    recipe = Recipe.published()

    assert (
        replace(recipe, threshold=Fixed(), floor=0.9, rescale=False).score_key == recipe.score_key
    )
    assert replace(recipe, fusion=None).score_key != recipe.score_key
    assert replace(recipe, median=3).score_key != recipe.score_key
    assert Recipe(options={"draws": 2}).score_key != Recipe().score_key


def test_the_key_does_not_depend_on_the_order_of_the_options() -> None:
    one = Recipe(options={"draws": 2, "sampling_steps": 3})
    other = Recipe(options={"sampling_steps": 3, "draws": 2})

    assert one.score_key == other.score_key


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"colour": 1}, "a recipe has no colour; it has options, score, fusion"),
        ({"score": {"kind": "Magic"}}, "a recipe knows no 'Magic'; it knows Pixel, Fam"),
        ({"threshold": {"kind": "Fixed", "height": 1}}, "Fixed has no height; it has value"),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(
    values: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        Recipe.from_dict(values)


@pytest.mark.parametrize(
    ("kind", "settings", "problem"),
    [
        (Pixel, {"tolerance": -1}, "tolerance must not be negative, got -1"),
        (Fam, {"levels": ()}, "stages 1 to 4"),
        (Fam, {"levels": (5,)}, "stages 1 to 4"),
        (Fam, {"blur": -1}, "weight and blur must not be negative"),
        (Lafm, {"sigma": -1}, "sigma and gamma must not be negative"),
        (Lafm, {"beta": 1.5}, "beta must lie in \\[0, 1\\], got 1.5"),
        (Support, {"reach": -1}, "sigma, gain and reach must not be negative"),
        (
            Temporal,
            {"tolerance": -1},
            "tolerance must not be negative and draws at least 1, got -1",
        ),
        (Temporal, {"draws": 0}, "draws at least 1, got 2.0 and 0"),
        (Quantile, {"q": 97}, "q must lie in \\[0, 1\\], got 97"),
        (HealthyQuantile, {"q": -0.1}, "q must lie in"),
        (Recipe, {"median": 4}, "median must be an odd number of pixels"),
        (Recipe, {"median": 0}, "median must be an odd number of pixels"),
        (Recipe, {"floor": 2.0}, "floor must lie in"),
    ],
)
def test_settings_are_checked_where_they_are_made(
    kind: type, settings: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        kind(**settings)


def test_a_recipe_written_before_references_could_be_imputed_is_read() -> None:
    values = Recipe.default().as_dict()
    del values["imputed_references"]

    assert Recipe.from_dict(values) == Recipe.default()


def test_options_of_another_method_do_not_shape_the_temporal_residual() -> None:
    usual = Recipe.temporal()
    switched = replace(Recipe.default(), score=usual.score, fusion=None)

    assert switched.options != usual.options
    assert switched.score_key == usual.score_key
    assert replace(usual, score=Temporal(tolerance=1.0)).score_key != usual.score_key
