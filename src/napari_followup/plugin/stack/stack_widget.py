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
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QLineEdit, QWidget

from napari_followup.plugin.forms.forms import add_row, fill_combo, new_form, scrolled_column_of
from napari_followup.plugin.forms.series_input import MEANINGS
from napari_followup.plugin.layers.stack_layers import stack_layers
from napari_followup.plugin.results.step_panel import StepPanel, Work
from napari_followup.plugin.stack.stack_making import check, make_stack, plan_of
from napari_followup.plugin.stack.stack_rows import Options, Row
from napari_followup.plugin.stack.visits_panel import VisitsPanel

__all__ = ["StackForm", "StackWidget", "parse_spacing"]

WIDTH = 740  # pixels


class StackWidget(QWidget):
    """Collect visits from files and layers, and make one stack of them.

    Attributes
    ----------
    visits, form
        The table of visits with its buttons; the settings of the whole stack.
    step
        Button, progress and layers of *Create stack*: `run`, `finished`, `layers`, `error`.
    complaint
        Why no stack can be made; empty if it can.
    """

    checked = Signal()  # when everything that was added is read and checked

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
        """The rows that are shown."""
        return self.visits.model.shown

    def sizeHint(self) -> QSize:
        """Prefer a width that shows the whole table."""
        return QSize(WIDTH, super().sizeHint().height())

    def set_ages(self, ages: Sequence[float | str]) -> None:
        """Set the ages in years, or dates, of the rows, in their order."""
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
        """Give the form's options and no error; or those of an empty form and the error."""
        try:
            return self.form.options(), ""
        except ValueError as error:
            return Options(), str(error)

    def _work(self) -> Work:
        rows, options = self.rows, self.form.options()
        plan = plan_of(rows, check(rows, options), options)
        return lambda report: stack_layers(make_stack(plan, report))

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
    """Default name of the stack: the subject's, else that of the table."""
    names = [row.subject for row in rows] + [row.table.stem for row in rows if row.table]
    return next(filter(None, names), "stack")


SINGLE = {"zyx": "z, y, x: one visit", "yx": "y, x: one visit"}


class StackForm(QWidget):
    """Settings of the whole stack; subject and axes are shown only if they must be chosen."""

    changed = Signal()
    subject_chosen = Signal(str)
    axes_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.subject_combo = _combo("Subject whose visits make the stack")
        self.axes_combo = _combo("Axes of files and layers that do not tell them")
        self.name_edit = _edit("", "Name of the stack")
        self.modality_edit = _edit(
            "as the table and files say", "Kind of image of rows without one, such as FLAIR"
        )
        self.spacing_edit = _edit(
            "z, y, x: as the files say", "Size of a voxel, for images without their own"
        )
        self.unit_combo = _combo("Unit of the spacing, for images without their own")
        self.unit_combo.addItems(["pixel", "mm"])
        self.birth_edit = _edit(
            "ages start at the first date", "Date of birth, if visits have dates: 1958-12-31"
        )
        self.onto_first = QCheckBox("resample visits onto the first one's grid")
        self.onto_first.setToolTip(
            "Resamples by the positions in the files, without registration. "
            "To register, use Align visits."
        )
        self._lay_out()
        self.subject_combo.currentIndexChanged.connect(
            lambda _: self.subject_chosen.emit(self.subject_combo.currentData() or "")
        )
        self.axes_combo.currentIndexChanged.connect(
            lambda _: self.axes_chosen.emit(self.axes_combo.currentData() or "")
        )
        for edit in (self.name_edit, self.modality_edit, self.spacing_edit, self.birth_edit):
            edit.textChanged.connect(self.changed)
        self.unit_combo.currentIndexChanged.connect(self.changed)
        self.onto_first.toggled.connect(self.changed)

    def options(self) -> Options:
        """Give the settings.

        Raises
        ------
        ValueError
            If the spacing cannot be read.
        """
        return Options(
            name=self.name_edit.text().strip() or self.name_edit.placeholderText(),
            subject=self.subject_combo.currentData() or "",
            modality=self.modality_edit.text().strip(),
            spacing=parse_spacing(self.spacing_edit.text()),
            unit=self.unit_combo.currentText(),
            birth=self.birth_edit.text().strip(),
            onto_first=self.onto_first.isChecked(),
        )

    def show_subjects(self, names: Sequence[str], chosen: str, usual: str) -> None:
        """Offer the subjects if there are several; `usual` is the default name of the stack."""
        fill_combo(self.subject_combo, {name: name for name in names}, chosen)
        self._form.setRowVisible(self.subject_combo, len(names) > 1)
        self.name_edit.setPlaceholderText(usual)

    def show_axes(self, choices: Sequence[str], chosen: str | None) -> None:
        """Offer the possible axes, if there are any."""
        texts = {axes: SINGLE.get(axes) or MEANINGS.get(axes, ", ".join(axes)) for axes in choices}
        fill_combo(self.axes_combo, texts, chosen)
        self._form.setRowVisible(self.axes_combo, bool(choices))

    def _lay_out(self) -> None:
        self._form, size = new_form(self), QHBoxLayout()
        size.addWidget(self.spacing_edit, stretch=1)
        size.addWidget(self.unit_combo)
        add_row(self._form, "subject", self.subject_combo)
        add_row(self._form, "axes", self.axes_combo)
        add_row(self._form, "name", self.name_edit)
        add_row(self._form, "modality", self.modality_edit)
        add_row(self._form, "spacing", size)
        add_row(self._form, "date of birth", self.birth_edit)
        add_row(self._form, "", self.onto_first)
        self.show_subjects((), "", "stack")
        self.show_axes((), None)


def _combo(tip: str) -> QComboBox:
    combo = QComboBox()
    combo.setToolTip(tip)
    return combo


def _edit(placeholder: str, tip: str) -> QLineEdit:
    edit = QLineEdit()
    edit.setPlaceholderText(placeholder)
    edit.setToolTip(tip)
    return edit


def parse_spacing(text: str) -> tuple[float, float, float] | None:
    """Read a typed voxel size: ``"6, 0.9, 0.9"``, or one number; None for an empty text.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    words = text.replace(",", " ").replace("×", " ").replace(";", " ").split()
    if not words:
        return None
    try:
        sizes = [float(word) for word in words]
    except ValueError:
        sizes = []
    sizes = sizes * 3 if len(sizes) == 1 else sizes
    sizes = [1.0, *sizes] if len(sizes) == 2 else sizes
    if len(sizes) != 3 or not all(0 < size < float("inf") for size in sizes):
        raise ValueError(
            f"spacing: cannot read {text!r}; write the size of a voxel as in 6, 0.9, 0.9 (z, y, x)"
        )
    return sizes[0], sizes[1], sizes[2]
