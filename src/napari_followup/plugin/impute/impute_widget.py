"""The widget *Impute visits*: impute missing visits of a series, or visits after its last.

In a script::

    dock, widget = viewer.window.add_plugin_dock_widget("napari-followup", "Impute visits")
    widget.ages = [61.5, 63.0]
    widget.step.finished.connect(lambda: print(widget.step.error or widget.step.layers))
    widget.step.run()
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QToolButton,
    QWidget,
)
from superqt import QCollapsible

from napari_followup.plugin.forms.fields import FieldsForm, Hint
from napari_followup.plugin.forms.forms import add_row, new_form, row_of, scrolled_column_of
from napari_followup.plugin.forms.layer_choices import unwrapped
from napari_followup.plugin.forms.preferences import Preferences, RunSettings
from napari_followup.plugin.forms.series_input import SeriesInput
from napari_followup.plugin.impute.impute_actions import ImputePlan, impute_layers
from napari_followup.plugin.layers.layers import LayerTuple, Source, parse_ages
from napari_followup.plugin.layers.visit_text import VisitText
from napari_followup.plugin.layers.visits import one_subject, outline
from napari_followup.plugin.models.model_choice import ModelCombo
from napari_followup.plugin.results.step_panel import StepPanel, Work
from napari_followup.plugin.run.report import Report
from napari_followup.prediction.gaps import (
    SAME,
    STRATEGIES,
    check_new_ages,
    coming_ages,
    missing_ages,
)
from napari_followup.series.stack import VisitStack

__all__ = ["AgesTable", "ImputeWidget"]

ABOUT = {
    "joint": "From all observed visits at once",
    "both sides": "From the nearest visit before and the nearest after, weighted by distance",
    "direct": "From the nearest visit",
    "chain": "Visit by visit from the nearest earlier one, observed or imputed",
    "lerp-slerp": "Between two observed visits, by their codes in the SDM; noise along an arc",
    "lerp-lerp": "Between two observed visits, by their codes in the SDM",
}
PLAN = {  # fields of a plan that have a row
    "strategy": Hint(choices=[(strategy, strategy) for strategy in STRATEGIES]),
    "draws": Hint(tip="Images drawn for each age; their mean is shown", between=(1, 100)),
    "spread": Hint(
        label="also show",
        text="spread",
        tip="How much the draws differ; needs two draws or more",
    ),
    "residual": Hint(
        label=" ",
        text="temporal residual",
        tip="How far each observed visit is from what the other visits predict",
    ),
    "sampling_steps": Hint(
        tip="Network calls a draw; auto: as many as the model needs",
        empty="auto",
        between=(1, 1000),
    ),
}
ONE = "Only one visit is observed, so it is not known how fast this subject changes."


class ImputeWidget(QWidget):
    """Impute visits of a series, at the ages that are checked.

    `step` has `run`, `stop`, `finished`, `layers` and `error`. A stop keeps the finished visits.

    Attributes
    ----------
    series, subject_combo, visits, settings
        The parts: layer, axes and ages; one of many subjects; ages to impute; device and seed.
    controls
        One a field of the plan, as ``controls["draws"].value``.
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
        self._how = FieldsForm(ImputePlan(), PLAN, tuple(PLAN)[:-1])
        self._more = FieldsForm(ImputePlan(), PLAN, ("sampling_steps",))
        self.controls: dict[str, Any] = self._how.widgets | self._more.widgets
        self.settings = FieldsForm(RunSettings(), names=("device", "seed", "update_existing"))
        self.settings.value = kept.run
        self.step = StepPanel(
            napari_viewer,
            "Impute visits",
            self._work,
            uses=lambda: [self.series.layer],
            keeps_partial=True,
        )
        self._visit_text = VisitText(napari_viewer)
        self._lay_out()
        self._connect()

    @property
    def ages(self) -> list[float]:
        """Ages to impute, in years; none where the missing visits of all subjects are imputed."""
        return self.visits.ages

    @ages.setter
    def ages(self, ages: Sequence[float]) -> None:
        self.visits.ages = ages

    @property
    def plan(self) -> ImputePlan:
        """How to impute, as set."""
        run, values = self.settings.value, self._how.values | self._more.values
        draws = values["draws"] if self.controls["draws"].enabled else 1
        return ImputePlan(
            **values | {"draws": draws},
            planes=self.series.slicing,
            device=run.device,
            seed=run.seed,
        )

    def _source(self) -> Source:
        """Source of the layer, or of its chosen subject."""
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
                    "no age is chosen; check a visit in the table, add an age, or add a forecast"
                )
        self.step.update_existing = self.settings.value.update_existing

        def work(report: Report) -> list[LayerTuple]:
            return impute_layers(source, model, ages, plan, report=report)

        return work

    def _on_series(self) -> None:
        if not self.step.job.is_running:
            self.step.job.show_text("")  # it was about the previous choice
        self._fill_subjects()
        self._show_visits()
        self._visit_text.know(self.series.layer, self.series.visits)

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
                self.subject_combo.addItems(["all: the missing visits of each", *names])
                if source is not None and names and not _missing(source):
                    self.subject_combo.setCurrentIndex(1)

    def _show_visits(self) -> None:
        try:
            source = self._source()
            if "s" in source.axes:
                self.visits.show_series(None, _note_on_all(source))
                return
            stack = outline(source)
        except (TypeError, ValueError) as error:
            chosen = self.series.layer is not None and self.series.axes is not None
            self.visits.show_series(None, str(error) if chosen else "")
            return
        self.visits.show_series(stack, ONE if stack.is_observed.sum() == 1 else "")

    def _on_finished(self) -> None:
        viewer = self._viewer()
        if viewer is not None and self.step.layers:  # the text and the timeline show the new visits
            viewer.layers.selection.active = self.step.layers[0]

    def _on_plan(self) -> None:
        strategy, draws, spread = (self.controls[name] for name in ("strategy", "draws", "spread"))
        draws.enabled = not strategy.value.startswith("lerp")  # which draw nothing
        spread.enabled = draws.enabled and draws.value > 1
        strategy.tooltip = ABOUT[strategy.value]

    def _connect(self) -> None:
        self.series.changed.connect(self._on_series)
        self.series.layer_removed.connect(self.step.stop_without)
        self.subject_combo.currentIndexChanged.connect(self._show_visits)
        self.visits.complained.connect(lambda text: self.step.job.show_text(text, is_error=True))
        self._how.changed.connect(self._on_plan)
        self.step.finished.connect(self._on_finished)
        self._visit_text.follow(self)
        self._on_plan()
        self._on_series()

    def _lay_out(self) -> None:
        self._rows = new_form()
        add_row(self._rows, "subject", self.subject_combo)
        add_row(self._rows, "model", self.model_combo)
        combo = self.controls["strategy"].native
        for index, strategy in enumerate(STRATEGIES):
            combo.setItemData(index, ABOUT[strategy], Qt.ItemDataRole.ToolTipRole)
        advanced = QCollapsible("advanced", expandedIcon="▾", collapsedIcon="▸")
        advanced.addWidget(self._more)
        advanced.addWidget(self.settings)
        parts = (self.series, self._rows, self.visits, self._how, advanced, self.step)
        scrolled_column_of(self, *parts)


