from __future__ import annotations

import pytest

from napari_followup.methods import METHODS, method_class, method_recipes
from napari_followup.plugin.method_recipes import GIVES, RECIPES


def test_every_method_has_its_recipes_here() -> None:
    assert set(RECIPES) == set(GIVES) == set(METHODS)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_recipes_are_those_of_the_method(name: str) -> None:
    assert RECIPES[name] == method_recipes(name)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_it_gives_what_the_method_gives(name: str) -> None:
    assert GIVES[name] == method_class(name).gives
