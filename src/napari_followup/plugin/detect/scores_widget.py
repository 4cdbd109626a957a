"""The widget *Feature attention (FAM)*: score a series against its healthy images."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QWidget

from napari_followup.plugin.detect.actions import fam_layers
from napari_followup.plugin.forms.fields import FieldsForm
from napari_followup.plugin.forms.forms import add_row, column_of, new_form
from napari_followup.plugin.forms.layer_choices import LayerCombo
from napari_followup.plugin.forms.preferences import Preferences
from napari_followup.plugin.forms.series_input import SeriesInput
from napari_followup.plugin.layers.layers import LayerTuple, source_of
from napari_followup.plugin.models.model_choice import ModelCombo
from napari_followup.plugin.results.step_panel import StepPanel, Work
from napari_followup.plugin.run.progress import RunForm
from napari_followup.plugin.run.report import Report
from napari_followup.recipe.recipe import Fam

__all__ = ["ScoresWidget"]


class ScoresWidget(QWidget):
    """Pixel, feature and FAM score of a series, a layer each.

    `step` has `run`, `stop`, `finished`, `layers` and `error`.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        kept = Preferences.load()
        self.series = SeriesInput(napari_viewer)
        self.healthy = LayerCombo(napari_viewer, results=("healthy",))
        self.model_combo = ModelCombo(kept.model_folder, kept.model)
        self.score = FieldsForm(Fam())
        self.settings = RunForm(seeded=False)
        self.settings.device = kept.device
        self.step = StepPanel(napari_viewer, "Score", self._work, uses=self._layers)
        for each in (self.series, self.healthy):
            each.layer_removed.connect(self.step.stop_without)
        form = new_form()
        add_row(form, "healthy", self.healthy)
        add_row(form, "model", self.model_combo)
        column_of(self, self.series, form, self.score, self.settings, self.step)

    def _layers(self) -> list[Any]:
        return [self.series.layers.layer, self.healthy.layer]

    def _work(self) -> Work:
        source, score, model = self.series.source(), self.score.value, self.model_combo.chosen
        layer, device = self.healthy.layer, self.settings.device
        if layer is None:
            raise ValueError("there are no healthy images; make them with Reconstruct (SDM) first")
        healthy = source_of(layer, axes=source.axes)
        self.step.update_existing = self.settings.update_existing

        def work(report: Report) -> list[LayerTuple]:
            return fam_layers(source, healthy, model, score, device=device, report=report)

        return work