def _missing(source: Source) -> list[int]:
    """Count the missing visits of each subject that misses one."""
    found = []
    for subject in range(source.n_subjects):
        with suppress(TypeError, ValueError):  # no visit at all: reported when the run begins
            found.append(int(outline(source, subject).is_missing.sum()))
    return [missing for missing in found if missing]


def _note_on_all(source: Source) -> str:
    """Say what a run on all subjects will impute."""
    missing = _missing(source)
    if not missing:
        return "No subject misses a visit; choose a single subject to add visits to its series."
    return f"{sum(missing)} missing visits of {len(missing)} subjects will be imputed in place."


HEIGHT, ROW = 222, 24  # pixels of the table and of a visit
ADDED = ("added", "forecast")  # kinds of rows that can be removed
KINDS = {
    "observed": "An image was taken at this age",
    "missing": "The series lists this visit without an image",
    "imputed": "Imputed before; check it to impute it again",
    "gap": "The interval here is long; a visit may be missing",
    "added": "Added by you",
    "forecast": "After the last visit, at the typical interval",
}


@dataclass(eq=False)
class _Row:
    """One visit of the table."""

    age: float
    kind: str
    is_wanted: bool = True


class AgesTable(QWidget):
    """Ages of a series; those that are checked are imputed."""

    changed = Signal()
    complained = Signal(str)  # error in the typed ages

    def __init__(self) -> None:
        super().__init__()
        self._stack: VisitStack | None = None
        self._rows: list[_Row] = []
        self.table = _new_table()
        self.note = QLabel()
        self.note.setWordWrap(True)
        self.typed = QLineEdit()
        self.typed.setPlaceholderText("61.5, 63")
        self.typed.setToolTip("More ages to impute, in years")
        self.add_button, self.forecast_button = QPushButton("add"), QPushButton("add")
        self.count = QSpinBox()
        self.count.setRange(1, 50)
        self.count.setValue(3)
        self.count.setSuffix(" visits")
        self.count.setToolTip("Visits after the last one, at the typical interval of the series")
        form = new_form(self)
        form.addRow(self.table)
        form.addRow(self.note)
        add_row(form, "other ages", row_of(self.typed, self.add_button))
        add_row(form, "forecast", row_of(self.count, self.forecast_button))
        self.table.itemChanged.connect(self._on_item)
        self.add_button.clicked.connect(self._on_add)
        self.typed.returnPressed.connect(self._on_add)
        self.forecast_button.clicked.connect(self.add_forecast)

    @property
    def ages(self) -> list[float]:
        """Ages to impute, in ascending order."""
        return sorted(row.age for row in self._rows if row.is_wanted)

    @ages.setter
    def ages(self, ages: Sequence[float]) -> None:
        wanted = check_new_ages(self._shown(), ages) if len(ages) else np.array([])
        for row in self._rows:
            row.is_wanted = False
        self._add(wanted.tolist(), "added")

    def show_series(self, stack: VisitStack | None, note: str = "") -> None:
        """List the visits of a series; ages added to the same series stay."""
        self.note.setText(note)
        self.note.setVisible(bool(note))
        for part in (self.table, self.typed, self.count, self.add_button, self.forecast_button):
            part.setEnabled(stack is not None)
        if stack is None or self._stack is None or not _is_same(stack, self._stack):
            self._stack = stack
            self._rows = [] if stack is None else _rows_of(stack)
            self._fill()

    def take_typed(self) -> None:
        """Add the typed ages.

        Raises
        ------
        ValueError
            If they cannot be read, or a visit was observed at one of them.
        """
        ages = parse_ages(self.typed.text())
        if ages is None:
            return
        if ages.ndim > 1:
            raise ValueError("other ages: give ages of one subject, as in 61, 62.5")
        self._add(check_new_ages(self._shown(), ages).tolist(), "added")
        self.typed.clear()

    def add_forecast(self) -> None:
        """Add visits after the last one, as many as the box says."""
        if self._stack is not None:
            self._add(coming_ages(self._stack, self.count.value()).tolist(), "forecast")

    def remove(self, age: float) -> None:
        """Remove an added age."""
        self._rows = [r for r in self._rows if r.kind not in ADDED or abs(r.age - age) >= SAME]
        self._fill()

    def _shown(self) -> VisitStack:
        if self._stack is None:
            raise ValueError("there is no series to add a visit to; choose an image layer first")
        return self._stack

    def _add(self, ages: Iterable[float], kind: str) -> None:
        """Check the rows of these ages; add those that are not there."""
        for age in ages:
            there = [row for row in self._rows if abs(row.age - age) < SAME]
            for row in there:
                row.is_wanted = row.kind != "observed"
            if not there:
                self._rows.append(_Row(age, kind))
        self._rows.sort(key=lambda row: row.age)
        self._fill()
        wanted = [number for number, row in enumerate(self._rows) if row.kind == kind]
        if wanted:
            self.table.scrollToItem(self.table.item(wanted[-1], 0))

    def _on_add(self) -> None:
        try:
            self.take_typed()
        except ValueError as error:
            self.complained.emit(str(error))

    def _on_item(self, item: QTableWidgetItem) -> None:
        if item.column() == 0:
            is_wanted = item.checkState() == Qt.CheckState.Checked
            self._rows[item.row()].is_wanted = is_wanted
            self.changed.emit()

    def _fill(self) -> None:
        with QSignalBlocker(self.table):
            self.table.setRowCount(0)
            self.table.setRowCount(len(self._rows))
            for number, row in enumerate(self._rows):
                self._fill_row(number, row)
        self.changed.emit()

    def _fill_row(self, number: int, row: _Row) -> None:
        age, kind = QTableWidgetItem(f"{row.age:.5g}"), QTableWidgetItem(row.kind)
        for item in (age, kind):
            item.setFlags(Qt.ItemFlag.ItemIsEnabled)
        if row.kind != "observed":
            age.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            age.setCheckState(Qt.CheckState.Checked if row.is_wanted else Qt.CheckState.Unchecked)
        for column, item in enumerate((age, kind)):
            item.setToolTip(KINDS[row.kind])
            self.table.setItem(number, column, item)
        if row.kind in ADDED:
            button = QToolButton()
            button.setText("×")
            button.setToolTip("Remove this age")
            button.clicked.connect(lambda _=False, age=row.age: self.remove(age))
            self.table.setCellWidget(number, 2, button)


