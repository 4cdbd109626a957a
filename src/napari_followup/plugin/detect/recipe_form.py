"""The recipe of a run: one of the model's recipes by name, or the values of a form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QLabel, QWidget

from napari_followup.plugin.forms.fields import (
    FieldsForm,
    Hint,
    NumberEdit,
    NumbersEdit,
    as_text,
    label_of,
)
from napari_followup.plugin.forms.forms import column_of, new_form
from napari_followup.plugin.forms.preferences import Preferences
from napari_followup.plugin.models.model_choice import ModelFacts, facts_of
from napari_followup.recipe.recipe import Recipe, Temporal

__all__ = ["OptionsForm", "RecipeChoice", "RecipeForm", "left_to_method", "with_options"]

CUSTOM = "as set below"
LOST = "The recipe that was set does not fit this model; the model's default recipe is used"
UNNAMED = "This model has no recipe {!r}; its default recipe is used"
UNREADABLE = "The recipe of the last session cannot be read; the default recipe is used"
HIDDEN = ("options", "rescale", "floor")  # have a form of their own, or are set in files alone
ROWS = tuple(each.name for each in fields(Recipe) if each.name not in HIDDEN)


def with_options(recipe: Recipe, **options: Any) -> Recipe:
    """Change some of the method's own options; None removes an option."""
    changed = dict(recipe.options) | options
    return replace(recipe, options={name: v for name, v in changed.items() if v is not None})


class OptionsForm(QWidget):
    """Options of a method; empty or unchanged fields keep the method's defaults."""

    changed = Signal()

    def __init__(self, kind: type) -> None:
        """Show the options of a method, given as its dataclass."""
        super().__init__()
        self._base: dict[str, Any] = {}
        self._rows = new_form(self)
        self.ask(kind)

    def ask(self, kind: type) -> None:
        """Show the options of another method; the values stay."""
        while self._rows.rowCount():
            self._rows.removeRow(0)
        self.form = FieldsForm(kind(), left_to_method(kind))
        self.widgets: dict[str, Any] = self.form.widgets
        self._usual = vars(kind())
        self._rows.addRow(self.form)
        self.form.changed.connect(self.changed)
        self.value = self._base

    @property
    def value(self) -> dict[str, Any]:
        """Options that are set, by name; an option without a row keeps its value.

        Raises
        ------
        ValueError
            If a number cannot be read; the message says which.
        """
        kept = {name: value for name, value in self._base.items() if name not in self.widgets}
        return kept | {
            name: value
            for name, value in self.form.values.items()
            if value is not None and (value != self._usual[name] or name in self._base)
        }

    @value.setter
    def value(self, options: Mapping[str, Any]) -> None:
        self._base = dict(options)
        for name, widget in self.widgets.items():
            may_be_empty = isinstance(widget, NumberEdit | NumbersEdit)
            widget.value = options.get(name, None if may_be_empty else self._usual[name])


class RecipeForm(QWidget):
    """Values of a recipe; a field without a row keeps its value."""

    changed = Signal()

    def __init__(self, recipe: Recipe, facts: ModelFacts | None = None) -> None:
        super().__init__()
        facts = facts or ModelFacts()
        self.options_form = OptionsForm(facts.option_type)
        self.form = FieldsForm(recipe, names=ROWS)
        self.widgets: dict[str, Any] = self.form.widgets
        self._rows = new_form(self)
        self._rows.addRow(self.options_form)
        self._rows.addRow(self.form)
        self.options_form.changed.connect(self.changed)
        self.form.changed.connect(self.changed)
        self.widgets["score"].changed.connect(self._on_score)
        self.follow(facts)
        self.recipe = recipe

    def follow(self, facts: ModelFacts) -> None:
        """Show the options of a model's method, and which scores the model can give."""
        self.options_form.ask(facts.option_type)
        self.widgets["score"].refuse(facts.obstacles)
        self._on_score()

    @property
    def recipe(self) -> Recipe:
        """The recipe as set.

        Raises
        ------
        ValueError
            If a number does not fit; the message says which.
        """
        values = self.form.values
        values["median"] |= 1  # odd, whatever was typed
        return replace(self._base, options=self.options_form.value, **values)

    @recipe.setter
    def recipe(self, recipe: Recipe) -> None:
        self.blockSignals(True)
        self._base = recipe
        self.options_form.value = recipe.options
        self.form.value = recipe
        self.blockSignals(False)
        self.changed.emit()

    def _on_score(self) -> None:
        """Show the method's options where the score depends on them."""
        is_temporal = self.widgets["score"].kind.currentText() == label_of(Temporal)
        has_any = bool(self.options_form.widgets)
        self._rows.setRowVisible(self.options_form, has_any and not is_temporal)


