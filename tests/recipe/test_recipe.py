from __future__ import annotations

import json
import re
import tomllib
from dataclasses import fields, replace
from pathlib import Path
from types import NoneType
from typing import get_args

import pytest

from napari_followup.recipe.recipe import (
    Fam,
    Fixed,
    Fusion,
    HealthyHysteresis,
    HealthyQuantile,
    Lafm,
    Mahalanobis,
    Pixel,
    Quantile,
    Recipe,
    Score,
    Ssim,
    Support,
    Temporal,
    Threshold,
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
    Recipe(score=Ssim(sigmas=(0.3, 1.0))),
    Recipe(score=Mahalanobis(full=False, ridge=1e-4, with_ssim=False)),
    Recipe(score=Temporal(tolerance=1.0, draws=3), imputed_references=True),
    Recipe(threshold=Yen(per="dataset", pixel_too=False), erosion=3, dilation=1),
    Recipe(threshold=Quantile(q=0.9, per="pixel")),
]


PER = ("image", "patient", "pixel", "dataset")


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


def test_recipes_that_differ_in_the_threshold_only_share_their_healthy_scores() -> None:
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
        (Ssim, {"sigmas": ()}, "sigmas must be one or more numbers above 0"),
        (Ssim, {"sigmas": (1.0, 0.0)}, "sigmas must be one or more numbers above 0"),
        (Mahalanobis, {"ridge": 0.0}, "ridge must be above 0"),
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
        (Recipe, {"blur": -1.0}, "blur must be a sigma in pixels, 0 for none; got -1.0"),
        (Recipe, {"blur": float("nan")}, "blur must be a finite number; got nan"),
        (Recipe, {"median": 2.5}, "median must be a whole number; got 2.5"),
        (Recipe, {"smallest": "7"}, "smallest must be a finite number; got '7'"),
        (Recipe, {"floor": "x"}, "floor must be a finite number or none at all; got 'x'"),
        (Recipe, {"rescale": "no"}, "rescale must be true or false; got 'no'"),
        (Recipe, {"options": [1]}, r"options must be a table of names and values; got \[1\]"),
        (
            Recipe,
            {"fusion": Yen()},
            r"fusion must be Lafm\(\) or Support\(\) or none at all; got Yen",
        ),
        (Fixed, {"value": float("nan")}, "value must be a finite number; got nan"),
        (Fixed, {"value": "0.1"}, "value must be a finite number; got '0.1'"),
        (Temporal, {"draws": True}, "draws must be a whole number; got True"),
        (
            Ssim,
            {"sigmas": 1.0},
            r"sigmas must be values in brackets, \(a finite number, \.",
        ),
        (Recipe, {"floor": 2.0}, "floor must lie in"),
        (Recipe, {"dilation": -1}, "dilation must be a number of pixels, 0 for none; got -1"),
        (Recipe, {"erosion": -3}, "erosion must be a number of pixels, 0 for none; got -3"),
        (Recipe, {"erosion": 1.5}, "erosion must be a whole number; got 1.5"),
        (Yen, {"per": "pixel"}, "per must be one of patient, dataset; got 'pixel'"),
        (Yen, {"per": "image"}, "per must be one of patient, dataset; got 'image'"),
        (
            Quantile,
            {"per": "visit"},
            "per must be one of image, patient, pixel, dataset; got 'visit'",
        ),
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


def test_keys_of_earlier_versions_stay_as_they_were() -> None:
    assert Recipe.default().score_key == (
        '{"fusion": {"gain": 0.3, "kind": "Support", "reach": 1.0, "sigma": 2.5}, "median": 1.0, '
        '"options": {"draws": 2.0, "noise_levels": [50.0, 100.0], "sampling_steps": 1.0}, '
        '"score": {"kind": "Pixel", "tolerance": 2.0}}'
    )


def test_a_recipe_written_before_a_setting_was_there_is_read_with_its_default() -> None:
    values = Recipe.default().as_dict()
    for name in ("volume_median", "blur", "smallest", "erosion", "dilation"):
        del values[name]

    assert Recipe.from_dict(values) == Recipe.default()
    assert Recipe.from_dict({"threshold": {"kind": "Quantile", "q": 0.9}}).threshold == Quantile(
        q=0.9, per="patient"
    )


def test_settings_for_volumes_go_there_and_back() -> None:
    recipe = Recipe(median=3, volume_median=True, blur=1.5, smallest=12.5)

    assert Recipe.from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe


