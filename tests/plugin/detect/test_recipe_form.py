from __future__ import annotations

from dataclasses import fields
from typing import Any, get_type_hints

import pytest
from qtpy.QtWidgets import QLabel

from napari_followup.methods.table import TABLE
from napari_followup.plugin.detect.recipe_form import (
    OptionsForm,
    RecipeForm,
    left_to_method,
    with_options,
)
from napari_followup.plugin.forms.fields import kinds_of
from napari_followup.plugin.models.model_choice import ModelFacts
from napari_followup.recipe.recipe import (
    Fam,
    Fixed,
    Fusion,
    Lafm,
    Mahalanobis,
    Quantile,
    Recipe,
    Score,
    Temporal,
    Threshold,
    Yen,
)

pytestmark = pytest.mark.viewer

RECIPES = [
    Recipe.default(),
    Recipe.published(),
    Recipe(options={"noise_levels": (150, 250), "start": "infer"}, rescale=True, floor=0.99),
    Recipe(score=Fam(weight=0.125, levels=(1, 4), blur=2.0), fusion=Lafm(sigma=0.0, gamma=0.3)),
    Recipe(threshold=Quantile(q=0.99975), median=7),
    Recipe(threshold=Yen(pixel_too=False)),
    Recipe.temporal(),
    Recipe(imputed_references=True),
    Recipe(median=3, volume_median=True, smallest=12.5),
    Recipe(erosion=2, smallest=4.0, dilation=1),
    Recipe(median=21, erosion=120, smallest=2e9, dilation=100),
    Recipe(options={"draws": 5000}, score=Temporal(draws=2000)),
    Recipe(threshold=Fixed(value=2e6)),
    *(Recipe(score=kind()) for kind in kinds_of(Score) if kind),
    *(Recipe(fusion=kind()) for kind in kinds_of(Fusion) if kind),
    *(Recipe(threshold=kind()) for kind in kinds_of(Threshold) if kind),
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_comes_out_as_it_went_in(qtbot: Any, recipe: Recipe) -> None:
    form = RecipeForm(Recipe())
    qtbot.addWidget(form)
    form.recipe = recipe

    assert form.recipe == recipe


def test_controls_change_the_recipe(qtbot: Any) -> None:
    form = RecipeForm(Recipe.published())
    qtbot.addWidget(form)
    changes: list[int] = []
    form.changed.connect(lambda: changes.append(1))
    form.options_form.widgets["draws"].value = 3
    form.widgets["fusion"].value = None
    form.widgets["threshold"].value = Fixed(value=0.25)
    form.widgets["median"].value = 3
    form.widgets["imputed_references"].value = True

    assert changes
    assert form.recipe.imputed_references
    assert form.recipe.options["draws"] == 3
    assert form.recipe.fusion is None
    assert form.recipe.threshold == Fixed(value=0.25)
    assert form.recipe.median == 3
    assert form.recipe.rescale  # what has no control is kept


def test_what_is_left_empty_is_left_to_the_model(qtbot: Any) -> None:
    form = RecipeForm(Recipe(options={"noise_levels": (250,), "draws": 2}))
    qtbot.addWidget(form)
    form.options_form.value = {}

    assert form.recipe.options == {}
    assert with_options(Recipe(options={"draws": 2}), draws=None).options == {}


def test_noise_levels_that_are_no_steps_are_refused(qtbot: Any) -> None:
    form = OptionsForm(TABLE["sdm"].options)
    qtbot.addWidget(form)
    form.widgets["noise_levels"].native.setText("250, high")

    with pytest.raises(ValueError, match="noise levels: got '250, high'"):
        _ = form.value


def test_the_temporal_residual_goes_by_no_noise_levels(qtbot: Any) -> None:
    form = RecipeForm(Recipe.default())
    qtbot.addWidget(form)
    assert not form.options_form.isHidden()
    form.widgets["score"].kind.setCurrentText("temporal residual")

    assert form.options_form.isHidden()
    assert isinstance(form.recipe.score, Temporal)
    form.recipe = Recipe.default()
    assert not form.options_form.isHidden()


@pytest.mark.parametrize("method", sorted(TABLE))
def test_the_recipes_of_every_method_come_out_as_they_went_in(qtbot: Any, method: str) -> None:
    form = RecipeForm(Recipe(), ModelFacts(method=method, recipes=TABLE[method].recipes))
    qtbot.addWidget(form)
    for recipe in TABLE[method].recipes.values():
        form.recipe = recipe

        assert form.recipe == recipe
        assert form.recipe.as_dict() == recipe.as_dict()


@pytest.mark.parametrize("method", sorted(TABLE))
def test_every_option_of_a_method_has_a_control_that_is_explained(qtbot: Any, method: str) -> None:
    form = OptionsForm(TABLE[method].options)
    qtbot.addWidget(form)

    assert list(form.widgets) == [option.name for option in fields(TABLE[method].options)]
    assert all("Default: " in control.tooltip for control in form.widgets.values())
    assert form.value == {}


def test_what_is_set_to_the_default_is_not_said(qtbot: Any) -> None:
    form = OptionsForm(TABLE["andi"].options)
    qtbot.addWidget(form)
    form.widgets["stride"].value = 1
    form.widgets["mean"].value = "geometric"
    assert form.value == {}

    form.widgets["mean"].value = "arithmetic"
    form.widgets["floor"].native.setText("1e-9")
    assert form.value == {"mean": "arithmetic", "floor": 1e-9}
    form.value = {"stride": 1}  # a recipe that says it keeps it
    assert form.value == {"stride": 1}


def test_another_method_brings_its_own_controls(qtbot: Any) -> None:
    form = OptionsForm(TABLE["sdm"].options)
    qtbot.addWidget(form)
    form.value = {"draws": 4}
    form.ask(TABLE["cddpm"].options)
    assert form.value == {"draws": 4}
    assert form.widgets["draws"].value == 4
    form.ask(TABLE["disyre"].options)

    assert list(form.widgets) == ["step_size", "single_step"]
    assert form.value == {"draws": 4}  # which a check refuses
    form.value = {"single_step": 30}
    assert form.widgets["single_step"].value == 30


def test_the_method_may_change_while_something_is_typed(qtbot: Any) -> None:
    form = OptionsForm(TABLE["sdm"].options)
    qtbot.addWidget(form)
    form.changed.connect(lambda: form.value)
    with qtbot.waitExposed(form):
        form.show()
    form.widgets["noise_levels"].native.setFocus()
    qtbot.keyClicks(form.widgets["noise_levels"].native, "50")
    form.ask(TABLE["andi"].options)

    assert form.value == {}
    assert list(form.widgets) == [option.name for option in fields(TABLE["andi"].options)]


def test_a_form_follows_what_a_model_can_do(qtbot: Any) -> None:
    form = RecipeForm(Recipe.default())
    qtbot.addWidget(form)
    andi = ModelFacts(method="andi", recipes=TABLE["andi"].recipes, gives=frozenset({"score"}))
    form.follow(andi)
    form.recipe = andi.recipes["default"]
    model: Any = form.widgets["score"].kind.model()
    able = [
        form.widgets["score"].kind.itemText(n)
        for n in range(model.rowCount())
        if model.item(n).isEnabled()
    ]

    assert able == ["the method's own"]
    assert form.options_form.widgets["stride"].value == 5
    assert form.recipe == andi.recipes["default"]


def test_the_blur_of_the_score_is_told_from_that_of_a_distance_and_goes_in_halves(
    qtbot: Any,
) -> None:
    form = RecipeForm(Recipe(score=Mahalanobis()))
    qtbot.addWidget(form)
    named = [label.text() for label in form.findChildren(QLabel) if label.isVisibleTo(form)]
    assert (named.count("blur"), named.count("score blur")) == (1, 1)

    form.widgets["blur"].native.stepUp()
    assert (form.recipe.blur, form.widgets["blur"].native.text()) == (0.5, "0.5")
    form.recipe = Recipe(blur=1.125)
    assert form.recipe.blur == 1.125


def test_small_scores_keep_their_digits(qtbot: Any) -> None:
    recipe = Recipe(threshold=Fixed(value=2.956551e-05))
    form = RecipeForm(recipe)
    qtbot.addWidget(form)

    assert form.recipe == recipe


def test_every_method_has_options() -> None:
    assert set(TABLE) == set(TABLE)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_the_method_takes_the_lowest_numbers_on_offer(name: str) -> None:
    kinds, hints = get_type_hints(TABLE[name].options), left_to_method(TABLE[name].options)
    lowest = {field: hint.between[0] for field, hint in hints.items() if kinds[field] is int}
    lowest |= {"last_step": 2} if "last_step" in lowest else {}  # it lies above the first

    assert TABLE[name].options(**lowest)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_option_is_explained(name: str) -> None:
    for hint in left_to_method(TABLE[name].options).values():
        assert len(hint.tip.partition(". Default: ")[0]) > 15
        assert hint.empty


def test_what_is_left_to_the_method_is_said(qtbot: Any) -> None:
    hints = left_to_method(TABLE["pddpm"].options)
    form = OptionsForm(TABLE["pddpm"].options)
    qtbot.addWidget(form)
    rows = form.form.rows
    labels = [rows.itemAt(n, rows.ItemRole.LabelRole).widget().text() for n in range(5)]

    assert list(hints) == ["noise_levels", "draws", "sampling_steps", "patch", "overlap"]
    assert hints["overlap"].between == (0, 1000)
    assert hints["noise_levels"].empty == "500 (default)"
    assert hints["patch"].empty == "as trained"
    assert hints["overlap"].empty == "0 (default)"
    assert (labels[0], labels[3]) == ("noise levels", "patch (y, x)")
    sdm = left_to_method(TABLE["sdm"].options)
    assert sdm["noise_levels"].empty == "250 (default)"  # of the method, not of its base
