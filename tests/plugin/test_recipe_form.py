from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from napari_followup.plugin.choice_form import ChoiceForm
from napari_followup.plugin.recipe_form import OptionsForm, RecipeForm, kinds_of, with_options
from napari_followup.recipe import (
    Fam,
    Fixed,
    Fusion,
    Lafm,
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
    form.options_form.draws.setValue(3)
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
    form = OptionsForm()
    qtbot.addWidget(form)
    form.noise_levels.setText("250, high")

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
