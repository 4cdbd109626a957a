"""The widget *Longitudinal stack*: one series of visits, from files or from layers.

In a script::

    dock, widget = viewer.window.add_plugin_dock_widget("napari-followup", "Longitudinal stack")
    widget.checked.connect(lambda: print(widget.complaint) if widget.complaint else widget.run())
    widget.visits.add_paths(["visits.csv"])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QSize, Signal
from qtpy.QtWidgets import QLabel, QWidget

from napari_followup.plugin.forms.forms import scrolled_column_of
from napari_followup.plugin.layers.layers import LayerTuple
from napari_followup.plugin.results.step_panel import StepPanel, Work
from napari_followup.plugin.run.report import Report
from napari_followup.plugin.stack.stack_checks import Checked, check
from napari_followup.plugin.stack.stack_form import StackForm
from napari_followup.plugin.stack.stack_making import make_layers, plan_of
from napari_followup.plugin.stack.stack_rows import Options, Row
from napari_followup.plugin.stack.visits_panel import VisitsPanel

__all__ = ["StackWidget"]

WIDTH = 740  # pixels, so that the whole table is seen


class StackWidget(QWidget):
    """Bring visits together from files and layers, and make one stack of them.

    Attributes
    ----------
    visits, form
        Table of visits with what adds to it; what is said of the stack as a whole.
    step
        Button, progress and layers of *Create stack*: `run`, `finished`, `layers`, `error`.
    complaint
        Why there can be no stack; empty where there can.
    """

    checked = Signal()  # whenever all that was added is read and checked

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.visits, self.form = VisitsPanel(napari_viewer), StackForm()
        self.reason = QLabel()
        self.reason.setWordWrap(True)
        self.step = StepPanel(napari_viewer, "Create stack", self._work)
        self.step.update_existing = False
        self.complaint = ""
        scrolled_column_of(self, self.visits, self.form, self.reason, self.step)
        self.visits.changed.connect(self.refresh)
        self.visits.sort_wanted.connect(self._on_sort)
        self.form.changed.connect(self.refresh)
        self.form.subject_chosen.connect(self._on_subject)
        self.form.axes_chosen.connect(self.visits.set_axes)
        self.step.finished.connect(self._show_reason)
        self.refresh()

    @property
    def rows(self) -> list[Row]:
        """Rows as they are shown."""
        return self.visits.model.shown

    def sizeHint(self) -> QSize:
        """Say how wide the widget would like to be; it can be made narrower."""
        return QSize(WIDTH, super().sizeHint().height())

    def set_ages(self, ages: Sequence[float | str]) -> None:
        """Type the ages in years, or dates, of the rows, in their order."""
        for row, age in zip(self.rows, ages, strict=True):
            row.when = str(age)
        self.refresh()

    def run(self) -> None:
        """Make the stack; `step.finished` says when it is over."""
        self.step.run()

    def refresh(self) -> None:
        """Check the rows and show them."""
        model = self.visits.model
        doubtful = model.doubtful
        choices = doubtful[0].choices if doubtful else ()
        self.form.show_axes(choices, doubtful[0].axes if doubtful else None)
        self.form.show_subjects(model.subjects, model.subject, _usual_name(self.rows))
        options, wrong = self._options()
        checked = check(self.rows, options)
        self.visits.show_checked(checked)
        self.complaint = wrong or checked.complaint
        self._show_reason()
        if not self.visits.is_busy:
            self.checked.emit()

    def _options(self) -> tuple[Options, str]:
        """Take the form's options, or those of an empty form and what is wrong with it."""
        try:
            return self.form.options(), ""
        except ValueError as error:
            return Options(), str(error)

    def _work(self) -> Work:
        rows, options = self.rows, self.form.options()
        checked: Checked = check(rows, options)
        plan = plan_of(rows, checked, options)

        def work(report: Report) -> list[LayerTuple]:
            return make_layers(plan, report)

        return work

    def _show_reason(self) -> None:
        is_running = self.step.job.is_running
        self.step.button.setEnabled(not self.complaint and not is_running)
        self.step.button.setToolTip(self.complaint)
        self.reason.setText(self.complaint)
        self.reason.setVisible(bool(self.complaint))

    def _on_sort(self) -> None:
        self.visits.model.sort(self._options()[0])
        self.refresh()

    def _on_subject(self, name: str) -> None:
        self.visits.model.subject = name
        self.refresh()


def _usual_name(rows: Sequence[Row]) -> str:
    """Name for a stack that was given none: the subject's, else that of the table."""
    names = [row.subject for row in rows] + [row.table.stem for row in rows if row.table]
    return next(filter(None, names), "stack")
