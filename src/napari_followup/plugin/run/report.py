"""Report: how work in a thread tells how far it is, and learns that it shall stop.

Plain Python: it knows neither Qt nor napari, and is the `on_step` that the doors take.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from napari_followup.series.results import Cancelled

__all__ = ["Report"]


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
        """Pass on how far the run is; False to stop it."""
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
        """Say which part of the phase is at work."""
        self._detail = text

    def check(self) -> None:
        """Raise `Cancelled` if the run was stopped."""
        if self._is_stopped():
            raise Cancelled("stopped before the end; nothing was kept")
