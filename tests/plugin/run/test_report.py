from __future__ import annotations

import pytest

from napari_followup.plugin.run.report import Report
from napari_followup.series.results import Cancelled


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_steps_are_passed_on_at_most_ten_times_a_second() -> None:
    sent, clock = [], Clock()
    report = Report(lambda *line: sent.append(line), clock=clock)

    for step in range(1, 1001):
        clock.now = step / 1000  # a thousand steps in a second
        report(step, 2000)

    assert 9 <= len(sent) <= 11


def test_the_last_step_is_always_passed_on() -> None:
    sent = []
    report = Report(lambda *line: sent.append(line), clock=Clock())

    report(1, 3)
    report(2, 3)
    report(3, 3)

    assert sent == [("", 1, 3), ("", 3, 3)]


def test_phase_and_detail_are_said_together() -> None:
    sent = []
    report = Report(lambda *line: sent.append(line))

    report.phase("Detecting")
    report.detail("subject 2 of 3")
    report(1, 1)

    assert sent == [("Detecting", 0, 0), ("Detecting, subject 2 of 3", 1, 1)]


def test_a_stopped_run_is_told_so_at_the_next_step_or_phase() -> None:
    report = Report(is_stopped=lambda: True)

    assert report(1, 3) is False
    with pytest.raises(Cancelled):
        report.phase("Detecting")
    with pytest.raises(Cancelled):
        report.check()
