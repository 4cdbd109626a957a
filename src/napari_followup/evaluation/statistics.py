"""Figures of merit from masks and scores, and how sure they are. Pure numpy functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

__all__ = ["areas", "dice", "dice_by_visit", "mean_of_kinds"]

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]
DiceTable = Mapping[str, Sequence[Floats]]
"""By kind of anomaly one array of Dice scores a patient."""


def dice(mask: Bools, truth: Bools) -> float:
    """Overlap of two masks of one shape in [0, 1]: twice the shared pixels over all pixels of both.

    Two empty masks agree wholly.

    References
    ----------
    Dang (2025), eq. 4.2.
    """
    total = int(mask.sum()) + int(truth.sum())
    return 2 * int((mask & truth).sum()) / total if total else 1.0


def dice_by_visit(mask: Bools, truth: Bools) -> NDArray[np.float64]:
    """Dice of every visit, NaN where its truth is empty: ``(visit, z, y, x)`` -> ``(visit,)``."""
    pairs = zip(mask, truth, strict=True)
    return np.array([dice(m, t) if t.any() else np.nan for m, t in pairs], np.float64)


def areas(sick: Floats, healthy: Floats) -> tuple[float, float]:
    """How well scores tell sick from healthy.

    Parameters
    ----------
    sick, healthy
        Any number of scores each.

    Returns
    -------
    tuple
        Areas under the ROC and the precision-recall curve (average precision); NaN where one
        of the groups is empty.
    """
    if not (sick.size and healthy.size):
        return float("nan"), float("nan")
    labels = np.repeat([True, False], [sick.size, healthy.size])
    scores = np.concatenate([sick.ravel(), healthy.ravel()])
    area = roc_auc_score(labels, scores), average_precision_score(labels, scores)
    return float(area[0]), float(area[1])


def mean_of_kinds(table: DiceTable) -> float:
    """Mean over kinds of the mean over all of a kind's visits, of those that are numbers."""
    means = [np.nanmean(np.concatenate(patients)) for patients in table.values()]
    return float(np.mean(means)) if means else float("nan")