def test_healthy_scores_are_found_again_by_recipes_that_score_alike() -> None:
    plain, filtered = Recipe.default(), Recipe(median=3)

    assert replace(plain, smallest=9.0).score_key == plain.score_key
    assert replace(plain, dilation=1).score_key == plain.score_key
    assert replace(plain, erosion=3).score_key != plain.score_key  # the rim is left out there, too
    assert replace(plain, threshold=Yen(per="dataset")).score_key == plain.score_key
    assert replace(plain, volume_median=True).score_key == plain.score_key  # no median at all
    assert set(json.loads(plain.score_key)) == {"options", "score", "fusion", "median"}
    assert replace(filtered, volume_median=True).score_key != filtered.score_key
    assert replace(plain, blur=1.0).score_key != plain.score_key


@pytest.mark.parametrize("smallest", [-1.0, float("nan"), float("inf")])
def test_a_smallest_part_without_a_size_is_refused(smallest: float) -> None:
    with pytest.raises(ValueError, match=r"smallest must be a (size, 0 to keep|finite number)"):
        Recipe(smallest=smallest)


def test_a_file_may_name_the_recipe_that_it_changes() -> None:
    known = {"default": Recipe.default(), "published": Recipe.published()}
    values = {"base": "default", "median": 3, "options": {"draws": 4}}

    found = Recipe.from_dict(values, known)

    options = {"noise_levels": (50, 100), "draws": 4, "sampling_steps": 1}
    assert found == replace(Recipe.default(), median=3, options=options)
    assert Recipe.from_dict({"base": "published"}, known) == Recipe.published()
    assert Recipe.from_dict({"median": 3}, known) == Recipe(median=3)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"base": "mine"}, "base: got 'mine'; give one of default"),
        ({"base": "default", "options": [1]}, r"options must be a table .* got \[1\]"),
        ({"score": "Ssim"}, 'score: got .Ssim.; write score = {kind = "Ssim"}'),
        ({"score": 3}, r"score must be Pixel\(\) or .* got 3"),
    ],
)
def test_a_file_that_makes_no_recipe_says_what_to_write(
    values: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        Recipe.from_dict(values, {"default": Recipe.default()})


def test_a_base_is_no_word_of_a_recipe_where_none_are_known() -> None:
    with pytest.raises(ValueError, match="a recipe has no base; it has options"):
        Recipe.from_dict({"base": "default"})


def test_a_threshold_for_many_series_differs_from_one_of_each() -> None:
    pooled = [
        kind(per=word).per
        for kind, words in ((Yen, ("patient", "dataset")), (Quantile, PER))
        for word in words
        if Recipe(threshold=kind(per=word)).is_pooled
    ]

    assert pooled == ["dataset", "pixel", "dataset"]
    assert not Recipe(threshold=Fixed()).is_pooled
    assert not Recipe.default().is_pooled


def test_recipes_in_the_documents_can_be_read() -> None:
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
    texts = [
        *re.findall(r"```toml\n(.*?)```", page, re.DOTALL),
        *re.findall(r"^\| `(.*?)` \|", page, re.MULTILINE),
    ]

    known = {"default": Recipe.default()}
    recipes = [Recipe.from_dict(tomllib.loads(text), known) for text in texts]

    kinds = {(type(each.threshold), getattr(each.threshold, "per", "")) for each in recipes}
    assert {(Yen, "dataset"), (Quantile, "pixel"), (Quantile, "image")} <= kinds
    assert {each.erosion for each in recipes} == {0, 3}
    assert recipes[0].options["noise_levels"] == (100, 250, 500)
    options = {"noise_levels": (50, 100), "draws": 4, "sampling_steps": 1}
    assert replace(Recipe.default(), smallest=7, options=options) in recipes


def test_a_field_of_a_recipe_reaches_files_forms_and_documents() -> None:
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
    in_files_alone = {"options", "score", "fusion", "threshold", "rescale", "floor"}

    assert list(Recipe().as_dict()) == [each.name for each in fields(Recipe)]
    for each in fields(Recipe):
        assert each.name in page, f"docs/recipes.md does not name {each.name}"
        assert each.metadata.get("tip") or each.name in in_files_alone
    for kind in (each for union in (Score, Fusion, Threshold) for each in get_args(union)):
        for each in () if kind is NoneType else fields(kind):
            assert each.metadata["tip"], f"{kind.__name__}.{each.name} has no tip"
