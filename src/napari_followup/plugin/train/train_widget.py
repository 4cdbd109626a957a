"""The widget *Train a model*: train a model on healthy subjects, for the other widgets.

In a script::

    dock, widget = viewer.window.add_plugin_dock_widget("napari-followup", "Train a model")
    widget.form.minutes.value = 60
    widget.finished.connect(lambda: print(widget.error or widget.result.trained))
    widget.run()
"""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QLabel, QPushButton, QWidget

from napari_followup.plugin.forms.forms import ScrolledColumn, scrolled_column_of
from napari_followup.plugin.forms.preferences import Preferences
from napari_followup.plugin.run.progress import JobPanel
from napari_followup.plugin.run.report import Report
from napari_followup.plugin.train.train_actions import (
    MISSING,
    Snapshot,
    Trained,
    has_lightning,
    makes_anomalies,
    train_model,
)
from napari_followup.plugin.train.train_data import TrainData
from napari_followup.plugin.train.train_folder import TrainOut
from napari_followup.plugin.train.train_form import TrainForm
from napari_followup.plugin.train.train_view import ExampleLayer, LossPanel
from napari_followup.plugin.train.trained_panel import TrainedPanel

__all__ = ["TrainWidget"]

STOPPING = "Stopping: writing the checkpoint …"
ERROR = "color: #e5533d;"


class _Bridge(QObject):
    """Sends snapshots from the thread of a run, with its number, to the widget."""

    sent = Signal(int, object)


class TrainWidget(QWidget):
    """Train a model on healthy subjects, watch it learn, save it.

    Attributes
    ----------
    form, data, out, job, losses, result
        The parts: model, length and settings; subjects; folder; progress; losses; the model.
    error
        Error of the last run; empty after success and after a stop.
    """

    finished = Signal()  # after every run, good, failed or stopped

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.error = ""
        self._number = 0
        self._bridge: _Bridge | None = None
        self._revealed: QWidget | None = None
        self._example = ExampleLayer(napari_viewer)
        self.missing = QLabel("" if has_lightning() else MISSING)
        self.form, self.data, self.out = TrainForm(), TrainData(napari_viewer), TrainOut()
        self.button, self.job = QPushButton("Train"), JobPanel()
        self.losses, self.notes, self.result = LossPanel(), QLabel(), TrainedPanel()
        self.form.device.setCurrentText(Preferences.load().device)
        self._column = _lay_out(self)
        self._connect()
        self._on_form()

    def run(self) -> None:
        """Train or resume; `finished` is emitted at the end, see `result` and `error`."""
        if self.job.is_running:
            return
        try:
            if not has_lightning():
                raise ValueError(MISSING)
            read, choice, folder = self.data.reader(), self.form.choice, self.out.folder
        except ValueError as error:
            self._fail(str(error))
            return
        self.error, bridge = "", _Bridge()
        self._number += 1
        number = self._number
        bridge.sent.connect(self._on_snapshot)
        self._bridge = bridge  # its signals arrive as long as it exists

        def work(report: Report) -> Trained:
            return train_model(
                read,
                choice,
                folder,
                report=report,
                send=lambda snapshot: bridge.sent.emit(number, snapshot),
            )

        self.job.start(f"Train {choice.name}", work, keeps_partial=True)

    def stop(self) -> None:
        """Stop at a checkpoint, from which the next run resumes."""
        if self.job.is_running and self.job.stop_button.isEnabled():
            self.job.stop()
            self._on_stop()

    def _on_stop(self) -> None:
        if self.job.is_running:
            self.job.stop_button.setEnabled(False)  # a second stop would not wait
            self.job.show_text(STOPPING)

    def _on_snapshot(self, number: int, snapshot: Snapshot) -> None:
        if number != self._number or not self.job.is_running:
            return
        if snapshot.losses:
            self.losses.show_losses(snapshot.stage, snapshot.losses, snapshot.validations)
            self._reveal(self.losses)
        self.notes.setText("\n".join(f"Note: {note}." for note in snapshot.notes))
        self.notes.setVisible(bool(snapshot.notes))
        if snapshot.pair is not None:
            self._example.show(*snapshot.pair)

    def _on_started(self) -> None:
        self._example.begin()
        self._revealed = None
        self.result.show_trained(None)
        self.losses.clear()
        self.losses.hide()
        self.notes.hide()
        self.job.bar.setTextVisible(False)  # the line below says the share
        self.job.stop_button.setEnabled(True)
        self._enable(False)

    def _on_returned(self, trained: Trained) -> None:
        self.job.show_text("" if trained.path else trained.summary)
        if trained.path is not None:
            self.result.show_trained(trained)
            self._reveal(self.result)
            self.notes.hide()  # the figures include them

    def _on_ended(self) -> None:
        self._enable(True)
        self.error = self.job.error
        if self.error:
            self._column.reveal(self.job)
        self.out.refresh()
        self.finished.emit()

    def _on_form(self) -> None:
        try:
            choice = self.form.choice
        except ValueError as error:
            self.job.show_text(str(error), is_error=True)
            return
        if not self.job.is_running:
            self.job.show_text("")  # it was about the previous choice
        makes = makes_anomalies(choice.method, choice.fields)
        self.data.plan_for(choice.method, choice.plan.held_out, choice.plan.seed, makes=makes)
        self.out.follow(choice)

    def _on_out(self) -> None:
        self.button.setText("Resume" if self.out.run.can_resume else "Train")

    def _reveal(self, part: QWidget) -> None:
        """Show a part, and scroll to it once a run."""
        if part is not self._revealed:
            self._revealed = part
            part.show()
            self._column.reveal(part)

    def _fail(self, text: str) -> None:
        self.error = text
        self.job.show_text(text, is_error=True)
        self._column.reveal(self.job)
        self.finished.emit()

    def _enable(self, is_on: bool) -> None:
        for part in (self.form, self.data, self.out, self.button):
            part.setEnabled(is_on)

    def _connect(self) -> None:
        self.form.changed.connect(self._on_form)
        self.out.changed.connect(self._on_out)
        self.out.settings_wanted.connect(self.form.take)
        self.button.clicked.connect(self.run)
        self.job.stop_button.clicked.connect(self._on_stop)
        self.job.started.connect(self._on_started)
        self.job.returned.connect(self._on_returned)
        self.job.ended.connect(self._on_ended)


def _lay_out(widget: TrainWidget) -> ScrolledColumn:
    """Lay out the parts in one column that scrolls on a small screen."""
    widget.missing.setStyleSheet(ERROR)
    widget.missing.setVisible(bool(widget.missing.text()))
    for label in (widget.missing, widget.notes):
        label.setWordWrap(True)
    for part in (widget.losses, widget.notes):
        part.hide()
    below = (widget.button, widget.job, widget.losses, widget.notes, widget.result)
    return scrolled_column_of(widget, widget.missing, widget.data, widget.form, widget.out, *below)
