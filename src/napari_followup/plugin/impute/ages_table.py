"""The visits of a series by age, and which of them to impute; ages can be added."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
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

from napari_followup.plugin.forms.forms import add_row, new_form
from napari_followup.plugin.layers.layers import parse_ages
from napari_followup.prediction.gaps import SAME, check_new_ages, coming_ages, missing_ages
from napari_followup.series.stack import VisitStack

__all__ = ["AgesTable"]

HEIGHT, ROW = 222, 24  # pixels of the table and of a visit
ADDED = ("added", "forecast")  # kinds of rows that can be taken out again
KINDS = {
    "observed": "An image was taken at this age",
    "missing": "The series lists this visit without an image",
    "imputed": "Imputed before; check it to impute it anew",
    "gap": "No visit is listed here, but the others come at shorter intervals",
    "added": "Typed in",
    "forecast": "After the last visit",
}


@dataclass(eq=False)
class _Row:
    """One visit of the table."""

    age: float
    kind: str
    is_wanted: bool = True


class AgesTable(QWidget):
    """Ages of a series; those that are checked shall be imputed."""

    changed = Signal()
    complained = Signal(str)  # what is wrong with an age that was typed

    def __init__(self) -> None:
        super().__init__()
        self._stack: VisitStack | None = None
        self._rows: list[_Row] = []
        self.table = _new_table()
        self.note = QLabel()
        self.note.setWordWrap(True)
        self.typed = QLineEdit()
        self.typed.setPlaceholderText("61.5, 63")
        self.typed.setToolTip("Ages in years at which to impute a visit, too")
        self.add_button, self.forecast_button = QPushButton("add"), QPushButton("add")
        self.count = QSpinBox()
        self.count.setRange(1, 50)
        self.count.setValue(3)
        self.count.setSuffix(" visits")
        self.count.setToolTip("Visits after the last one, at the typical interval of the series")
        form = new_form(self)
        form.addRow(self.table)
        form.addRow(self.note)
        add_row(form, "other ages", _side_by_side(self.typed, self.add_button))
        add_row(form, "forecast", _side_by_side(self.count, self.forecast_button))
        self.table.itemChanged.connect(self._on_item)
        self.add_button.clicked.connect(self._on_add)
        self.typed.returnPressed.connect(self._on_add)
        self.forecast_button.clicked.connect(self.add_forecast)

    @property
    def ages(self) -> list[float]:
        """Ages to impute, rising."""
        return sorted(row.age for row in self._rows if row.is_wanted)

    @ages.setter
    def ages(self, ages: Sequence[float]) -> None:
        wanted = check_new_ages(self._shown(), ages) if len(ages) else np.array([])
        for row in self._rows:
            row.is_wanted = False
        self._add(wanted.tolist(), "added")

    def show_series(self, stack: VisitStack | None, note: str = "") -> None:
        """List the visits of another series; what was added to the same one stays."""
        self.note.setText(note)
        self.note.setVisible(bool(note))
        for part in (self.table, self.typed, self.count, self.add_button, self.forecast_button):
            part.setEnabled(stack is not None)
        if stack is None or self._stack is None or not _is_same(stack, self._stack):
            self._stack = stack
            self._rows = [] if stack is None else _rows_of(stack)
            self._fill()

    def take_typed(self) -> None:
        """Add the ages that were typed but not added yet.

        Raises
        ------
        ValueError
            If they are no numbers, or a visit was observed at one of them.
        """
        ages = parse_ages(self.typed.text())
        if ages is None:
            return
        if ages.ndim > 1:
            raise ValueError("other ages: give those of a single subject, as in 61, 62.5")
        self._add(check_new_ages(self._shown(), ages).tolist(), "added")
        self.typed.clear()

    def add_forecast(self) -> None:
        """Add as many visits after the last one as the box says."""
        if self._stack is not None:
            self._add(coming_ages(self._stack, self.count.value()).tolist(), "forecast")

    def remove(self, age: float) -> None:
        """Take out an age that was added."""
        self._rows = [r for r in self._rows if r.kind not in ADDED or abs(r.age - age) >= SAME]
        self._fill()

    def _shown(self) -> VisitStack:
        if self._stack is None:
            raise ValueError("there is no series to add a visit to; choose an image layer first")
        return self._stack

    def _add(self, ages: Iterable[float], kind: str) -> None:
        """Check the rows of these ages, new ones where there are none."""
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
            button.setToolTip("Take this age out again")
            button.clicked.connect(lambda _=False, age=row.age: self.remove(age))
            self.table.setCellWidget(number, 2, button)


def _rows_of(stack: VisitStack) -> list[_Row]:
    """Visits that a series lists, and those that its intervals suggest."""
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


def _side_by_side(field: QWidget, button: QPushButton) -> QHBoxLayout:
    row = QHBoxLayout()
    row.addWidget(field, stretch=1)
    row.addWidget(button)
    return row
