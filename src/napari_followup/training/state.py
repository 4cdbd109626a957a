"""State of a training: what is reported after every batch, and the curve of its losses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Example", "LossCurve", "OnState", "TrainingState", "memory_in_use"]

MOST_POINTS = 512  # of a curve


@dataclass(frozen=True, eq=False, kw_only=True)
class Example:
    """A held-out subject's planes and what the model makes of them, ``(plane, modality, y, x)``.

    Both float32 in the model's value range; one plane a visit.
    """

    given: NDArray[np.float32]
    healthy: NDArray[np.float32]


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingState:
    """State of a training after a batch; batch 0 is before the first one of a run.

    `loss` is none before a batch was done, `validation_loss` before the first validation (averaged
    weights, the same noise every time), `seconds_left` before it can be estimated.
    """

    stage: str
    batch: int
    progress: float  # of this stage, 0 to 1
    loss: float | None = None
    validation_loss: float | None = None
    seconds: float = 0.0  # of this stage, those before an interruption included
    seconds_left: float | None = None  # of this stage
    memory: int | None = None  # bytes, the most so far: of the GPU, or of the process
    example: Example | None = None  # with every validation, where the method reconstructs
    notes: tuple[str, ...] = field(default=())  # what the user should know, each reported once


OnState = Callable[[TrainingState], "bool | None"]
"""Called after every batch (on a GPU after every tenth); returns False to stop."""


@dataclass(eq=False)
class LossCurve:
    """Losses by batch, thinned so that it stays small however long a training takes."""

    losses: list[tuple[int, float]] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)
    stride: int = 1  # batches from one loss that is noted to the next

    def add(self, batch: int, loss: float) -> None:
        """Note the loss of a batch, if its turn has come."""
        if batch % self.stride:
            return
        self.losses.append((batch, loss))
        if len(self.losses) > MOST_POINTS:
            self.stride *= 2
            self.losses = [point for point in self.losses if point[0] % self.stride == 0]

    def validated(self, batch: int, loss: float) -> None:
        """Note a validation loss."""
        self.validations.append((batch, loss))

    def thinned(self, most: int = 50) -> dict[str, list[tuple[int, float]]]:
        """At most about `most` points of either loss, the last one among them."""
        return {
            name: [(batch, round(loss, 6)) for batch, loss in _spread(points, most)]
            for name, points in (("loss", self.losses), ("validation_loss", self.validations))
        }


def _spread(points: list[tuple[int, float]], most: int) -> list[tuple[int, float]]:
    """At most `most` points, the last among them."""
    stride = max(1, -(-len(points) // most))
    return points[::-1][::stride][::-1]


def memory_in_use(device: torch.device) -> int | None:
    """Bytes in use at most so far: of a GPU by torch, of the process otherwise; none on Windows."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
