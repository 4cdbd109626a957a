"""How a training runs: its length, its batches, its learning rate, its seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["TrainingPlan"]

WARM_UP = 200  # batches over which the learning rate rises


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Settings of one training; the defaults suit a compact model.

    The published recipe for SDM is `learning_rate` 2.5e-5 without decay and 175 000 steps of 20
    images (Dang 2025, Table 4.1); a decaying rate of 1e-3 reaches a usable model in a few thousand.
    """

    steps: int | None = None  # batches of the first stage; later stages take a tenth
    minutes: float | None = None  # or a time budget, whichever ends first
    batch: int = 32
    learning_rate: float = 1e-3
    ema_decay: float = 0.999
    held_out: float = 0.1  # share of subjects for validation
    checkpoint_every: int = 500
    precision: str = "float32"  # or "bf16"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ValueError("say how long to train: give steps or minutes")
        for name in ("steps", "minutes", "batch", "learning_rate", "checkpoint_every"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")
        for name in ("ema_decay", "held_out"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if self.precision not in ("float32", "bf16"):
            raise ValueError(f"precision must be 'float32' or 'bf16', got {self.precision!r}")

    def spent(self, step: int, seconds: float, *, first: bool = True) -> float:
        """Share of a stage's budget that is spent, at least 1 at its end.

        Parameters
        ----------
        step
            Batches done.
        seconds
            Time they took.
        first
            Whether the stage gets the whole budget, or a tenth of it.

        Returns
        -------
        float
            Of steps or of minutes, whichever is nearer its end.
        """
        share = 1.0 if first else 0.1
        steps = 0.0 if self.steps is None else step / max(1, round(share * self.steps))
        return max(steps, 0.0 if self.minutes is None else seconds / (60 * share * self.minutes))

    def rate(self, step: int, progress: float) -> float:
        """Learning rate of one batch: warm-up, then a cosine down to a hundredth.

        Parameters
        ----------
        step
            Number of the batch, from 0.
        progress
            Share of the budget spent.

        Returns
        -------
        float
            For this batch.
        """
        rise = min(1.0, (step + 1) / WARM_UP)
        return (
            self.learning_rate
            * rise
            * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))
        )
