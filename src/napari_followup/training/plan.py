"""How a training runs: its length, its batches, its learning rate, its seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["TrainingPlan"]

WARM_UP = 200  # batches over which the learning rate rises


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Settings of one training; the defaults suit a compact model.

    The published recipe for SDM is `learning_rate` 2.5e-5 without decay and 175 000 steps of 20 images
    (Dang 2025, Table 4.1); a decaying rate of 1e-3 reaches a usable model in a few thousand.
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
        if self.precision not in ("float32", "bf16"):
            raise ValueError(f"precision must be 'float32' or 'bf16', got {self.precision!r}")

    def budget(self, first: bool) -> tuple[int | None, float | None]:
        """Steps and minutes of the first stage, or of each later one."""
        share = 1.0 if first else 0.1
        steps = None if self.steps is None else max(1, round(share * self.steps))
        return steps, None if self.minutes is None else share * self.minutes

    def rate(self, step: int, progress: float) -> float:
        """Learning rate of batch `step` when `progress` in [0, 1] of the budget is spent: warm-up, then cosine."""
        rise = min(1.0, (step + 1) / WARM_UP)
        return (
            self.learning_rate
            * rise
            * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))
        )
