"""Means over diffusion steps, gathered a few steps at a time.

ANDi (Frotscher et al. 2024), eqs. 7 and 8: the geometric mean keeps one step with a large
deviation from outweighing all others. Sums run in float64, any device.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

__all__ = ["StepMean", "mean_over_steps"]

How = Literal["geometric", "arithmetic"]


class StepMean:
    """Running mean of deviations over steps: only the sum is kept.

    Parameters
    ----------
    how
        ``"geometric"`` (eq. 8) or ``"arithmetic"`` (eq. 7).
    floor
        Smallest deviation that the geometric mean tells from zero.

    Raises
    ------
    ValueError
        If the mean is of another kind, or `floor` is not positive.
    """

    def __init__(self, how: How = "geometric", *, floor: float = 1e-12) -> None:
        if how not in ("geometric", "arithmetic"):
            raise ValueError(f"mean: got {how!r}; take 'geometric' or 'arithmetic'")
        if floor <= 0:
            raise ValueError(f"floor must be positive, the geometric mean has logs; got {floor}")
        self.how, self.floor = how, floor
        self._sum: Tensor | None = None
        self._count = 0

    def add(self, deviations: Tensor) -> None:
        """Take in some more steps: ``(step, ...)``, non-negative."""
        values = deviations.double()
        if self.how == "geometric":
            values = values.clamp_min(self.floor).log()
        partial = values.sum(dim=0)
        self._sum = partial if self._sum is None else self._sum + partial
        self._count += len(deviations)

    def value(self) -> Tensor:
        """Mean of all steps so far, float32.

        Raises
        ------
        ValueError
            If there was none.
        """
        if self._sum is None:
            raise ValueError("no step to take the mean of; add deviations first")
        mean = self._sum / self._count
        return (mean.exp() if self.how == "geometric" else mean).float()


def mean_over_steps(deviations: Tensor, how: How = "geometric", *, floor: float = 1e-12) -> Tensor:
    """Mean of deviations that are all there at once.

    Parameters
    ----------
    deviations
        ``(step, ...)``, non-negative.
    how, floor
        As for `StepMean`, and so are the errors.

    Returns
    -------
    Tensor
        ``(...)`` float32.
    """
    mean = StepMean(how, floor=floor)
    mean.add(deviations)
    return mean.value()
