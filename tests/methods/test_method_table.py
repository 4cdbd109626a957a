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
from napari_followup.methods.recipes import RECIPES
from napari_followup.methods.tdm import TDMConfig


@pytest.mark.parametrize("name", sorted(METHODS))
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


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_recipes_of_a_method_are_found_by_its_name(name: str) -> None:
    recipes = method_recipes(name)

    assert recipes == RECIPES[name]
    assert method_recipe(name) == recipes["default"]


def test_an_unknown_method_has_no_recipes() -> None:
    with pytest.raises(ValueError, match=r"no method 'magic'; this version knows .*sdm"):
        method_recipes("magic")
