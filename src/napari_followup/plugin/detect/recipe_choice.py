"""Which recipe a run follows: one of the model's own by name, or what is set in a form."""

from __future__ import annotations

import json
from contextlib import suppress

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QLabel, QVBoxLayout, QWidget

from napari_followup.plugin.detect.recipe_form import RecipeForm, with_options
from napari_followup.plugin.forms.preferences import Preferences
from napari_followup.plugin.models.model_facts import ModelFacts, facts_of
from napari_followup.recipe.recipe import Recipe, Temporal

__all__ = ["RecipeChoice"]

CUSTOM = "as set below"
LOST = "The recipe that was set is not for this model: its default one was taken"
UNNAMED = "This model has no recipe {!r}: its default one was taken"


class RecipeChoice(QWidget):
    """Names of the model's recipes, and a line on what became of the last choice.

    Attributes
    ----------
    form
        The recipe in numbers; it is shown elsewhere.
    facts
        What the chosen model can do.
    """

    customized = Signal()  # the person wants to set the recipe in the form

    def __init__(self) -> None:
        super().__init__()
        self.facts = ModelFacts()
        self.preset, self.note = QComboBox(), QLabel()
        self.form = RecipeForm(self.presets["default"], self.facts)
        self.note.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.preset)
        layout.addWidget(self.note)
        self._say("")
        self._fill()
        self.preset.currentTextChanged.connect(self._on_preset)
        self.form.changed.connect(self._on_form)

    @property
    def presets(self) -> dict[str, Recipe]:
        """The model's recipes by name, the default one with the preferred sampling steps."""
        found, steps = dict(self.facts.recipes), Preferences.load().sampling_steps
        has_steps = any(option.name == "sampling_steps" for option in self.facts.options)
        if steps and has_steps and not isinstance(found["default"].score, Temporal):
            found["default"] = with_options(found["default"], sampling_steps=steps)
        return found

    @property
    def recipe(self) -> Recipe:
        """The recipe as set; one of the model's own, where it comes to the same.

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
            self._say("The recipe of the last session cannot be read: the default one was taken")
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
        """Offer the recipes of another model; what is set stays where it suits that one."""
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
            self._say("" if name in presets else UNNAMED.format(name))
        elif recipe is None:
            self.form.recipe = presets["default"]
            self._say(LOST)
        else:
            self._take(recipe)

    def _take(self, recipe: Recipe) -> None:
        """Show a recipe, or the model's default one where that recipe is not for it."""
        problem = self.facts.problem(recipe)
        self.form.recipe = self.presets["default"] if problem else recipe
        if problem:
            self._say(f"{LOST} ({problem.partition('; choose')[0]})")

    def _fill(self) -> None:
        with QSignalBlocker(self.preset):
            self.preset.clear()
            self.preset.addItems([*self.facts.recipes, CUSTOM])

    def _say(self, text: str) -> None:
        self.note.setText(text)
        self.note.setVisible(bool(text))

    def _on_preset(self, name: str) -> None:
        if name == CUSTOM:
            self.customized.emit()
        else:
            self.form.recipe = self.presets[name]

    def _on_form(self) -> None:
        self._say("")
        with QSignalBlocker(self.preset):  # the form has changed, not the choice of a preset
            self.preset.setCurrentText(self._name())

    def _name(self) -> str:
        """Name of the recipe in the form; what cannot be read is said when a run begins."""
        try:
            recipe = self.form.recipe
        except ValueError:
            return CUSTOM
        presets, now = self.presets, self.preset.currentText()
        first = {now: presets[now]} if now in presets else {}  # of two alike, the chosen one
        return self.facts.name_of(recipe, first | presets) or CUSTOM
