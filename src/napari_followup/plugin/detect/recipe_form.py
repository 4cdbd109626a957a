"""The folded part of a widget: a recipe's numbers, as controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import NoneType
from typing import Any, get_args

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QFormLayout, QHBoxLayout, QWidget

from napari_followup.plugin.forms.choice_form import ChoiceForm, label_of
from napari_followup.plugin.forms.field_control import Control, Count, Number, control_of
from napari_followup.plugin.forms.forms import add_row, new_form
from napari_followup.plugin.models.method_options import Option
from napari_followup.plugin.models.model_facts import ModelFacts
from napari_followup.recipe.recipe import Fusion, Recipe, Score, Temporal, Threshold

__all__ = ["OptionsForm", "RecipeForm", "kinds_of", "with_options"]

SMALLEST = (
    "Parts of the mask below this are dropped at each visit: in mm² (planes) or mm³ (volumes) "
    "where the layer has units of length, else in pixels or voxels; 0 keeps all"
)
RIM = "Pixels at the rim of the subject where nothing is marked; 0 examines the whole image"
GROWN = "Pixels by which the mask is grown in the plane, once its small parts are dropped"
IMPUTED = (
    "Visits of the series that were imputed are examined too, and support, or weaken, what the "
    "observed ones show (LAFM, Support)"
)


def kinds_of(union: Any) -> list[type | None]:
    """List the dataclasses of a union, none first where it is one of them."""
    kinds = [None if kind is NoneType else kind for kind in get_args(union)]
    return sorted(kinds, key=lambda kind: kind is not None)


def with_options(recipe: Recipe, **options: Any) -> Recipe:
    """Change some of the method's own options; None takes an option out."""
    changed = dict(recipe.options) | options
    return replace(recipe, options={name: v for name, v in changed.items() if v is not None})


class OptionsForm(QWidget):
    """What can be set of a method; what is left empty, or as it is, is the method's own."""

    changed = Signal()

    def __init__(self, options: Sequence[Option] = ()) -> None:
        super().__init__()
        self._asked: tuple[Option, ...] = ()
        self._base: dict[str, Any] = {}
        self.controls: dict[str, Control] = {}
        self._rows = new_form(self)
        self.ask(options)

    def ask(self, options: Sequence[Option]) -> None:
        """Show the options of another method; the settings stay as they were."""
        self._asked, self.controls = (), {}  # a line that goes away while it is typed in tells so
        while self._rows.rowCount():
            self._rows.removeRow(0)
        for option in options:
            control = control_of(
                option.kind,
                option.default,
                label=option.title,
                empty=option.left,
                between=option.between,
            )
            if control is not None:
                self.controls[option.name] = control
                control.setToolTip(f"{option.tip}. Default: {option.left}")
                add_row(self._rows, option.title, control)
                control.edited.connect(self.changed)
        self._asked = tuple(option for option in options if option.name in self.controls)
        self.options = self._base

    @property
    def options(self) -> dict[str, Any]:
        """What is set, by name; what has no control here is kept from what was put in.

        Raises
        ------
        ValueError
            If a number cannot be read; the message says which.
        """
        found = {name: value for name, value in self._base.items() if name not in self.controls}
        for option in self._asked:
            value = self.controls[option.name].setting
            is_said = value != option.default or option.name in self._base
            if value is not None and is_said:
                found[option.name] = value
        return found

    @options.setter
    def options(self, options: Mapping[str, Any]) -> None:
        self._base = dict(options)
        for name, control in self.controls.items():
            control.setting = options.get(name)


