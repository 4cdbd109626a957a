"""Scores gathered along the forward process: guided errors up to the step that parts them most.

AnoFPDM (Che et al. 2024), Sec. 3.2 and Algorithm 1. Only running sums are kept, whatever the number
of steps. Pure tensor functions, any device.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ForwardErrors", "chosen_quantile", "healthy_boundary"]


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
        AnoFPDM, eq. 6 and the line after it; the sum divided by ``t_e`` runs over ``t < t_e``.
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
    """Quantile of the score at which an image is cut: low for large anomalies.

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
