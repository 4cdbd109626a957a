from __future__ import annotations

import pytest
import torch

from napari_followup.methods import METHODS, method_class, method_presets, method_recipe
from napari_followup.methods.method import Method, Visits


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_of_the_table_has_the_members_that_are_called(name: str) -> None:
    kind = method_class(name)

    assert issubclass(kind, torch.nn.Module)
    assert kind.stages
    assert kind.samples in ("planes", "series")
    called = ("config_type", "options_type", "samples", "fitted")
    for member in (*called, "examine", "loss", "begin", "parts_of"):
        assert hasattr(kind, member)
        assert member in {*vars(Method), *Method.__annotations__}


@pytest.mark.parametrize("name", sorted(METHODS))
def test_presets_are_configurations_of_their_method(name: str) -> None:
    presets = method_presets(name)

    assert "compact" in presets
    assert {"thesis", "published"} & set(presets)
    assert all(isinstance(preset, method_class(name).config_type) for preset in presets.values())


def test_an_unknown_method_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no method 'magic'; this version knows .*sdm"):
        method_class("magic")


def test_planes_come_back_to_their_visit_modality_and_depth() -> None:
    visits = Visits(images=torch.rand(3, 2, 4, 5, 6), ages=torch.arange(3.0))

    planes = visits.planes

    assert planes.shape == (12, 2, 5, 6)
    assert torch.equal(planes[1 * 4 + 3], visits.images[1, :, 3])
    assert torch.equal(visits.unplane(torch.stack([planes, -planes]))[1], -visits.images)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_has_a_recipe_that_its_options_know(name: str) -> None:
    recipe = method_recipe(name)

    assert set(recipe.options) <= set(method_class(name).options_type.__dataclass_fields__)