class RecipeForm(QWidget):
    """All of a recipe; what has no control here is kept from the recipe that was put in."""

    changed = Signal()

    def __init__(self, recipe: Recipe, facts: ModelFacts | None = None) -> None:
        super().__init__()
        self.options_form = OptionsForm()
        self.score = ChoiceForm("score", kinds_of(Score))
        self.fusion = ChoiceForm("fusion", kinds_of(Fusion))
        self.imputed_references = QCheckBox("imputed visits too")
        self.imputed_references.setToolTip(IMPUTED)
        self.median = Count(1, 15)
        self.median.setSingleStep(2)
        self.median.setToolTip("Side of the median filter in pixels; 1 for none")
        self.volume_median = QCheckBox("in space")
        self.volume_median.setToolTip("Let the median reach across the planes of volumes, too")
        self.blur = Number(0, 99)
        self.blur.setStepType(Number.StepType.DefaultStepType)
        self.blur.setSingleStep(0.5)
        self.blur.setToolTip(
            "Sigma in pixels of a Gaussian over the score, in its plane; 0 for none"
        )
        self.threshold = ChoiceForm("threshold", kinds_of(Threshold))
        self.erosion, self.smallest, self.dilation = Count(0, 99), Number(0, 1e9), Count(0, 99)
        self.erosion.setToolTip(RIM)
        self.smallest.setToolTip(SMALLEST)
        self.dilation.setToolTip(GROWN)
        self._rows = new_form(self)
        _lay_out(self._rows, self)
        self._connect()
        self.follow(facts or ModelFacts())
        self.recipe = recipe

    def follow(self, facts: ModelFacts) -> None:
        """Show what can be set of a model's method, and which scores it can give."""
        self.options_form.ask(facts.options)
        self.score.refuse(facts.obstacles)
        self._on_score()

    @property
    def recipe(self) -> Recipe:
        """The recipe as set.

        Raises
        ------
        ValueError
            If a number does not fit; the message says which.
        """
        return replace(
            self._base,
            options=self.options_form.options,
            score=self.score.value,
            fusion=self.fusion.value,
            imputed_references=self.imputed_references.isChecked(),
            median=self.median.value() | 1,  # odd, whatever was typed
            volume_median=self.volume_median.isChecked(),
            blur=self.blur.value(),
            threshold=self.threshold.value,
            erosion=self.erosion.value(),
            smallest=self.smallest.value(),
            dilation=self.dilation.value(),
        )

    @recipe.setter
    def recipe(self, recipe: Recipe) -> None:
        self.blockSignals(True)
        self._base = recipe
        self.options_form.options = dict(recipe.options)
        self.score.value, self.fusion.value = recipe.score, recipe.fusion
        self.imputed_references.setChecked(recipe.imputed_references)
        self.median.setting = recipe.median
        self.volume_median.setChecked(recipe.volume_median)
        self.blur.setting = recipe.blur
        self.threshold.value = recipe.threshold
        self.erosion.setting = recipe.erosion
        self.smallest.setting = recipe.smallest
        self.dilation.setting = recipe.dilation
        self.blockSignals(False)
        self.changed.emit()

    def _on_score(self) -> None:
        """Show the method's options where there are any and the score goes by them."""
        is_temporal = self.score.kind.currentText() == label_of(Temporal)
        has_any = bool(self.options_form.controls)
        self._rows.setRowVisible(self.options_form, has_any and not is_temporal)

    def _connect(self) -> None:
        for part in (self.options_form, self.score, self.fusion, self.threshold):
            part.changed.connect(self.changed)
        for box in (self.median, self.blur, self.erosion, self.smallest, self.dilation):
            box.valueChanged.connect(self.changed)
        for check in (self.volume_median, self.imputed_references):
            check.toggled.connect(self.changed)
        self.score.changed.connect(self._on_score)


def _lay_out(rows: QFormLayout, form: RecipeForm) -> None:
    """In the order in which they come into play."""
    rows.addRow(form.options_form)
    rows.addRow(form.score)
    rows.addRow(form.fusion)
    add_row(rows, "references", form.imputed_references)
    medians = QHBoxLayout()
    medians.addWidget(form.median, stretch=1)
    medians.addWidget(form.volume_median)
    add_row(rows, "median", medians)
    add_row(rows, "score blur", form.blur)
    rows.addRow(form.threshold)
    add_row(rows, "erosion", form.erosion)
    add_row(rows, "smallest part", form.smallest)
    add_row(rows, "dilation", form.dilation)
