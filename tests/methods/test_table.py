from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
import torch

from napari_followup import methods
from napari_followup.methods import (
    method_class,
    method_config,
    method_presets,
    method_recipe,
    method_recipes,
)
from napari_followup.methods.method import Method
from napari_followup.methods.table import (
    LACKS,
    NEEDS,
    TABLE,
    given_by,
    lack_of,
    possible_scores,
)
from napari_followup.methods.tdm import TDMConfig
from napari_followup.recipe.recipe import (
    Fam,
    Mahalanobis,
    Own,
    Pixel,
    Recipe,
    Score,
    Ssim,
    Temporal,
)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_method_of_the_table_has_the_members_that_are_called(name: str) -> None:
    kind = method_class(name)

    assert issubclass(kind, torch.nn.Module)
    assert kind.stages
    assert kind.samples in ("planes", "series", "volumes", "labelled")
    assert kind.gives
    assert kind.gives <= {"healthy", "score", "features"}
    labels = ("takes_labels", "masked_stages")
    called = ("config_type", "options_type", "samples", "fitted", "gives", "check_options")
    for member in (*called, "examine", "loss", "begin", "parts_of", "refines", "refined", *labels):
        assert hasattr(kind, member)
        assert member in {*vars(Method), *Method.__annotations__}


@pytest.mark.parametrize("name", sorted(TABLE))
def test_presets_are_configurations_of_their_method(name: str) -> None:
    presets = method_presets(name)

    assert "compact" in presets
    assert {"thesis", "published"} & set(presets)
    assert all(isinstance(preset, method_class(name).config_type) for preset in presets.values())


def test_a_configuration_comes_back_from_plain_values() -> None:
    assert method_config("tdm", {"channels": [8, 16], "age_range": None}) == TDMConfig(
        channels=(8, 16), age_range=None
    )
    with pytest.raises(TypeError, match="magic"):
        method_config("tdm", {"magic": 1})


def test_an_unknown_method_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no method 'magic'; this version knows .*sdm"):
        method_class("magic")


@pytest.mark.parametrize("name", sorted(TABLE))
def test_the_recipes_of_a_method_are_found_by_its_name(name: str) -> None:
    recipes = method_recipes(name)

    assert recipes == TABLE[name].recipes
    assert method_recipe(name) == recipes["default"]


def test_an_unknown_method_has_no_recipes() -> None:
    with pytest.raises(ValueError, match=r"no method 'magic'; this version knows .*sdm"):
        method_recipes("magic")


@pytest.mark.parametrize("name", sorted(TABLE))
def test_the_class_of_a_method_gives_what_the_table_says(name: str) -> None:
    assert method_class(name).gives == TABLE[name].gives


@pytest.mark.parametrize("name", sorted(TABLE))
def test_the_class_of_a_method_takes_the_labels_that_the_table_says(name: str) -> None:
    kind, takes = method_class(name), TABLE[name].labels

    assert kind.takes_labels == takes
    if takes is not None:
        assert (
            getattr(kind.config_type(), takes.made_by) is True
        )  # labels are never needed at first
    assert bool(kind.masked_stages or name == "sadm") == (
        takes is not None and takes.per == "pixel"
    )


def test_the_tables_are_complete() -> None:
    files = {path.stem for path in Path(methods.__file__).parent.glob("*.py")}
    assert set(TABLE) == files - {"__init__", "method", "options", "table"}
    assert set(NEEDS) == set(get_args(Score))
    assert {need for needs in NEEDS.values() for need in needs} == set(LACKS)


def test_a_method_hands_on_the_features_of_the_one_underneath() -> None:
    assert given_by("sadm", {"base": "sdm"}, ()) == {"healthy", "score", "features", "draws"}
    assert given_by("sadm", {"base": "anofpdm"}, ()) == {"healthy", "score"}
    assert given_by("sdm", {}, ()) == {"healthy", "features", "draws"}


@pytest.mark.parametrize("name", sorted(name for name in TABLE if "healthy" in TABLE[name].gives))
def test_several_healthy_images_come_of_options_that_ask_for_them(name: str) -> None:
    options = {each.name for each in fields(TABLE[name].options)}

    asks = bool(options & {"draws", "noise_levels"})
    assert ("draws" in given_by(name, {}, ())) == (asks or name == "sadm")  # by what is underneath


def test_an_sdm_beside_a_method_lends_features_to_its_healthy_images() -> None:
    assert given_by("vae3d", {}, ["sdm"]) == {"healthy", "features", "draws"}
    assert given_by("andi", {}, ["sdm"]) == {"score"}


def test_a_tdm_predicts_wherever_it_stands() -> None:
    assert given_by("tdm", {}, ()) == {"healthy", "temporal", "draws"}
    assert given_by("andi", {}, ["tdm"]) == {"score", "temporal"}


def test_the_first_thing_that_a_score_lacks_is_said() -> None:
    assert lack_of(Fam, {"healthy", "features"}) == ""
    assert lack_of(Fam, {"healthy"}) == (
        "gives no features to compare images by (SDM does; bundle join puts one beside it)"
    )
    assert lack_of(Fam, {"score"}) == "gives no healthy image to compare with"
    assert lack_of(Own, {"healthy"}) == "brings no score of its own"


def test_only_scores_that_lack_nothing_are_possible() -> None:
    assert possible_scores({"healthy"}) == [Pixel, Ssim]
    assert possible_scores({"healthy", "draws"}) == [Pixel, Ssim, Mahalanobis]
    assert possible_scores({"score", "temporal"}) == [Temporal, Own]
    assert possible_scores(()) == []


def test_every_method_has_a_recipe() -> None:
    assert all("default" in row.recipes for row in TABLE.values())
    assert {name for name in TABLE if "published" not in TABLE[name].recipes} == {"tdm"}


@pytest.mark.parametrize("name", sorted(TABLE))
def test_the_options_of_a_recipe_are_those_of_its_method(name: str) -> None:
    for recipe in TABLE[name].recipes.values():
        assert TABLE[name].options(**recipe.options)
        assert Recipe.from_dict(recipe.as_dict()) == recipe


@pytest.mark.parametrize("name", ["anoddpm", "pddpm", "cddpm", "vae3d", "sadm"])
def test_behrendts_methods_share_their_steps_after_the_score(name: str) -> None:
    recipe = TABLE[name].recipes["published"]

    assert (recipe.erosion, recipe.smallest, recipe.dilation) == (3, 7, 0)
    if name == "sadm":  # which filters one of its two branches alone
        assert (recipe.median, recipe.volume_median) == (1, False)
        assert recipe.options == {"median": 5}
    else:
        assert (recipe.median, recipe.volume_median) == (5, True)


@pytest.mark.parametrize("name", ["anoddpm", "pddpm"])
def test_methods_of_one_published_level_decode_from_it_by_themselves(name: str) -> None:
    assert TABLE[name].options() == TABLE[name].options(**TABLE[name].recipes["published"].options)


def test_cddpm_averages_three_published_levels() -> None:
    assert TABLE["cddpm"].recipes["published"].options == {"noise_levels": (250, 500, 750)}


def test_andi_widens_its_mask_by_a_pixel() -> None:
    assert TABLE["andi"].recipes["published"].dilation == 1


def test_a_caller_cannot_change_the_table() -> None:
    method_recipes("sdm")["default"] = Recipe()

    assert method_recipe("sdm") == Recipe.default()
