"""The widget *Align visits*: bring the visits of a subject onto one grid, ready to compare.

In a script::

    dock, widget = viewer.window.add_plugin_dock_widget("napari-followup", "Align visits")
    widget.step.finished.connect(lambda: print(widget.step.error or widget.step.layers))
    widget.step.run()
"""

from __future__ import annotations

import weakref
from typing import Any

from qtpy.QtWidgets import QWidget

from napari_followup.plugin.align.align_actions import align_layers
from napari_followup.plugin.align.align_form import MISSING, AlignForm, has_simpleitk
from napari_followup.plugin.align.visits_input import VisitsInput
from napari_followup.plugin.forms.forms import scrolled_column_of
from napari_followup.plugin.forms.series_input import unwrapped
from napari_followup.plugin.layers.layers import LayerTuple
from napari_followup.plugin.layers.visit_text import VisitText
from napari_followup.plugin.results.step_panel import StepPanel, Work
from napari_followup.plugin.run.report import Report

__all__ = ["AlignWidget"]


class AlignWidget(QWidget):
    """Align visits; `step` has `run`, `stop`, `finished`, `layers` and `error`.

    Attributes
    ----------
    visits, form
        The parts: the layers, and the steps with their settings.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrapped(napari_viewer))
        self.visits = VisitsInput(napari_viewer)
        self.form = AlignForm(napari_viewer)
        self.step = StepPanel(
            napari_viewer, "Align visits", self._work, uses=lambda: self.visits.layers
        )
        self._visit_text = VisitText(napari_viewer)
        scrolled_column_of(self, self.visits, self.form, self.step)
        self.visits.changed.connect(self._on_visits)
        self.visits.layer_removed.connect(self.step.stop_without)
        self.step.finished.connect(self._on_finished)
        self._visit_text.follow(self)
        self._on_visits()

    def _work(self) -> Work:
        visits, plan, given = self.visits.gathered(), self.form.plan, self.form.mask_combo.given
        if plan.needs_simpleitk and not has_simpleitk():
            raise ValueError(MISSING)
        self.step.update_existing = self.form.update_existing

        def work(report: Report) -> list[LayerTuple]:
            return align_layers(visits, plan, given, report=report)

        return work

    def _on_visits(self) -> None:
        if not self.step.job.is_running:
            self.step.job.say("")  # what was said was about what was chosen before
        try:
            self.form.show_visits(self.visits.gathered())
        except ValueError:
            self.form.show_visits(None)
        self._visit_text.know(self.visits.series.layers.layer, self.visits.series.visits)

    def _on_finished(self) -> None:
        """Show the result alone: the visits it came of lie elsewhere."""
        viewer = self._viewer()
        if viewer is None or not self.step.layers:
            return
        for layer in self.step.used:
            if layer in viewer.layers:
                layer.visible = False
        viewer.layers.selection.active = self.step.layers[0]
