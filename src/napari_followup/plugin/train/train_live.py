"""What a training tells from its thread: its state as plain values, a few times a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_followup.plugin.models.train_methods import STAGES
from napari_followup.plugin.run.report import Report
from napari_followup.series.results import Cancelled

if TYPE_CHECKING:
    from napari_followup.training.state import LossCurve, TrainingState

__all__ = ["Snapshot", "Teller", "clock_time"]

Point = tuple[int, float]
INTERVAL = 0.3  # seconds


@dataclass(frozen=True, eq=False, kw_only=True)
class Snapshot:
    """How a training stands, as the widget shows it."""

    stage: str = ""
    batch: int = 0
    losses: Sequence[Point] = ()
    validations: Sequence[Point] = ()
    notes: Sequence[str] = ()
    pair: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None  # given, healthy


@dataclass(eq=False)
class Teller:
    """The `on_state` of a training in a thread.

    `send` gets at most about three snapshots a second, those with an example or a note at once.
    """

    report: Report
    send: Callable[[Snapshot], None]
    curves: dict[str, LossCurve]  # by stage; those of an earlier run go on
    new_curve: Callable[[], LossCurve]
    clock: Callable[[], float] = time.monotonic
    notes: list[str] = field(default_factory=list)
    stage: str = ""
    batch: int = 0
    _last: float = -INTERVAL
    _told_stage: str = ""

    def __call__(self, state: TrainingState) -> bool:
        """Note a state and pass it on if it is time; False to stop, of which the widget tells."""
        if not self._goes_on():
            return False
        self.notes += [note for note in state.notes if note not in self.notes]
        if state.loss is None:
            self._tell(state)
            return True
        self.stage, self.batch = state.stage, state.batch
        curve = self.curves.setdefault(state.stage, self.new_curve())
        curve.add(state.batch, state.loss)
        if _is_new(curve, state):
            curve.validated(state.batch, state.validation_loss or 0.0)
        now = self.clock()
        if state.example or state.notes or now - self._last >= INTERVAL or state.progress >= 1:
            self._last = now
            self._tell(state)
        return True

    def _tell(self, state: TrainingState) -> None:
        is_known = state.loss is not None or state.stage == "measure"
        if is_known and state.stage != self._told_stage:
            self._told_stage = state.stage
            with suppress(Cancelled):  # the training stops at its checkpoint, not here
                self.report.phase(STAGES.get(state.stage, state.stage))
        self.report.detail(_line(state))
        self.report(round(100 * state.progress), 100)
        curve, shown = self.curves.get(state.stage), state.example
        self.send(
            Snapshot(
                stage=state.stage,
                batch=state.batch,
                losses=tuple(curve.losses) if curve else (),
                validations=tuple(curve.validations) if curve else (),
                notes=tuple(self.notes),
                pair=None if shown is None else (shown.given, shown.healthy),
            )
        )

    def _goes_on(self) -> bool:
        try:
            self.report.check()
        except Cancelled:
            return False
        return True


def _is_new(curve: LossCurve, state: TrainingState) -> bool:
    """Whether the validation loss was measured since the last state."""
    if state.validation_loss is None:
        return False
    return not curve.validations or curve.validations[-1][1] != state.validation_loss


def _line(state: TrainingState) -> str:
    """One line: what is learned, how far, how long still."""
    if state.loss is None:
        return ""
    if state.progress >= 1:
        return "finished; what comes next may take a moment to begin"
    parts = [f"batch {state.batch}", f"{state.progress:.0%}"]
    if state.seconds_left is not None:
        parts.append(f"{clock_time(state.seconds_left)} left")
    if state.memory is not None:
        parts.append(f"{state.memory / 1e9:.1f} GB of memory")
    return ", ".join(parts)


def clock_time(seconds: float) -> str:
    """Seconds in words."""
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    minutes = seconds / 60
    if minutes < 90:
        return f"{round(minutes)} min"
    return f"{minutes / 60:.1f} h" if minutes < 48 * 60 else f"{minutes / 1440:.1f} days"
