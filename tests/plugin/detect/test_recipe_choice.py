from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from napari_followup.methods.table import TABLE
from napari_followup.plugin.detect.recipe_form import CUSTOM, RecipeChoice
from napari_followup.recipe.recipe import Fam, Fixed, Pixel, Recipe, Temporal

pytestmark = pytest.mark.viewer

Header = Callable[..., Path]


@pytest.fixture
def choice(qtbot: Any, kept: SimpleNamespace) -> RecipeChoice:
    made = RecipeChoice()
    qtbot.addWidget(made)
    return made


def names(choice: RecipeChoice) -> list[str]:
    return [choice.preset.itemText(n) for n in range(choice.preset.count())]


@pytest.mark.parametrize(
    ("method", "parts", "expected"),
    [
        ("sdm", (), ["default", "published", CUSTOM]),
        ("sdm", ("tdm",), ["default", "published", "temporal", CUSTOM]),
        ("tdm", (), ["default", "temporal", CUSTOM]),
        ("andi", (), ["default", "published", CUSTOM]),
    ],
)
def test_the_recipes_on_offer_are_those_of_the_model(
    choice: RecipeChoice,
    header_of: Header,
    method: str,
    parts: tuple[str, ...],
    expected: list[str],
) -> None:
    choice.follow(str(header_of(method, parts)))

    assert names(choice) == expected
    assert choice.preset.currentText() == "default"
    assert choice.recipe == TABLE[method].recipes["default"]
    assert choice.note.isHidden()


@pytest.mark.parametrize("method", sorted(TABLE))
def test_every_recipe_of_every_method_can_be_chosen_and_is_followed(
    choice: RecipeChoice, header_of: Header, method: str
) -> None:
    choice.follow(str(header_of(method)))
    for name, recipe in reversed(TABLE[method].recipes.items()):
        choice.preset.setCurrentText(name)

        assert choice.checked() == recipe
        assert choice.preset.currentText() == name


def test_a_model_s_own_recipe_is_the_default_one(choice: RecipeChoice, header_of: Header) -> None:
    own = Recipe(options={"draws": 7}, score=Pixel(tolerance=0.5), median=3)
    choice.follow(str(header_of("cddpm", recipe=own.as_dict())))

    assert choice.recipe == own
    assert choice.remembered == ""


def test_of_two_recipes_alike_the_chosen_one_keeps_its_name(
    choice: RecipeChoice, header_of: Header
) -> None:
    choice.follow(str(header_of("tdm")))
    choice.preset.setCurrentText("temporal")

    assert choice.preset.currentText() == "temporal"
    assert choice.recipe == Recipe.temporal()


def test_models_are_changed_back_and_forth(choice: RecipeChoice, header_of: Header) -> None:
    sdm, andi = str(header_of("sdm")), str(header_of("andi"))
    for _ in range(2):
        choice.follow(andi)
        assert list(choice.form.options_form.widgets)[:2] == ["first_step", "last_step"]
        assert choice.recipe == TABLE["andi"].recipes["default"]
        choice.follow(sdm)
        assert next(iter(choice.form.options_form.widgets)) == "noise_levels"
        assert choice.recipe == Recipe.default()
        assert choice.note.isHidden()


def test_a_named_recipe_is_kept_by_its_name(choice: RecipeChoice, header_of: Header) -> None:
    choice.follow(str(header_of("sdm", ("tdm",))))
    choice.preset.setCurrentText("published")
    choice.follow(str(header_of("andi")))
    assert choice.recipe == TABLE["andi"].recipes["published"]

    choice.follow(str(header_of("sdm", ("tdm",))))
    choice.preset.setCurrentText("temporal")
    choice.follow(str(header_of("andi")))
    assert choice.preset.currentText() == "default"
    assert choice.recipe == TABLE["andi"].recipes["default"]


def test_a_named_recipe_that_the_next_model_lacks_gives_way_and_that_is_said(
    choice: RecipeChoice, header_of: Header
) -> None:
    choice.follow(str(header_of("sdm")))
    choice.preset.setCurrentText("published")
    choice.follow(str(header_of("andi")))
    assert choice.note.isHidden()
    choice.follow(str(header_of("tdm")))

    assert choice.recipe == TABLE["tdm"].recipes["default"]
    assert not choice.note.isHidden()
    assert choice.note.text() == (
        "This model has no recipe 'published'; its default recipe is used"
    )
    choice.follow(str(header_of("sdm")))
    assert choice.note.isHidden()  # it was about the model before


def test_a_recipe_set_by_hand_stays_where_it_suits_the_next_model(
    choice: RecipeChoice, header_of: Header
) -> None:
    mine = Recipe(options={"noise_levels": (70,), "draws": 3}, threshold=Fixed(value=0.25))
    choice.follow(str(header_of("sdm")))
    choice.recipe = mine
    choice.follow(str(header_of("cddpm")))

    assert choice.preset.currentText() == CUSTOM
    assert choice.recipe == mine
    assert choice.note.isHidden()


