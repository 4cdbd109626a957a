"""The folded part of a widget: a recipe's numbers, as controls."""

from __future__ import annotations

from dataclasses import replace
from types import NoneType
from typing import Any, get_args

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLineEdit, QSpinBox, QWidget

from napari_followup.plugin.choice_form import LABELS, ChoiceForm
from napari_followup.plugin.forms import NumberBox, add_row, new_form
from napari_followup.recipe import Fusion, Recipe, Score, Threshold

__all__ = ["OptionsForm", "RecipeForm", "kinds_of", "with_options"]

OWN = "the model's own"
SMALLEST = (
    "Parts of the mask below this are dropped at each visit: in mm² (planes) or mm³ (volumes) "
    "where the layer has units of length, else in pixels or voxels; 0 keeps all"
)
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
    """Noise levels, draws and sampling steps; what is left empty is the model's own."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.noise_levels = QLineEdit()
        self.noise_levels.setPlaceholderText(OWN)
        self.noise_levels.setToolTip("Step where decoding starts, 1 to 1000; several with commas")
        self.draws = _count(100, "Reconstructions from each level")
        self.sampling_steps = _count(1000, "Network calls from a level down to the image")
        form = new_form(self)
        add_row(form, "noise levels", self.noise_levels)
        add_row(form, "draws", self.draws)
        add_row(form, "sampling steps", self.sampling_steps)
        self.noise_levels.editingFinished.connect(self.changed)
        self.draws.valueChanged.connect(self.changed)
        self.sampling_steps.valueChanged.connect(self.changed)

    @property
    def options(self) -> dict[str, Any]:
        """What is set, by name; None where it is left to the model.

        Raises
        ------
        ValueError
            If the noise levels are no whole numbers.
        """
        words = self.noise_levels.text().replace(",", " ").split()
        if not all(word.isdigit() for word in words):
            raise ValueError(
                f"noise levels: got {self.noise_levels.text()!r}; write whole steps, as in 150, 250"
            )
        return {
            "noise_levels": tuple(int(word) for word in words) or None,
            "draws": self.draws.value() or None,
            "sampling_steps": self.sampling_steps.value() or None,
        }

    @options.setter
    def options(self, options: dict[str, Any]) -> None:
        levels = options.get("noise_levels") or ()
        self.noise_levels.setText(", ".join(str(level) for level in levels))
        self.draws.setValue(options.get("draws") or 0)
        self.sampling_steps.setValue(options.get("sampling_steps") or 0)


class RecipeForm(QWidget):
    """All of a recipe; what has no control here is kept from the recipe that was put in."""

    changed = Signal()

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.options_form = OptionsForm()
        self.score = ChoiceForm("score", kinds_of(Score))
        self.fusion = ChoiceForm("fusion", kinds_of(Fusion))
        self.imputed_references = QCheckBox("imputed visits too")
        self.imputed_references.setToolTip(IMPUTED)
        self.median = QSpinBox()
        self.median.setRange(1, 15)
        self.median.setSingleStep(2)
        self.median.setToolTip("Side of the median filter in pixels; 1 for none")
        self.volume_median = QCheckBox("in space")
        self.volume_median.setToolTip("Let the median reach across the planes of volumes, too")
        self.smallest = NumberBox(0, 1e9)
        self.smallest.setToolTip(SMALLEST)
        self.threshold = ChoiceForm("threshold", kinds_of(Threshold))
        self._rows = rows = new_form(self)
        rows.addRow(self.options_form)
        rows.addRow(self.score)
        rows.addRow(self.fusion)
        add_row(rows, "references", self.imputed_references)
        medians = QHBoxLayout()
        medians.addWidget(self.median, stretch=1)
        medians.addWidget(self.volume_median)
        add_row(rows, "median", medians)
        rows.addRow(self.threshold)
        add_row(rows, "smallest part", self.smallest)
        for part in (self.options_form, self.score, self.fusion, self.threshold):
            part.changed.connect(self.changed)
        self.median.valueChanged.connect(self.changed)
        self.volume_median.toggled.connect(self.changed)
        self.smallest.valueChanged.connect(self.changed)
        self.imputed_references.toggled.connect(self.changed)
        self.score.changed.connect(self._on_score)
        self.recipe = recipe

    def _on_score(self) -> None:
        """Show noise levels, draws and steps where the score goes by them."""
        is_temporal = self.score.kind.currentText() == LABELS["Temporal"]
        self._rows.setRowVisible(self.options_form, not is_temporal)

    @property
    def recipe(self) -> Recipe:
        """The recipe as set.

        Raises
        ------
        ValueError
            If a number does not fit; the message says which.
        """
        recipe = replace(
            self._base,
            score=self.score.value,
            fusion=self.fusion.value,
            imputed_references=self.imputed_references.isChecked(),
            median=self.median.value() | 1,  # odd, whatever was typed
            volume_median=self.volume_median.isChecked(),
            smallest=self.smallest.value(),
            threshold=self.threshold.value,
        )
        return with_options(recipe, **self.options_form.options)

    @recipe.setter
    def recipe(self, recipe: Recipe) -> None:
        self.blockSignals(True)
        self._base = recipe
        self.options_form.options = dict(recipe.options)
        self.score.value, self.fusion.value = recipe.score, recipe.fusion
        self.imputed_references.setChecked(recipe.imputed_references)
        self.median.setValue(recipe.median)
        self.volume_median.setChecked(recipe.volume_median)
        self.smallest.setValue(recipe.smallest)
        self.threshold.value = recipe.threshold
        self.blockSignals(False)
        self.changed.emit()


def _count(high: int, tip: str) -> QSpinBox:
    box = QSpinBox()
    box.setRange(0, high)
    box.setSpecialValueText(OWN)
    box.setToolTip(tip)
    return box
