from __future__ import annotations

from dataclasses import fields
from typing import get_type_hints

import pytest

from napari_followup.methods import METHODS, method_class
from napari_followup.plugin.method_options import OPTIONS


def test_every_method_has_its_options_here() -> None:
    assert set(OPTIONS) == set(METHODS)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_options_are_those_of_the_method(name: str) -> None:
    own = method_class(name).options_type
    hints = get_type_hints(own)

    assert [(option.name, option.kind, option.default) for option in OPTIONS[name]] == [
        (field.name, hints[field.name], field.default) for field in fields(own)
    ]


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_method_takes_its_lowest_numbers(name: str) -> None:
    lowest = {o.name: o.between[0] for o in OPTIONS[name] if o.kind is int}
    lowest |= {"last_step": 2} if "last_step" in lowest else {}  # it lies above the first

    assert method_class(name).options_type(**lowest)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_option_is_explained(name: str) -> None:
    for option in OPTIONS[name]:
        assert len(option.tip) > 15
        assert option.title
        assert option.left


def test_what_is_left_to_the_method_is_said() -> None:
    said = {option.name: option.left for option in OPTIONS["pddpm"]}

    assert said["noise_levels"] == "500 (default)"
    assert said["patch"] == "as trained"
    assert said["overlap"] == "0 (default)"
    assert OPTIONS["pddpm"][0].title == "noise levels"
