"""The widget *Detect anomalies*: choose a series and a model, and get layers.

In a script::

    dock, widget = viewer.window.add_plugin_dock_widget("napari-followup", "Detect anomalies")
    widget.finished.connect(lambda: print(widget.error or widget.detection.image_score))
    widget.run()
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QWidget
from superqt import QCollapsible

from napari_followup.plugin.detect.actions import detect_layers
from napari_followup.plugin.detect.recipe_form import RecipeChoice
from napari_followup.plugin.detect.result_panel import ResultPanel, summary
from napari_followup.plugin.forms.fields import FieldsForm
from napari_followup.plugin.forms.forms import ScrolledColumn, add_row, new_form, scrolled_column_of
from napari_followup.plugin.forms.layer_choices import unwrapped
from napari_followup.plugin.forms.preferences import Preferences, RunSettings
from napari_followup.plugin.forms.series_input import SeriesInput
from napari_followup.plugin.layers.layers import LayerTuple, Source
from napari_followup.plugin.layers.result_layers import Found, detection_layers, show_layers
from napari_followup.plugin.layers.visit_text import VisitText
from napari_followup.plugin.models.model_choice import ModelCombo
from napari_followup.plugin.run.progress import STOPPED, JobPanel
from napari_followup.plugin.run.report import Report
from napari_followup.recipe.recipe import Recipe
from napari_followup.series.results import Detection

__all__ = ["DetectWidget"]


class DetectWidget(QWidget):
    """Detect anomalies in a series.

    Attributes
    ----------
    series, recipes, form, settings, job, results
        The parts: layer, axes and ages; name of the recipe; its values; device, seed and layers;
        progress; finding, threshold and timeline.
    error
        Error of the last run; empty after a good one.
    """

    finished = Signal()  # after every run, good, failed or stopped

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrapped(napari_viewer))
        self._layer: Any = lambda: None  # of the current run
        self._made_by = ""  # the model of the results
        self.error = ""
        self.series = SeriesInput(napari_viewer, sliced=True)
        self.model_combo = ModelCombo()
        self.recipes = RecipeChoice()
        self.preset, self.form = self.recipes.preset, self.recipes.form
        self.settings = FieldsForm(RunSettings())
        self.advanced = QCollapsible("advanced", expandedIcon="▾", collapsedIcon="▸")
        self.reset_button = QPushButton("reset all settings")
        self.button = QPushButton("Detect anomalies")
        self.job = JobPanel()
        self.results = ResultPanel(napari_viewer)
        self._visit_text = VisitText(napari_viewer)
        self._column = _lay_out(self)
        self._connect()
        self.remembered = Preferences.load()

    @property
    def detection(self) -> Detection | None:
        """Last detection of the subject in the viewer; it follows the threshold slider."""
        return self.results.detection

    @property
    def detections(self) -> tuple[Detection | None, ...]:
        """Last detections of all subjects."""
        return () if self.results.found is None else self.results.found.detections

    @property
    def layer(self) -> Any:
        """The image layer to examine."""
        return self.series.layers.layer

    @layer.setter
    def layer(self, layer: Any) -> None:
        self.series.layers.layer = layer

    @property
    def axes(self) -> str | None:
        """Axes of the layer, as ``"svyx"``; set them where the layer does not name them."""
        return self.series.axes

    @axes.setter
    def axes(self, axes: str) -> None:
        self.series.axes = axes

    def set_ages(self, ages: Sequence[float]) -> None:
        """Set the ages, in years and in the order of the layer's visits."""
        self.series.ages_edit.setText(", ".join(f"{age:.12g}" for age in ages))

    @property
    def model(self) -> str:
        """Name of an embedded model, or a file."""
        return self.model_combo.chosen

    @model.setter
    def model(self, model: str) -> None:
        self.model_combo.chosen = model

    @property
    def recipe(self) -> Recipe:
        """The recipe of the next run."""
        return self.recipes.recipe

    @recipe.setter
    def recipe(self, recipe: Recipe) -> None:
        self.recipes.recipe = recipe

    @property
    def remembered(self) -> Preferences:
        """Settings for the next session."""
        kept = Preferences.load().with_run(self.settings.value)
        return replace(kept, model=self.model, recipe=self.recipes.remembered)

    @remembered.setter
    def remembered(self, kept: Preferences) -> None:
        self.settings.value = kept.run
        self.model_combo.fill(kept.model_folder, kept.model)
        self.recipes.remembered = kept.recipe

    def run(self) -> None:
        """Start a run; `finished` is sent at its end, `detection` and `error` hold the outcome."""
        if self.job.is_running:
            return
        try:
            source, recipe = self.series.source(), self.recipes.checked()
            if problem := self.recipes.facts.mismatch(source):
                raise ValueError(problem)
            planes = self.series.slicing
        except ValueError as error:
            self._fail(str(error))
            return
        model, settings = self.model, self.settings.value
        device, seed = settings.device, settings.seed
        self.remembered.save()

        def work(report: Report) -> tuple[Found, list[LayerTuple], str]:
            found = detect_layers(
                source, model, recipe, device=device, seed=seed, planes=planes, report=report
            )
            return found, detection_layers(found, settings.layers), model

        self.error, self._layer = "", weakref.ref(self.layer)
        self.job.start(f"Detect anomalies in {_short(source)}", work)

    def stop(self) -> None:
        """End the run; nothing is added."""
        self.job.stop()

    def reset(self) -> None:
        """Restore the default settings; the model folder stays."""
        folder = Preferences.load().model_folder
        self.remembered = Preferences(model_folder=folder)
        self.remembered.save()

    def _fail(self, text: str) -> None:
        self.error = text
        self.job.show_text(text, is_error=True)
        self.results.follow(None)  # they belong to another run
        self._column.reveal(self.job)
        self.finished.emit()

    def _on_model(self) -> None:
        self.recipes.follow(self.model)
        self._on_series()

    def _on_series(self) -> None:
        if not self.job.is_running:
            # the text was about the previous choice
            self.job.show_text(_mismatch(self), is_error=True)
        self.results.follow(None if self.job.is_running else _examined(self))
        self._visit_text.know(self.layer, self.series.visits)

    def _on_removed(self, layer: Any) -> None:
        if self.job.is_running and layer is self._layer():
            self.job.stop(
                reason=f"{layer.name!r} was removed, so its run was stopped; nothing was added."
            )

    def _on_returned(self, result: tuple[Found, list[LayerTuple], str]) -> None:
        found, layers, model = result
        viewer, layer = self._viewer(), self._layer()
        if viewer is None or layer is None:
            return
        shown = show_layers(viewer, layers, update=self.settings.value.update_existing)
        self.results.show_found(found, layer, shown)
        self._made_by = model
        self.job.show_text(
            "" if layer is _examined(self) else summary(found)
        )  # else the panel shows it

    def _on_started(self) -> None:
        self.button.setEnabled(False)
        self.results.follow(None)
        self._column.reveal(self.job)

    def _on_ended(self) -> None:
        self.button.setEnabled(True)
        self.error = self.job.error
        self.results.follow(_examined(self) if self.error in ("", STOPPED) else None)
        self._column.reveal(self.job if self.results.isHidden() else self.results)
        self.finished.emit()

    def _connect(self) -> None:
        self.button.clicked.connect(self.run)
        self.model_combo.model_changed.connect(self._on_model)
        self.recipes.customized.connect(self.advanced.expand)
        self.series.layer_removed.connect(self._on_removed)
        self.series.changed.connect(self._on_series)
        self.job.started.connect(self._on_started)
        self.job.returned.connect(self._on_returned)
        self.job.ended.connect(self._on_ended)
        self.reset_button.clicked.connect(self.reset)
        self._visit_text.follow(self)
        self._on_series()


def _lay_out(widget: DetectWidget) -> ScrolledColumn:
    """One column that scrolls on a small screen."""
    for part in (widget.form, widget.settings, widget.reset_button):
        widget.advanced.addWidget(part)
    choices = new_form()
    add_row(choices, "model", widget.model_combo)
    add_row(choices, "recipe", widget.recipes)
    below = (widget.advanced, widget.button, widget.job, widget.results)
    return scrolled_column_of(widget, widget.series, choices, *below)


def _examined(widget: DetectWidget) -> Any:
    """Give the chosen layer; None where the results are of another model."""
    return widget.layer if widget.model == widget._made_by else None


def _mismatch(widget: DetectWidget) -> str:
    """Say why the chosen model cannot take the chosen images; empty where it can."""
    try:
        return widget.recipes.facts.mismatch(widget.series.source())
    except ValueError:
        return ""  # reported when the run begins


def _short(source: Source) -> str:
    return source.name if len(source.name) < 40 else f"{source.name[:38]}…"
