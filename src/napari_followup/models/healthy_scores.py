"""HealthyScores: how high a recipe's scores rise in healthy subjects, in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["HealthyScores"]

LARGEST = 1e9  # of a score: beyond it the numbers are damaged
TAIL = tuple(np.logspace(0, -6, 121).tolist())  # shares of pixels above


@dataclass(frozen=True, kw_only=True)
class HealthyScores:
    """Scores that one recipe gives healthy subjects the model was not trained on."""

    shares: tuple[float, ...]  # share of pixels above, falling
    heights: tuple[float, ...]  # score that this share of pixels exceeds
    maxima: tuple[float, ...]  # highest score of each subject, rising

    def __post_init__(self) -> None:
        values = {name: np.asarray(value, float) for name, value in vars(self).items()}
        for name, numbers in values.items():
            if not numbers.size:
                raise ValueError(f"healthy scores: no {name}; calibrate the model again")
            if not (np.abs(numbers) <= LARGEST).all():
                raise ValueError(
                    f"healthy scores: {name} hold what is no score (NaN, infinite or beyond "
                    f"{LARGEST:.0e}); calibrate the model again"
                )
        shares, heights, maxima = values.values()
        rising = (np.diff(heights) >= 0).all() and (np.diff(maxima) >= 0).all()
        falling = (np.diff(shares) < 0).all() and shares[-1] > 0 and shares[0] <= 1
        if len(shares) != len(heights) or not (rising and falling):
            raise ValueError(
                "healthy scores: they must rise as the share of pixels above them falls from 1 "
                "towards 0, one score a share; calibrate the model again"
            )

    @classmethod
    def of(cls, scores: Sequence[NDArray[np.float32]]) -> HealthyScores:
        """Sum up healthy scores, one array of any shape a subject; NaN is left out.

        Raises
        ------
        ValueError
            If there is nothing else.
        """
        finite = [
            known for known in (subject[np.isfinite(subject)] for subject in scores) if known.size
        ]
        if not finite:
            raise ValueError(
                "healthy scores: no pixel of the healthy subjects was examined; give subjects "
                "with observed visits, or a smaller border (erosion)"
            )
        pooled = np.concatenate(finite)
        shares = tuple(share for share in TAIL if share * pooled.size >= 1)
        heights = np.quantile(pooled, [1 - share for share in shares])
        maxima = sorted(float(subject.max()) for subject in finite)
        return cls(shares=shares, heights=tuple(heights.tolist()), maxima=tuple(maxima))

    def height(self, q: float) -> float:
        """Score below which a share of healthy pixels lies.

        Parameters
        ----------
        q
            Share in [0, 1]; beyond the data it is the highest score seen.

        Returns
        -------
        float
            Interpolated between the shares known, on a logarithmic scale.
        """
        logs = torch.tensor(self.shares, dtype=torch.float64).clamp_min(1e-12).log()
        wanted = torch.tensor(max(1 - q, self.shares[-1]), dtype=torch.float64).log()
        place = int(torch.searchsorted(-logs, -wanted).clamp(1, len(logs) - 1))
        low, high = logs[place - 1], logs[place]
        part = float(((wanted - low) / (high - low)).clamp(0, 1)) if high != low else 1.0
        return self.heights[place - 1] + part * (self.heights[place] - self.heights[place - 1])

    def patient_height(self, q: float) -> float:
        """Score that a share `q` of healthy subjects reaches nowhere."""
        return float(torch.quantile(torch.tensor(self.maxima, dtype=torch.float64), q))
