from __future__ import annotations

import pytest
import torch

from napari_followup.methods import (
    METHODS,
    method_class,
    method_config,
    method_presets,
    method_recipe,
    method_recipes,
)
from napari_followup.methods.method import Method
from napari_followup.methods.tdm import TDMConfig


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_of_the_table_has_the_members_that_are_called(name: str) -> None:
    kind = method_class(name)

    assert issubclass(kind, torch.nn.Module)
    assert kind.stages
    assert kind.samples in ("planes", "series", "volumes", "labelled")
    assert kind.gives
    assert kind.gives <= {"healthy", "score", "features"}
    called = ("config_type", "options_type", "samples", "fitted", "gives", "check_options")
    for member in (*called, "examine", "loss", "begin", "parts_of", "refines", "refined"):
        assert hasattr(kind, member)
        assert member in {*vars(Method), *Method.__annotations__}


@pytest.mark.parametrize("name", sorted(METHODS))
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


@pytest.mark.parametrize("name", ["anoddpm", "pddpm", "cddpm", "vae3d", "sadm"])
def test_behrendts_methods_share_their_steps_after_the_score(name: str) -> None:
    recipe = method_recipes(name)["published"]

    assert (recipe.erosion, recipe.smallest, recipe.dilation) == (3, 7, 0)
    if name == "sadm":  # which filters one of its two branches alone
        assert (recipe.median, recipe.options["median"]) == (1, 5)
    else:
        assert (recipe.median, recipe.volume_median) == (5, True)


def test_andi_widens_its_mask_by_a_pixel() -> None:
    assert method_recipes("andi")["published"].dilation == 1


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_has_a_recipe_that_its_options_know(name: str) -> None:
    recipe = method_recipe(name)

    assert set(recipe.options) <= set(method_class(name).options_type.__dataclass_fields__)
