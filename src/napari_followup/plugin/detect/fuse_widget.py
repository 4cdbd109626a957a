"""The widget *Longitudinal fusion (LAFM)*: correct a visit's scores by the other visits'."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QWidget

from napari_followup.plugin.detect.actions import lafm_layers
from napari_followup.plugin.forms.fields import ChoiceForm, kinds_of
from napari_followup.plugin.forms.forms import column_of
from napari_followup.plugin.forms.series_input import SeriesInput
from napari_followup.plugin.layers.layers import LayerTuple
from napari_followup.plugin.results.step_panel import StepPanel, Work
from napari_followup.plugin.run.report import Report
from napari_followup.recipe.recipe import Fusion

__all__ = ["FuseWidget"]


class FuseWidget(QWidget):
    """Fuse a layer of scores; `step` has `run`, `stop`, `finished`, `layers` and `error`."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.series = SeriesInput(
            napari_viewer, label="scores", results=("fam", "score", "feature", "pixel")
        )
        self.fusion = ChoiceForm("fusion", [kind for kind in kinds_of(Fusion) if kind])
        self.step = StepPanel(
            napari_viewer, "Fuse", self._work, uses=lambda: [self.series.layers.layer]
        )
        self.series.layer_removed.connect(self.step.stop_without)
        column_of(self, self.series, self.fusion, self.step)

    def _work(self) -> Work:
        source, fusion = self.series.source(), self.fusion.value

        def work(report: Report) -> list[LayerTuple]:
            return lafm_layers(source, fusion, report=report)

        return work