def test_a_recipe_set_by_hand_for_another_method_gives_way_and_that_is_said(
    choice: RecipeChoice, header_of: Header
) -> None:
    choice.follow(str(header_of("sdm")))
    choice.recipe = Recipe(options={"draws": 3}, threshold=Fixed(value=0.25))
    choice.follow(str(header_of("andi")))

    assert choice.recipe == TABLE["andi"].recipes["default"]
    assert not choice.note.isHidden()
    assert "default recipe is used" in choice.note.text()
    assert "ANDi gives no healthy image" in choice.note.text()
    choice.form.widgets["median"].value = 3
    assert choice.note.isHidden()  # it was about the recipe before


def test_numbers_that_cannot_be_read_give_way_to_the_default(
    choice: RecipeChoice, header_of: Header
) -> None:
    choice.follow(str(header_of("sdm")))
    choice.form.options_form.widgets["noise_levels"].native.setText("high")
    choice.form.changed.emit()
    assert choice.preset.currentText() == CUSTOM
    choice.follow(str(header_of("pddpm")))

    assert choice.recipe == TABLE["pddpm"].recipes["default"]
    assert "default recipe is used" in choice.note.text()


def test_the_same_model_again_changes_nothing(choice: RecipeChoice, header_of: Header) -> None:
    choice.follow(str(header_of("sdm")))
    choice.form.options_form.widgets["noise_levels"].native.setText("high")
    choice.follow(str(header_of("sdm")))

    assert choice.form.options_form.widgets["noise_levels"].native.text() == "high"


def test_a_recipe_is_remembered_unless_it_is_the_default(
    choice: RecipeChoice, header_of: Header
) -> None:
    choice.follow(str(header_of("andi")))
    assert choice.remembered == ""
    mine = replace(TABLE["andi"].recipes["default"], options={"stride": 25, "mean": "arithmetic"})
    choice.recipe = mine
    text = choice.remembered
    assert json.loads(text)["options"] == {"stride": 25, "mean": "arithmetic"}

    choice.recipe = TABLE["andi"].recipes["default"]
    choice.remembered = text
    assert choice.recipe == mine


def test_a_remembered_recipe_of_another_method_gives_way_and_that_is_said(
    choice: RecipeChoice, header_of: Header
) -> None:
    choice.follow(str(header_of("andi")))
    choice.remembered = json.dumps(Recipe(options={"draws": 3}).as_dict())
    assert choice.recipe == TABLE["andi"].recipes["default"]
    assert "default recipe is used" in choice.note.text()

    choice.remembered = "{"
    assert choice.recipe == TABLE["andi"].recipes["default"]
    assert "cannot be read" in choice.note.text()


def test_preferred_steps_are_taken_where_the_method_has_them(
    choice: RecipeChoice, header_of: Header, kept: SimpleNamespace
) -> None:
    kept.sampling_steps = 9
    for method, has_steps in (("cddpm", True), ("andi", False), ("vae3d", False), ("tdm", False)):
        choice.follow(str(header_of(method)))

        assert choice.recipe.options.get("sampling_steps") == (9 if has_steps else None)
        assert choice.preset.currentText() == "default"
        assert choice.checked()


def test_what_the_model_cannot_follow_is_refused_before_a_run(
    choice: RecipeChoice, header_of: Header
) -> None:
    choice.follow(str(header_of("andi")))
    choice.recipe = Recipe(score=Pixel())
    with pytest.raises(ValueError, match="ANDi gives no healthy image to compare with; choose"):
        choice.checked()

    choice.recipe = Recipe(score=Temporal())
    with pytest.raises(ValueError, match="ANDi has no TDM beside it"):
        choice.checked()


def test_what_is_set_below_is_asked_for(choice: RecipeChoice, qtbot: Any) -> None:
    with qtbot.waitSignal(choice.customized, timeout=1000):
        choice.preset.setCurrentText(CUSTOM)


def test_why_a_recipe_gave_way_is_said_whole(choice: RecipeChoice, header_of: Header) -> None:
    choice.follow(str(header_of("sdm")))
    choice.recipe = Recipe(score=Fam(), median=3)
    choice.follow(str(header_of("vae3d")))

    assert choice.note.text() == (
        "The recipe that was set does not fit this model; the model's default recipe is used "
        "(score: VAE gives no features to compare images by (SDM does; bundle join puts one beside "
        "it))"
    )


def test_patches_larger_than_the_images_are_refused_before_a_run(
    choice: RecipeChoice, header_of: Header
) -> None:
    choice.follow(str(header_of("pddpm", config={"image_size": [64, 64]})))
    choice.form.options_form.widgets["patch"].native.setText("128, 128")

    with pytest.raises(ValueError, match=r"patch: got 128 x 128 pixels, larger than .* 64 x 64;"):
        choice.checked()
    choice.form.options_form.widgets["patch"].native.setText("64, 32")
    assert choice.checked().options["patch"] == (64, 32)