class RecipeChoice(QWidget):
    """Names of the model's recipes, and a note where the last choice does not fit the model.

    Attributes
    ----------
    form
        Values of the recipe; shown elsewhere.
    facts
        What the chosen model can do.
    """

    customized = Signal()  # the user wants to set the values in the form

    def __init__(self) -> None:
        super().__init__()
        self.facts = ModelFacts()
        self.preset, self.note = QComboBox(), QLabel()
        self.form = RecipeForm(self.presets["default"], self.facts)
        self.note.setWordWrap(True)
        column_of(self, self.preset, self.note, inner=True)
        self._show_note("")
        self._fill()
        self.preset.currentTextChanged.connect(self._on_preset)
        self.form.changed.connect(self._on_form)

    @property
    def presets(self) -> dict[str, Recipe]:
        """The model's recipes by name, the default one with the preferred sampling steps."""
        found, steps = dict(self.facts.recipes), Preferences.load().sampling_steps
        has_steps = "sampling_steps" in self.facts.options
        if steps and has_steps and not isinstance(found["default"].score, Temporal):
            found["default"] = with_options(found["default"], sampling_steps=steps)
        return found

    @property
    def recipe(self) -> Recipe:
        """The recipe as set; one of the model's own, where it has the same values.

        Raises
        ------
        ValueError
            If a number does not fit; the message says which.
        """
        recipe, presets = self.form.recipe, self.presets
        return presets.get(self.facts.name_of(recipe, presets), recipe)

    @recipe.setter
    def recipe(self, recipe: Recipe) -> None:
        self.form.recipe = recipe

    @property
    def remembered(self) -> str:
        """The recipe as JSON; empty where it is the model's default one."""
        recipe = self.recipe
        return "" if recipe == self.presets["default"] else json.dumps(recipe.as_dict())

    @remembered.setter
    def remembered(self, text: str) -> None:
        default = self.presets["default"]
        try:
            recipe = Recipe.from_dict(json.loads(text)) if text else default
        except (AttributeError, KeyError, TypeError, ValueError):
            self.form.recipe = default
            self._show_note(UNREADABLE)
            return
        self._take(recipe)

    def checked(self) -> Recipe:
        """Give the recipe of a run.

        Raises
        ------
        ValueError
            If a number does not fit, or the model cannot follow it; the message says why.
        """
        recipe = self.recipe
        if problem := self.facts.problem(recipe):
            raise ValueError(problem)
        return recipe

    def follow(self, model: str) -> None:
        """Offer the recipes of another model; the values stay where they suit that model."""
        facts = facts_of(model)
        if facts == self.facts:
            return
        name, recipe = self.preset.currentText(), None
        with suppress(ValueError):
            recipe = self.recipe
        self.facts = facts
        self._fill()
        self.form.follow(facts)
        presets = self.presets
        if name != CUSTOM:
            self.form.recipe = presets.get(name, presets["default"])
            self._show_note("" if name in presets else UNNAMED.format(name))
        elif recipe is None:
            self.form.recipe = presets["default"]
            self._show_note(LOST)
        else:
            self._take(recipe)

    def _take(self, recipe: Recipe) -> None:
        """Show a recipe, or the model's default one where that recipe does not fit it."""
        problem = self.facts.problem(recipe)
        self.form.recipe = self.presets["default"] if problem else recipe
        if problem:
            self._show_note(f"{LOST} ({problem.partition('; choose')[0]})")

    def _fill(self) -> None:
        with QSignalBlocker(self.preset):
            self.preset.clear()
            self.preset.addItems([*self.facts.recipes, CUSTOM])

    def _show_note(self, text: str) -> None:
        self.note.setText(text)
        self.note.setVisible(bool(text))

    def _on_preset(self, name: str) -> None:
        if name == CUSTOM:
            self.customized.emit()
        else:
            self.form.recipe = self.presets[name]

    def _on_form(self) -> None:
        self._show_note("")
        with QSignalBlocker(self.preset):  # the form has changed, not the choice of a preset
            self.preset.setCurrentText(self._name())

    def _name(self) -> str:
        """Name of the recipe in the form; errors are reported when a run begins."""
        try:
            recipe = self.form.recipe
        except ValueError:
            return CUSTOM
        presets, now = self.presets, self.preset.currentText()
        first = {now: presets[now]} if now in presets else {}  # of two alike, the chosen one
        return self.facts.name_of(recipe, first | presets) or CUSTOM


def left_to_method(kind: type) -> dict[str, Hint]:
    """Hints of a method's options: an empty widget shows what the method does then."""
    hints = {}
    for each in fields(kind):
        hint, default = Hint(**each.metadata), each.default
        usual = "none" if default is None else as_text(default)
        left = hint.empty or f"{usual} (default)"
        hints[each.name] = replace(hint, empty=left, tip=f"{hint.tip}. Default: {left}")
    return hints
