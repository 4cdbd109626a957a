from __future__ import annotations

import pytest

from napari_followup.methods import METHODS, method_recipe, method_recipes
from napari_followup.methods.options import OPTION_TYPES
from napari_followup.methods.recipes import RECIPES
from napari_followup.recipe.recipe import Recipe


def test_every_method_has_a_recipe() -> None:
    assert set(RECIPES) == set(METHODS)
    assert {name for name in RECIPES if "published" not in RECIPES[name]} == {"tdm"}


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_options_of_a_recipe_are_those_of_its_method(name: str) -> None:
    for recipe in RECIPES[name].values():
        assert OPTION_TYPES[name](**recipe.options)
        assert Recipe.from_dict(recipe.as_dict()) == recipe


@pytest.mark.parametrize("name", ["anoddpm", "pddpm", "cddpm", "vae3d", "sadm"])
def test_behrendts_methods_share_their_steps_after_the_score(name: str) -> None:
    recipe = RECIPES[name]["published"]

    assert (recipe.erosion, recipe.smallest, recipe.dilation) == (3, 7, 0)
    if name == "sadm":  # which filters one of its two branches alone
        assert (recipe.median, recipe.volume_median) == (1, False)
        assert recipe.options == {"median": 5}
    else:
        assert (recipe.median, recipe.volume_median) == (5, True)


@pytest.mark.parametrize("name", ["anoddpm", "pddpm"])
def test_methods_of_one_published_level_decode_from_it_by_themselves(name: str) -> None:
    assert OPTION_TYPES[name]() == OPTION_TYPES[name](**RECIPES[name]["published"].options)


def test_cddpm_averages_three_published_levels() -> None:
    assert RECIPES["cddpm"]["published"].options == {"noise_levels": (250, 500, 750)}


def test_andi_widens_its_mask_by_a_pixel() -> None:
    assert RECIPES["andi"]["published"].dilation == 1


def test_a_caller_cannot_change_the_table() -> None:
    method_recipes("sdm")["default"] = Recipe()

    assert method_recipe("sdm") == Recipe.default()
