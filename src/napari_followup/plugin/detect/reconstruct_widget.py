"""The widget *Reconstruct (SDM)*: healthy images alone, first of the steps to chain by hand."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QWidget

from napari_followup.plugin.detect.actions import reconstruct_layers
from napari_followup.plugin.detect.recipe_form import OptionsForm
from napari_followup.plugin.forms.forms import add_row, column_of, new_form
from napari_followup.plugin.forms.preferences import Preferences
from napari_followup.plugin.forms.series_input import SeriesInput
from napari_followup.plugin.layers.layers import LayerTuple
from napari_followup.plugin.models.model_choice import ModelCombo, ModelFacts, facts_of
from napari_followup.plugin.results.step_panel import StepPanel, Work
from napari_followup.plugin.run.progress import RunForm
from napari_followup.plugin.run.report import Report

__all__ = ["ReconstructWidget"]


class ReconstructWidget(QWidget):
    """Make the healthy images of a series.

    `step` has `run`, `stop`, `finished`, `layers` and `error`.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        kept = Preferences.load()
        self.series = SeriesInput(napari_viewer, sliced=True)
        self.model_combo = ModelCombo(kept.model_folder, kept.model)
        self.facts, self.options = ModelFacts(), OptionsForm(ModelFacts().option_type)
        self.options.options = self.facts.recipes["default"].options
        self.settings = RunForm()
        self.settings.device, self.settings.seed = kept.device, kept.seed
        self.step = StepPanel(
            napari_viewer, "Reconstruct", self._work, uses=lambda: [self.series.layers.layer]
        )
        self.series.layer_removed.connect(self.step.stop_without)
        self.model_combo.model_changed.connect(self._on_model)
        model = new_form()
        add_row(model, "model", self.model_combo)
        column_of(self, self.series, model, self.options, self.settings, self.step)
        self._on_model()

    def _on_model(self) -> None:
        """Ask for the options of the model's method, set as in its default recipe."""
        facts = facts_of(self.model_combo.chosen)
        if facts != self.facts:
            self.facts = facts
            self.options.ask(facts.option_type)
            self.options.options = facts.recipes["default"].options

    def _check(self) -> None:
        if "healthy" not in self.facts.gives:
            raise ValueError(
                f"model: {self.facts.title} gives no healthy images, but a score of its own; use "
                "it in Detect anomalies, or choose another model"
            )

    def _work(self) -> Work:
        source, model = self.series.source(), self.model_combo.chosen
        self._check()
        if problem := self.facts.mismatch(source):
            raise ValueError(problem)
        options = self.options.options
        device, seed, planes = self.settings.device, self.settings.seed, self.series.slicing
        self.step.update_existing = self.settings.update_existing

        def work(report: Report) -> list[LayerTuple]:
            return reconstruct_layers(
                source, model, options, device=device, seed=seed, planes=planes, report=report
            )

        return work
