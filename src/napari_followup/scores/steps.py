"""Scores gathered over diffusion steps, of which only running sums are kept.

The mean of deviations over steps: ANDi (Frotscher et al. 2024), eqs. 7 and 8; the geometric mean
keeps one step with a large deviation from outweighing all others. Guided errors up to the step
that separates them most: AnoFPDM (Che et al. 2024), Sec. 3.2 and Algorithm 1. Sums run in float64,
any device.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["ForwardErrors", "StepMean", "chosen_quantile", "healthy_boundary"]

How = Literal["geometric", "arithmetic"]


class StepMean:
    """Running mean of deviations over steps: only the sum is kept.

    Parameters
    ----------
    how
        ``"geometric"`` (eq. 8) or ``"arithmetic"`` (eq. 7).
    floor
        Smallest deviation; the geometric mean takes smaller ones for this.

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


class ForwardErrors:
    """Errors of guided and unguided predictions, taken in step by step.

    `largest` is ``(b,)``, the largest mean difference M of the two errors so far, and `healthy`
    ``(b, c, y, x)`` the guided prediction of that step.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.largest = torch.full((len(images),), -1.0, dtype=torch.float64, device=images.device)
        self.healthy = images
        self._sum = torch.zeros_like(images[:, 0], dtype=torch.float64)
        self._score = self._sum
        self._products = torch.zeros(3, len(images), dtype=torch.float64, device=images.device)
        self._count = 0

    def add(self, guided: Tensor, unguided: Tensor) -> None:
        """Take in the predictions ``(b, c, y, x)`` of one more step, in rising order."""
        guided_error = (guided - self.images).double().square()
        unguided_error = (unguided - self.images).double().square()
        error = guided_error.mean(dim=1)
        if self._count == 0:
            self._score = error  # the end step is at least the second: H is never empty
        difference = (guided_error - unguided_error).abs().flatten(1).mean(dim=1)
        ends = difference > self.largest
        before = self._sum / max(self._count, 1)
        if self._count:
            self._score = torch.where(ends[:, None, None], before, self._score)
        self.healthy = torch.where(ends[:, None, None, None], guided, self.healthy)
        self.largest = torch.where(ends, difference, self.largest)
        self._sum = self._sum + error
        one, other = (each.flatten(1).mean(dim=1) for each in (guided_error, unguided_error))
        self._products += torch.stack([one * other, one * one, other * other])
        self._count += 1

    def score(self) -> Tensor:
        """Mean guided error over the steps before the end step: (b, y, x) float32.

        References
        ----------
        AnoFPDM, eq. 6 and what follows it; the sum divided by ``t_e`` runs over ``t < t_e``.
        """
        return self._score.float()

    def mean(self) -> Tensor:
        """Mean guided error over all steps taken in: (b, y, x) float32.

        It is the score of one that ends with the next step, whatever parts the errors most.
        """
        return (self._sum / max(self._count, 1)).float()

    def similarity(self) -> Tensor:
        """Cosine of the two errors over all steps: (b,), near 1 for healthy images.

        References
        ----------
        AnoFPDM, appendix B, of the errors' means over channels and pixels.
        """
        both, guided, unguided = self._products
        cosine: Tensor = both / (guided * unguided).sqrt().clamp_min(1e-30)
        return cosine


def chosen_quantile(
    largest: Tensor, most: float, between: tuple[float, float] = (0.90, 0.98)
) -> Tensor:
    """Quantile of the scores that is an image's threshold: low for large anomalies.

    Parameters
    ----------
    largest
        ``(b,)`` largest mean difference M of each image's errors.
    most
        M of the largest anomalies of a validation set.
    between
        Quantiles for the largest and for the smallest anomaly, ``a`` and ``b``.

    Returns
    -------
    Tensor
        ``(b,)`` float64, on a grid of 101 values.

    References
    ----------
    AnoFPDM, Algorithm 1.
    """
    low, high = between
    share = (largest.double() / most).clamp(0, 1)
    return high + (low - high) * (share * 100).round() / 100


def healthy_boundary(similarity: Tensor, is_healthy: Tensor) -> tuple[float, float]:
    """Similarity from which on images are best taken for healthy.

    Parameters
    ----------
    similarity
        ``(b,)`` cosines, as `ForwardErrors.similarity` gives them.
    is_healthy
        ``(b,)`` bool, what is known of the images; some are and some are not.

    Returns
    -------
    tuple of float
        The boundary, in the middle between two neighbours and, of several that are as good, the
        highest, which the fewest anomalous images pass; and the share of images on their own side
        of it, the mean of healthy and anomalous ones: 0.5 is no better than guessing.

    References
    ----------
    AnoFPDM, appendix B: the threshold of highest accuracy on validation images. Both kinds count
    alike here, or all images would be called healthy where most of them are.
    """
    ordered, order = similarity.double().sort()
    healthy = is_healthy[order].double()
    none = healthy.new_zeros(1)
    above = 1 - torch.cat([none, healthy.cumsum(0)]) / healthy.sum()
    below = torch.cat([none, (1 - healthy).cumsum(0)]) / (1 - healthy).sum()
    right = (above + below) / 2
    place = int(torch.nonzero(right >= right.max() - 1e-9)[-1])
    ends = torch.cat([ordered[:1] - 1, ordered, ordered[-1:] + 1])
    return float((ends[place] + ends[place + 1]) / 2), float(right[place])
