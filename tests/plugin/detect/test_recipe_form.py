from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from qtpy.QtWidgets import QLabel

from napari_followup.methods.recipes import RECIPES as OWN_RECIPES
from napari_followup.plugin.detect.recipe_form import (
    OptionsForm,
    RecipeForm,
    kinds_of,
    with_options,
)
from napari_followup.plugin.forms.choice_form import ChoiceForm
from napari_followup.plugin.models.method_options import OPTIONS
from napari_followup.plugin.models.model_facts import ModelFacts
from napari_followup.recipe.recipe import (
    Fam,
    Fixed,
    Fusion,
    Lafm,
    Mahalanobis,
    Pixel,
    Quantile,
    Recipe,
    Score,
    Ssim,
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
    form.options_form.controls["draws"].setValue(3)
    form.fusion.value = None
    form.threshold.value = Fixed(value=0.25)
    form.median.setValue(3)
    form.imputed_references.setChecked(True)

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
    form.options_form.options = {}

    assert form.recipe.options == {}
    assert with_options(Recipe(options={"draws": 2}), draws=None).options == {}


def test_noise_levels_that_are_no_steps_are_refused(qtbot: Any) -> None:
    form = OptionsForm(OPTIONS["sdm"])
    qtbot.addWidget(form)
    form.controls["noise_levels"].setText("250, high")

    with pytest.raises(ValueError, match="noise levels: got '250, high'"):
        _ = form.options


def test_lines_of_numbers_with_decimals_are_read_as_such(qtbot: Any) -> None:
    form = ChoiceForm("score", [Ssim, Fam])
    qtbot.addWidget(form)
    form.controls[0]["sigmas"].setText("0.5, 2 3.25")
    assert form.value == Ssim(sigmas=(0.5, 2.0, 3.25))
    form.controls[0]["sigmas"].setText("0.5, wide")

    with pytest.raises(ValueError, match=r"sigmas: got '0\.5, wide'; write numbers"):
        _ = form.value
    form.kind.setCurrentIndex(1)
    form.controls[1]["levels"].setText("2, 2.5")
    with pytest.raises(ValueError, match=r"levels: got '2, 2\.5'; write whole numbers"):
        _ = form.value


def test_only_the_numbers_of_the_chosen_kind_are_shown(qtbot: Any) -> None:
    form = ChoiceForm("fusion", kinds_of(Fusion))
    qtbot.addWidget(form)
    lafm = kinds_of(Fusion).index(Lafm)
    assert all(control.isHidden() for control in form.controls[lafm].values())
    form.kind.setCurrentIndex(lafm)

    assert form.value == Lafm()
    assert set(form.controls[lafm]) == {"sigma", "beta", "gamma"}
    assert not any(control.isHidden() for control in form.controls[lafm].values())


def test_the_temporal_residual_goes_by_no_noise_levels(qtbot: Any) -> None:
    form = RecipeForm(Recipe.default())
    qtbot.addWidget(form)
    assert not form.options_form.isHidden()
    form.score.kind.setCurrentText("temporal residual")

    assert form.options_form.isHidden()
    assert isinstance(form.recipe.score, Temporal)
    form.recipe = Recipe.default()
    assert not form.options_form.isHidden()


@pytest.mark.parametrize("method", sorted(OWN_RECIPES))
def test_the_recipes_of_every_method_come_out_as_they_went_in(qtbot: Any, method: str) -> None:
    form = RecipeForm(Recipe(), ModelFacts(method=method, recipes=OWN_RECIPES[method]))
    qtbot.addWidget(form)
    for recipe in OWN_RECIPES[method].values():
        form.recipe = recipe

        assert form.recipe == recipe
        assert form.recipe.as_dict() == recipe.as_dict()


@pytest.mark.parametrize("method", sorted(OWN_RECIPES))
def test_every_option_of_a_method_has_a_control_that_is_explained(qtbot: Any, method: str) -> None:
    form = OptionsForm(OPTIONS[method])
    qtbot.addWidget(form)

    assert list(form.controls) == [option.name for option in OPTIONS[method]]
    assert all("Default: " in control.toolTip() for control in form.controls.values())
    assert form.options == {}


def test_what_is_set_to_the_default_is_not_said(qtbot: Any) -> None:
    form = OptionsForm(OPTIONS["andi"])
    qtbot.addWidget(form)
    form.controls["stride"].setValue(1)
    form.controls["mean"].setCurrentText("geometric")
    assert form.options == {}

    form.controls["mean"].setCurrentText("arithmetic")
    form.controls["floor"].setText("1e-9")
    assert form.options == {"mean": "arithmetic", "floor": 1e-9}
    form.options = {"stride": 1}  # a recipe that says it keeps it
    assert form.options == {"stride": 1}


def test_another_method_brings_its_own_controls(qtbot: Any) -> None:
    form = OptionsForm(OPTIONS["sdm"])
    qtbot.addWidget(form)
    form.options = {"draws": 4}
    form.ask(OPTIONS["cddpm"])
    assert form.options == {"draws": 4}
    assert form.controls["draws"].value() == 4
    form.ask(OPTIONS["disyre"])

    assert list(form.controls) == ["step_size", "single_step"]
    assert form.options == {"draws": 4}  # which a check refuses
    form.options = {"single_step": 30}
    assert form.controls["single_step"].value() == 30


def test_the_method_may_change_while_something_is_typed(qtbot: Any) -> None:
    form = OptionsForm(OPTIONS["sdm"])
    qtbot.addWidget(form)
    form.changed.connect(lambda: form.options)
    with qtbot.waitExposed(form):
        form.show()
    form.controls["noise_levels"].setFocus()
    qtbot.keyClicks(form.controls["noise_levels"], "50")
    form.ask(OPTIONS["andi"])

    assert form.options == {}
    assert list(form.controls) == [option.name for option in OPTIONS["andi"]]


def test_a_form_follows_what_a_model_can_do(qtbot: Any) -> None:
    form = RecipeForm(Recipe.default())
    qtbot.addWidget(form)
    andi = ModelFacts(method="andi", recipes=OWN_RECIPES["andi"], gives=frozenset({"score"}))
    form.follow(andi)
    form.recipe = andi.recipes["default"]
    model: Any = form.score.kind.model()
    able = [
        form.score.kind.itemText(n) for n in range(model.rowCount()) if model.item(n).isEnabled()
    ]

    assert able == ["the method's own"]
    assert form.options_form.controls["stride"].value() == 5
    assert form.recipe == andi.recipes["default"]


@dataclass(frozen=True, kw_only=True)
class New:
    """A kind that nobody has written yet."""

    speed: float = 0.25
    parts: tuple[int, ...] = (1, 2)
    is_on: bool = True
    count: int = 3
    name: str = "x"


def test_a_new_kind_needs_no_code(qtbot: Any) -> None:
    form = ChoiceForm("score", [Pixel, New])
    qtbot.addWidget(form)
    form.value = New(speed=0.5, parts=(7,), is_on=False, count=4, name="y")

    assert form.kind.currentText() == "new"
    assert form.value == New(speed=0.5, parts=(7,), is_on=False, count=4, name="y")
    form.controls[1]["parts"].setText("1, two")
    with pytest.raises(ValueError, match="parts: got '1, two'"):
        _ = form.value


def test_the_blur_of_the_score_is_told_from_that_of_a_distance_and_goes_in_halves(
    qtbot: Any,
) -> None:
    form = RecipeForm(Recipe(score=Mahalanobis()))
    qtbot.addWidget(form)
    named = [label.text() for label in form.findChildren(QLabel) if not label.isHidden()]
    assert (named.count("blur"), named.count("score blur")) == (1, 1)

    form.blur.stepUp()
    assert (form.recipe.blur, form.blur.text()) == (0.5, "0.5")
    form.recipe = Recipe(blur=1.125)
    assert form.recipe.blur == 1.125


def test_small_scores_keep_their_digits(qtbot: Any) -> None:
    recipe = Recipe(threshold=Fixed(value=2.956551e-05))
    form = RecipeForm(recipe)
    qtbot.addWidget(form)

    assert form.recipe == recipe
