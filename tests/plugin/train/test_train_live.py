from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_followup.plugin.run.report import Report
from napari_followup.plugin.train.train_live import Snapshot, Teller, clock_time
from napari_followup.training.state import Example, LossCurve, TrainingState


class Watched:
    """A teller with a clock of its own, and what it sent."""

    def __init__(self, curves: dict[str, LossCurve] | None = None, **report: Any) -> None:
        self.now, self.sent = 0.0, list[Snapshot]()
        self.lines: list[tuple[str, int, int]] = []
        self.teller = Teller(
            report=Report(lambda *each: self.lines.append(each), interval=0.0, **report),
            send=self.sent.append,
            curves=curves or {},
            new_curve=LossCurve,
            clock=lambda: self.now,
        )

    def tell(self, batch: int, **more: Any) -> bool:
        usual = {"stage": "denoise", "loss": 1.0 / max(batch, 1), "progress": 0.1}
        return self.teller(TrainingState(batch=batch, **{**usual, **more}))


def test_snapshots_come_a_few_times_a_second_with_all_losses() -> None:
    watched = Watched()
    for batch in range(1, 101):
        watched.now = batch / 100
        assert watched.tell(batch)

    assert len(watched.sent) == 4
    assert [batch for batch, _ in watched.sent[-1].losses] == list(range(1, 92))


def test_examples_notes_and_the_end_come_at_once() -> None:
    watched = Watched()
    images = np.zeros((2, 1, 4, 4), np.float32)
    watched.tell(1)
    watched.tell(2, example=Example(given=images, healthy=images + 1))
    watched.tell(3, notes=("memory ran out",))
    watched.tell(4, progress=1.0)

    assert [each.batch for each in watched.sent] == [1, 2, 3, 4]
    assert watched.sent[1].pair is not None
    assert watched.sent[1].pair[1].max() == 1
    assert watched.sent[3].notes == ("memory ran out",)
    assert "finished; what comes next" in watched.lines[-1][0]


def test_a_validation_loss_is_noted_once() -> None:
    watched = Watched()
    for batch, loss in enumerate([None, 0.5, 0.5, 0.4], start=1):
        watched.now += 1
        watched.tell(batch, validation_loss=loss)

    assert watched.sent[-1].validations == ((2, 0.5), (4, 0.4))


def test_curves_of_an_interrupted_run_go_on() -> None:
    curve = LossCurve(losses=[(1, 3.0)], validations=[(1, 2.0)])
    watched = Watched({"denoise": curve})
    watched.tell(2, validation_loss=2.0)

    assert watched.sent[0].losses == ((1, 3.0), (2, 0.5))
    assert watched.sent[0].validations == ((1, 2.0),)


def test_a_stop_reaches_the_training() -> None:
    watched = Watched(is_stopped=lambda: True)

    assert not watched.tell(1)
    assert not watched.tell(0, loss=None)
    assert not watched.lines  # the widget says that it stops, and that stays


def test_the_line_says_what_is_learned_and_how_long_still() -> None:
    watched = Watched()
    watched.tell(7, seconds_left=600.0, memory=1_500_000_000, progress=0.25)

    assert watched.lines[-1] == (
        "Learning to give back healthy images, batch 7, 25%, 10 min left, 1.5 GB of memory",
        25,
        100,
    )


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "0 s"), (89, "89 s"), (600, "10 min"), (7200, "2.0 h"), (3 * 86400, "3.0 days")],
)
def test_times_are_said_in_fitting_units(seconds: float, said: str) -> None:
    assert clock_time(seconds) == said
