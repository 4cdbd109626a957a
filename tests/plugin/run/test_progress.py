from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from napari_followup.plugin.run.progress import JobPanel, message_of
from napari_followup.plugin.run.report import Report

pytestmark = pytest.mark.viewer


@pytest.fixture
def panel(qtbot: Any, qapp: Any) -> Iterator[JobPanel]:
    from qtpy.QtCore import QThreadPool

    panel = JobPanel()
    qtbot.addWidget(panel)
    yield panel
    panel.stop()
    assert QThreadPool.globalInstance().waitForDone(5000)
    qapp.processEvents()


def test_what_the_function_returns_comes_back(panel: JobPanel, qtbot: Any) -> None:
    with qtbot.waitSignal(panel.returned) as found:
        panel.start("job", lambda report: threading.get_ident())

    assert found.args[0] != threading.get_ident()
    assert not panel.is_running
    assert panel.error == ""


def test_an_error_is_said(panel: JobPanel, qtbot: Any) -> None:
    def fail(report: Report) -> None:
        raise ValueError("ages: got 2 for the 3 visits")

    with qtbot.waitSignal(panel.ended), qtbot.assertNotEmitted(panel.returned):
        panel.start("job", fail)

    assert panel.status.text() == panel.error == "ages: got 2 for the 3 visits"


def test_the_last_job_counts(panel: JobPanel, qtbot: Any) -> None:
    def late(report: Report) -> str:
        time.sleep(0.2)
        return "late"

    found: list[Any] = []
    panel.returned.connect(found.append)
    panel.start("first", late)
    with qtbot.waitSignal(panel.ended):
        panel.start("second", lambda report: "second")
    qtbot.wait(400)

    assert found == ["second"]


def test_a_stop_frees_the_widget_even_where_the_work_cannot_stop_at_once(
    panel: JobPanel, qtbot: Any
) -> None:
    def deaf(report: Report) -> str:
        time.sleep(0.5)
        return "too late"

    found: list[Any] = []
    panel.returned.connect(found.append)
    panel.start("job", deaf)
    qtbot.wait(50)
    with qtbot.waitSignal(panel.ended, timeout=100):
        panel.stop()
    qtbot.wait(700)

    assert found == []
    assert panel.error == "Stopped; nothing was added."


def test_a_stop_after_the_last_step_still_keeps_the_result_out(panel: JobPanel, qtbot: Any) -> None:
    def closing(report: Report) -> str:
        panel._running.task.worker.quit()  # what napari does when its window closes
        return "too late"

    with qtbot.waitSignal(panel.ended), qtbot.assertNotEmitted(panel.returned):
        panel.start("job", closing)

    assert panel.error == "Stopped; nothing was added."


def test_errors_are_spoken() -> None:
    assert message_of(ValueError("do this")) == "do this"
    assert message_of(FileNotFoundError("no model 'x'")) == "no model 'x'"
    assert message_of(KeyError("x")).startswith("KeyError: 'x' (unexpected")


@pytest.mark.parametrize(("stops", "result"), [(1, ["half"]), (2, [])])
def test_a_job_may_keep_what_is_finished_at_a_stop(
    panel: JobPanel, qtbot: Any, stops: int, result: list[str]
) -> None:
    def work(report: Report) -> str:
        while report(0, 1):
            time.sleep(0.05)
        return "half"

    found: list[Any] = []
    panel.returned.connect(found.append)
    panel.start("job", work, keeps_partial=True)
    with qtbot.waitSignal(panel.ended):
        for _ in range(stops):
            panel.stop()

    assert found == result
    assert not panel.is_running


def test_a_script_that_ends_in_mid_run_waits_for_the_thread_and_ends_quietly(qapp: Any) -> None:
    script = """
import time
from qtpy.QtWidgets import QApplication
from napari_followup.plugin.run.progress import JobPanel

app, panel = QApplication([]), JobPanel()

def work(report):
    while report(0, 1):
        time.sleep(0.05)
    time.sleep(0.2)
    print("checkpoint written", flush=True)

panel.start("job", work, keeps_partial=True)
time.sleep(0.2)
app.processEvents()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "checkpoint written\n"), done.stderr
    assert "Error" not in done.stderr
