"""The widget *Impute visits*: fill the gaps of a series, or go on past its last visit.

In a script::

    dock, widget = viewer.window.add_plugin_dock_widget("napari-followup", "Impute visits")
    widget.ages = [61.5, 63.0]
    widget.step.finished.connect(lambda: print(widget.step.error or widget.step.layers))
    widget.step.run()
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QSpinBox, QWidget
from superqt import QCollapsible

from napari_followup.plugin.forms.forms import add_row, new_form, scrolled_column_of
from napari_followup.plugin.forms.preferences import Preferences
from napari_followup.plugin.forms.series_input import SeriesInput, unwrapped
from napari_followup.plugin.impute.ages_table import AgesTable
from napari_followup.plugin.impute.impute_actions import ImputePlan, impute_layers
from napari_followup.plugin.layers.layers import LayerTuple, Source
from napari_followup.plugin.layers.visit_text import VisitText
from napari_followup.plugin.layers.visits import one_subject, outline
from napari_followup.plugin.models.model_combo import ModelCombo
from napari_followup.plugin.results.step_panel import StepPanel, Work
from napari_followup.plugin.run.progress import RunForm
from napari_followup.plugin.run.report import Report
from napari_followup.prediction.gaps import DRAWS, STRATEGIES

__all__ = ["ImputeWidget"]

ABOUT = {
    "joint": "From all observed visits at once",
    "both sides": "From the nearest visit before and the nearest after, weighted by distance",
    "direct": "From the nearest visit",
    "chain": "Visit by visit from the nearest earlier one, observed or imputed",
    "lerp-slerp": "Between two observed visits, by their codes in the SDM; noise along an arc",
    "lerp-lerp": "Between two observed visits, by their codes in the SDM",
}
ONE = "A single visit is observed: how fast this subject changes is not known."


class ImputeWidget(QWidget):
    """Impute visits of a series, at the ages that are checked.

    `step` has `run`, `stop`, `finished`, `layers` and `error`. A stop keeps what is finished.

    Attributes
    ----------
    series, subject_combo, visits, settings
        The parts: layer, axes and ages; one of many subjects; ages to impute; device and seed.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        kept = Preferences.load()
        self._viewer = weakref.ref(unwrapped(napari_viewer))
        self.series = SeriesInput(napari_viewer, sliced=True)
        self.subject_combo = QComboBox()
        self.subject_combo.setToolTip("Whose visits to impute")
        self.model_combo = ModelCombo(kept.model_folder, kept.model)
        self.visits = AgesTable()
        self.strategy = _strategies()
        self.draws, self.sampling_steps = _count(1, 100), _count(0, 1000)
        self.draws.setValue(DRAWS)
        self.draws.setToolTip("Images drawn for each age, of which the mean is shown")
        self.sampling_steps.setSpecialValueText("auto")
        self.sampling_steps.setToolTip("Network calls a draw; auto: as many as the model needs")
        self.spread, self.residual = QCheckBox("spread"), QCheckBox("temporal residual")
        self.spread.setChecked(False)
        self.spread.setToolTip("How much the draws differ; needs two draws or more")
        self.residual.setToolTip("How far each observed visit is from what the others predict")
        self.settings = RunForm()
        self.settings.device, self.settings.seed = kept.device, kept.seed
        self.step = StepPanel(
            napari_viewer,
            "Impute visits",
            self._work,
            uses=lambda: [self.series.layers.layer],
            keeps_partial=True,
        )
        self._visit_text = VisitText(napari_viewer)
        self._lay_out()
        self._connect()

    @property
    def ages(self) -> list[float]:
        """Ages to impute, in years; all subjects at once have none, but each one's own."""
        return self.visits.ages

    @ages.setter
    def ages(self, ages: Sequence[float]) -> None:
        self.visits.ages = ages

    @property
    def plan(self) -> ImputePlan:
        """How to impute, as set."""
        return ImputePlan(
            strategy=self.strategy.currentText(),
            draws=self.draws.value() if self.draws.isEnabled() else 1,
            sampling_steps=self.sampling_steps.value() or None,
            spread=self.spread.isChecked(),
            residual=self.residual.isChecked(),
            planes=self.series.slicing,
            device=self.settings.device,
            seed=self.settings.seed,
        )

    def _source(self) -> Source:
        """Take the layer, or the one subject of it that is chosen."""
        source = self.series.source()
        if "s" not in source.axes or self.subject_combo.currentIndex() < 1:
            return source
        return one_subject(source, self.subject_combo.currentIndex() - 1)

    def _work(self) -> Work:
        source, model, plan = self._source(), self.model_combo.chosen, self.plan
        ages: list[float] | None = None
        if "s" not in source.axes:
            self.visits.take_typed()
            ages = self.visits.ages
            if not ages:
                raise ValueError(
                    "no age is chosen: check a visit in the table, add an age, or a forecast"
                )
        self.step.update_existing = self.settings.update_existing

        def work(report: Report) -> list[LayerTuple]:
            return impute_layers(source, model, ages, plan, report=report)

        return work

    def _on_series(self) -> None:
        if not self.step.job.is_running:
            self.step.job.say("")  # what was said was about what was chosen before
        self._fill_subjects()
        self._show_visits()
        self._visit_text.know(self.series.layers.layer, self.series.visits)

    def _fill_subjects(self) -> None:
        try:
            source = self.series.source()
        except ValueError:
            source = None
        names = source.subjects if source is not None and "s" in source.axes else []
        there = [self.subject_combo.itemText(n) for n in range(1, self.subject_combo.count())]
        self._rows.setRowVisible(self.subject_combo, bool(names))
        if names != there or not names:
            with QSignalBlocker(self.subject_combo):
                self.subject_combo.clear()
                self.subject_combo.addItems(["all, each one's missing visits", *names])
                if source is not None and names and not _missing(source):
                    self.subject_combo.setCurrentIndex(1)

    def _show_visits(self) -> None:
        try:
            source = self._source()
            if "s" in source.axes:
                self.visits.show_series(None, _said_of_all(source))
                return
            stack = outline(source)
        except (TypeError, ValueError) as error:
            chosen = self.series.layers.layer is not None and self.series.axes is not None
            self.visits.show_series(None, str(error) if chosen else "")
            return
        self.visits.show_series(stack, ONE if stack.is_observed.sum() == 1 else "")

    def _on_finished(self) -> None:
        viewer = self._viewer()
        if viewer is not None and self.step.layers:  # text and timeline are about the new visits
            viewer.layers.selection.active = self.step.layers[0]

    def _on_draws(self) -> None:
        draws_any = not self.strategy.currentText().startswith("lerp")
        self.draws.setEnabled(draws_any)
        self.spread.setEnabled(draws_any and self.draws.value() > 1)

    def _connect(self) -> None:
        self.series.changed.connect(self._on_series)
        self.series.layer_removed.connect(self.step.stop_without)
        self.subject_combo.currentIndexChanged.connect(self._show_visits)
        self.visits.complained.connect(lambda text: self.step.job.say(text, is_error=True))
        self.draws.valueChanged.connect(self._on_draws)
        self.strategy.currentTextChanged.connect(self._on_draws)
        self.step.finished.connect(self._on_finished)
        self._visit_text.follow(self)
        self._on_series()

    def _lay_out(self) -> None:
        self._rows, how, boxes = new_form(), new_form(), QHBoxLayout()
        add_row(self._rows, "subject", self.subject_combo)
        add_row(self._rows, "model", self.model_combo)
        boxes.addWidget(self.spread)
        boxes.addWidget(self.residual)
        add_row(how, "strategy", self.strategy)
        add_row(how, "draws", self.draws)
        add_row(how, "also show", boxes)
        advanced = QCollapsible("advanced", expandedIcon="▾", collapsedIcon="▸")
        steps = QWidget()
        add_row(new_form(steps), "sampling steps", self.sampling_steps)
        advanced.addWidget(steps)
        advanced.addWidget(self.settings)
        scrolled_column_of(self, self.series, self._rows, self.visits, how, advanced, self.step)


def _strategies() -> QComboBox:
    combo = QComboBox()
    for index, strategy in enumerate(STRATEGIES):
        combo.addItem(strategy)
        combo.setItemData(index, ABOUT[strategy], Qt.ItemDataRole.ToolTipRole)
    combo.currentTextChanged.connect(lambda strategy: combo.setToolTip(ABOUT[strategy]))
    combo.setToolTip(ABOUT[combo.currentText()])
    return combo


def _count(low: int, high: int) -> QSpinBox:
    box = QSpinBox()
    box.setRange(low, high)
    return box


def _missing(source: Source) -> list[int]:
    """Count the missing visits of each subject that misses one."""
    found = []
    for subject in range(source.n_subjects):
        with suppress(TypeError, ValueError):  # of no visit at all: said when the run begins
            found.append(int(outline(source, subject).is_missing.sum()))
    return [missing for missing in found if missing]


def _said_of_all(source: Source) -> str:
    """Say what a run on all subjects will fill in."""
    missing = _missing(source)
    if not missing:
        return "No subject misses a visit: choose a single subject to add visits to its series."
    return f"{sum(missing)} missing visits of {len(missing)} subjects will be imputed in place."
