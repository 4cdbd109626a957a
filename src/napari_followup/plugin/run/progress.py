"""Run a function in a thread and show its progress: phase, progress bar, Stop, Activity dock.

The thread never touches a widget. It sends signals through an object of its own; signals of a run
that was stopped, or whose panel was closed, are ignored.
"""

from __future__ import annotations

import atexit
import io
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from napari.qt.threading import create_worker
from napari.utils import progress
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import (
    QDockWidget,
    QMainWindow,
    QProgressBar,
    QPushButton,
    QWidget,
)
from superqt.utils import FunctionWorker, WorkerBase

from napari_followup.plugin.forms.forms import column_of, row_of, wrapped_label
from napari_followup.plugin.run.report import Report
from napari_followup.series.results import Cancelled

__all__ = [
    "STOPPED",
    "JobPanel",
    "message_of",
]

STOPPED = "Stopped; nothing was added."
STOPPING = "Stopping; finished visits will be added. Stop again to drop them."
LOG = logging.getLogger(__name__)
# A script that ends without napari.run() deletes Qt's objects while threads still send signals
atexit.register(WorkerBase.await_workers)


def message_of(error: BaseException) -> str:
    """Text of an error for the user; an unexpected error names its type."""
    if isinstance(error, OSError | TypeError | ValueError) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error} (unexpected; the details are in the log)"


class Bridge(QObject):
    """Signals from the thread of a run to the panel; each carries the number of the run."""

    stepped = Signal(int, str, int, int)
    ended = Signal(int, object, str)  # run, result, error


@dataclass(eq=False)
class Task:
    """Work of the thread. Errors come back as text: a traceback would keep layers alive."""

    title: str
    function: Callable[[Report], Any]
    bridge: Bridge
    number: int
    keeps_partial: bool = False  # whether the result of a stopped run is used
    worker: Any = None

    def __str__(self) -> str:
        return self.title

    def __call__(self) -> None:
        report = Report(self._send, lambda: bool(self.worker.abort_requested))
        result, error = None, ""
        try:
            result = self.function(report)
            if not self.keeps_partial:
                report.check()  # stopped after its last step, as when the viewer closes
        except Cancelled:
            error = STOPPED
        except Exception as problem:
            error = message_of(problem)
            LOG.info("%s failed", self.title, exc_info=True)
        self.bridge.ended.emit(self.number, None if error else result, error)

    def _send(self, phase: str, done: int, total: int) -> None:
        self.bridge.stepped.emit(self.number, phase, done, total)


class Running:
    """The current run, if any; it outlives the panel and ends the run with it."""

    def __init__(self) -> None:
        self.task: Task | None = None
        self.bar: Any = None

    def end(self, *_: object) -> None:
        """Ask the thread to stop and take the bar out of the Activity dock."""
        task, bar, self.task, self.bar = self.task, self.bar, None, None
        if task is not None and task.worker is not None:
            task.worker.quit()
        if bar is not None:
            with suppress(RuntimeError):  # the window was closed, and its bars with it
                bar.close()


class JobPanel(QWidget):
    """Status line, progress bar and Stop button of one widget, and its thread."""

    started = Signal()
    returned = Signal(object)
    ended = Signal()  # after `returned`, an error or a stop

    def __init__(self) -> None:
        super().__init__()
        self.status = wrapped_label()
        self.bar = QProgressBar()
        self.stop_button = QPushButton("Stop")
        self.stop_button.clicked.connect(self.stop)
        column_of(self, row_of(self.bar, self.stop_button), self.status, inner=True)
        self.error = ""
        self._number = 0
        self._running = Running()
        self._home: QWidget | None = None
        self.destroyed.connect(self._running.end)
        self._show_idle()

    @property
    def is_running(self) -> bool:
        """Whether a run is in progress."""
        return self._running.task is not None

    def show_text(self, text: str, *, is_error: bool = False) -> None:
        """Show a line of text."""
        self.status.setText(text)
        self.status.setStyleSheet("color: #e5533d;" if is_error else "")
        self.status.setVisible(bool(text))

    def start(
        self, title: str, function: Callable[[Report], Any], *, keeps_partial: bool = False
    ) -> None:
        """Run `function` in a thread; `returned` sends its result.

        With `keeps_partial`, it sends the result of a stopped run, too; a second stop drops it.
        """
        self._running.end()
        self._number += 1
        self._home = self.window()
        bridge = Bridge()
        bridge.stepped.connect(self._on_step)
        bridge.ended.connect(self._on_end)
        task = Task(title, function, bridge, self._number, keeps_partial)
        task.worker = create_worker(task, _worker_class=FunctionWorker, _start_thread=False)
        self._running.task = task
        self._running.bar = progress(total=0, desc=title, file=io.StringIO())  # not in the terminal
        self.bar.setRange(0, 0)
        self.bar.setFormat("")
        self.bar.show()
        self.stop_button.show()
        self.show_text("Starting")
        self.started.emit()
        task.worker.start()

    def stop(self, _checked: bool = False, *, reason: str = STOPPED) -> None:
        """End the run and ignore its thread; a run that keeps partial results is asked to end."""
        task = self._running.task
        if task is None:
            return
        if task.keeps_partial and reason == STOPPED and not task.worker.abort_requested:
            task.worker.quit()
            self.show_text(STOPPING)
        else:
            self._end(None, reason, is_error=False)

    def _is_over(self, number: int) -> bool:
        """Whether a signal comes from a stopped run; ends a run whose dock was closed."""
        if self.is_running and self.window() is not self._home and not _is_docked(self):
            self.stop(reason="The widget was closed; nothing was added.")
        return number != self._number or not self.is_running

    def _on_step(self, number: int, phase: str, done: int, total: int) -> None:
        if self._is_over(number):
            return
        self.show_text(phase)
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.bar.setFormat(f"{done} of {total}" if total else "")
        activity = self._running.bar
        activity.set_description(phase)
        if total and activity.total != total:
            activity.total = total
        activity.update(done - activity.n)

    def _on_end(self, number: int, result: Any, error: str) -> None:
        if not self._is_over(number):
            self._end(result, error, is_error=error != STOPPED)

    def _end(self, result: Any, error: str, *, is_error: bool) -> None:
        self._running.end()
        self._show_idle()
        self.error = error
        self.show_text(error or "Done", is_error=bool(error) and is_error)
        if not error:
            self.returned.emit(result)
        self.ended.emit()

    def _show_idle(self) -> None:
        self.bar.hide()
        self.stop_button.hide()
        self.show_text("")


def _is_docked(widget: QWidget) -> bool:
    """Whether a widget is in a window of the viewer; napari removes those of a closed dock."""
    return isinstance(widget.window(), QMainWindow | QDockWidget)
