"""Progress and stop of work in a thread, subject by subject; and the model that it uses.

Plain Python without Qt or napari. A `Report` is the `on_step` of the public functions.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np

from napari_followup.series.plane_selection import Slicing
from napari_followup.series.results import Cancelled

if TYPE_CHECKING:
    from napari_followup.models.bundle import ModelBundle
    from napari_followup.plugin.layers.layers import Series

__all__ = ["MODEL", "Report", "by_plane", "chosen_bundle", "subject_steps"]


MODEL = "starmen"  # embedded


class Report:
    """Progress of one run, passed on at most ten times a second.

    Parameters
    ----------
    send
        Called with phase, steps done and steps to do; 0 to do while that is not known.
    is_stopped
        Whether the run shall stop.
    interval
        Seconds between two calls of `send`; a new phase and the last step are always sent.
    clock
        Seconds.
    """

    def __init__(
        self,
        send: Callable[[str, int, int], None] = lambda phase, done, total: None,
        is_stopped: Callable[[], bool] = lambda: False,
        *,
        interval: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._is_stopped = is_stopped
        self._interval = interval
        self._clock = clock
        self._phase = self._detail = ""
        self._last = -interval

    def __call__(self, done: int, total: int) -> bool:
        """Send the progress; False if the run shall stop."""
        now = self._clock()
        if now - self._last >= self._interval or done >= total:
            self._last = now
            self._send(", ".join(filter(None, (self._phase, self._detail))), done, total)
        return not self._is_stopped()

    def phase(self, text: str) -> None:
        """Begin a new phase.

        Raises
        ------
        Cancelled
            If the run was stopped.
        """
        self._phase, self._detail = text, ""
        self._send(text, 0, 0)
        self.check()

    def detail(self, text: str) -> None:
        """Name the current part of the phase."""
        self._detail = text

    def check(self) -> None:
        """Raise `Cancelled` if the run was stopped."""
        if self._is_stopped():
            raise Cancelled("stopped before the end; nothing was kept")


def subject_steps(report: Report, subjects: int) -> Iterator[Callable[..., bool]]:
    """Give an `on_step` for each subject; together they count over all subjects."""
    for subject in range(subjects):
        name = f"subject {subject + 1} of {subjects}" if subjects > 1 else ""
        report.detail(name)
        report.check()
        yield partial(_counted, report, subject, subjects, name)


def by_plane(
    step: Callable[..., bool], series: Series, planes: Slicing | None, visits: int = 1
) -> Callable[[int, int], bool]:
    """Make an `on_step` that names the current plane of a volume.

    Parameters
    ----------
    step
        Of `subject_steps`, for this subject.
    series
        Of this subject.
    planes
        Which planes are examined.
    visits
        How often they are examined, one time after the other.

    Returns
    -------
    callable
        The `on_step`.
    """
    chosen = planes or Slicing()
    depth = chosen.turned(np.broadcast_to(0, series.stack.shape)).shape[2]
    count = len(range(depth)[chosen.of(series.stack)])

    def on_step(done: int, total: int) -> bool:
        place = min(done * count * visits // total, count * visits - 1)
        visit = f"visit {place // count + 1} of {visits}" if visits > 1 else ""
        plane = f"plane {place % count + 1} of {count}" if count > 1 else ""
        return step(done, total, ", ".join(filter(None, (visit, plane))) if plane else "")

    return on_step


def _counted(
    report: Report, subject: int, subjects: int, name: str, done: int, total: int, part: str = ""
) -> bool:
    report.detail(", ".join(filter(None, (name, part))))
    return report(subject * total + done, subjects * total)


def chosen_bundle(model: str, report: Report) -> ModelBundle:
    """Load the model; it stays in memory until its file changes or another model is loaded."""
    if not model:
        raise ValueError("no model is chosen; choose one, or a model file (.safetensors)")
    report.phase("Loading the model")
    changed = os.stat(model).st_mtime_ns if os.path.isfile(model) else 0
    bundle = _load_bundle(model, changed)
    report.check()
    return bundle


@lru_cache(maxsize=1)
def _load_bundle(model: str, changed: int) -> ModelBundle:
    from napari_followup.models.files import load_bundle

    return load_bundle(model)