def _rows_of(stack: VisitStack) -> list[_Row]:
    """Visits of a series, and ages where a visit may be missing."""
    missing = stack.is_missing
    kinds = np.where(stack.is_observed, "observed", np.where(missing, "missing", "imputed"))
    rows = [
        _Row(age, str(kind), is_wanted=kind == "missing")
        for age, kind in zip(stack.ages.tolist(), kinds, strict=True)
    ]
    gaps = [a for a in missing_ages(stack).tolist() if np.abs(stack.ages - a).min() >= SAME]
    return sorted([*rows, *(_Row(age, "gap") for age in gaps)], key=lambda row: row.age)


def _is_same(stack: VisitStack, other: VisitStack) -> bool:
    return stack.subject == other.subject and all(
        np.array_equal(getattr(stack, name), getattr(other, name))
        for name in ("ages", "is_observed", "is_missing")
    )


def _new_table() -> QTableWidget:
    table = QTableWidget(0, 3)
    table.setHorizontalHeaderLabels(["age", "visit", ""])
    table.setSelectionMode(QTableWidget.SelectionMode.NoSelection)
    table.setFixedHeight(HEIGHT)
    rows, columns = table.verticalHeader(), table.horizontalHeader()
    assert rows is not None  # every table has them
    assert columns is not None
    rows.hide()
    rows.setMinimumSectionSize(ROW)
    rows.setDefaultSectionSize(ROW)
    for column, mode in enumerate(
        (
            QHeaderView.ResizeMode.Stretch,
            QHeaderView.ResizeMode.Stretch,
            QHeaderView.ResizeMode.ResizeToContents,
        )
    ):
        columns.setSectionResizeMode(column, mode)
    return table
