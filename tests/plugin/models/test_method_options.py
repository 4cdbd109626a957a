from __future__ import annotations

from typing import Literal

import pytest

from napari_followup.methods import METHODS
from napari_followup.methods.options import OPTION_TYPES
from napari_followup.plugin.models.method_options import OPTIONS


def test_every_method_has_its_options_here() -> None:
    assert set(OPTIONS) == set(METHODS)


def test_an_option_is_read_from_its_field() -> None:
    found = {option.name: option for option in OPTIONS["pddpm"]}

    assert list(found) == ["noise_levels", "draws", "sampling_steps", "patch", "overlap"]
    assert found["noise_levels"].kind == tuple[int, ...]
    assert found["patch"].kind == tuple[int, int] | None
    assert (found["overlap"].default, found["overlap"].between) == (0, (0, 1000))
    sdm = {option.name: option for option in OPTIONS["sdm"]}
    assert sdm["noise_levels"].default == (250,)  # the field of the method, not of its base
    assert sdm["start"].kind == Literal["semantic", "infer"]


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_method_takes_its_lowest_numbers(name: str) -> None:
    lowest = {o.name: o.between[0] for o in OPTIONS[name] if o.kind is int}
    lowest |= {"last_step": 2} if "last_step" in lowest else {}  # it lies above the first

    assert OPTION_TYPES[name](**lowest)


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
    assert OPTIONS["pddpm"][3].title == "patch (y, x)"
