"""How many pixels a threshold would mark, for many thresholds: best Dice, and its like.

A threshold that is searched among labels is no way to segment: its Dice, written [Dice], says what
a score would be worth if somebody knew where to cut it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.evaluation.patients import Pixels
from napari_followup.evaluation.resampling import average_precision

__all__ = ["Curves", "curves"]

SHARES = np.logspace(-5.5, 0, 441)  # of all pixels, that the thresholds are reached by


@dataclass(frozen=True, eq=False, kw_only=True)
class Curves:
    """Pixels of sick patients that reach falling thresholds.

    `inside` and `outside` hold one ``(visit, threshold)`` a patient, `sizes` the pixels of the
    truth, ``(visit,)``; `kinds` those of the patients.
    """

    kinds: tuple[str, ...]
    inside: tuple[NDArray[np.int64], ...]
    outside: tuple[NDArray[np.int64], ...]
    sizes: tuple[NDArray[np.int64], ...]

    def best_dice(self) -> list[NDArray[np.float64]]:
        """Dice of every patient's visits at the one threshold that is best for all kinds together.

        NaN where the truth of a visit is empty.
        """
        if not self.inside:
            return []
        tables = [
            _dices(inside, outside, size)
            for inside, outside, size in zip(self.inside, self.outside, self.sizes, strict=True)
        ]
        of_kinds: dict[str, list[NDArray[np.float64]]] = {}
        for kind, table in zip(self.kinds, tables, strict=True):
            of_kinds.setdefault(kind, []).append(table)
        means = np.mean([_visit_mean(parts) for parts in of_kinds.values()], axis=0)
        best = int(np.nanargmax(means)) if np.isfinite(means).any() else 0
        return [table[:, best] for table in tables]

    def pixel_auprc(self, counts: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Area under precision and recall of all pixels of the patients drawn: ``(1 + draw,)``."""
        if not self.inside:
            return np.full(len(counts), np.nan)
        inside, outside = (
            np.stack([each.sum(axis=0) for each in part]) for part in (self.inside, self.outside)
        )
        return average_precision(counts @ inside, counts @ outside)


def curves(kinds: Sequence[str], pixels: Sequence[Pixels]) -> Curves:
    """Count the pixels of every sick patient.

    Parameters
    ----------
    kinds
        Of the patients.
    pixels
        Their scores.

    Returns
    -------
    Curves
        At thresholds that follow the scores of them all.
    """
    thresholds = _thresholds(pixels)
    inside, outside = (
        tuple(
            np.stack([_reaching(visit[part], thresholds) for visit in patient])
            for patient in pixels
        )
        for part in (0, 1)
    )
    sizes = tuple(np.array([visit[0].size for visit in patient]) for patient in pixels)
    return Curves(kinds=tuple(kinds), inside=inside, outside=outside, sizes=sizes)


def _thresholds(pixels: Sequence[Pixels]) -> NDArray[np.float64]:
    """Falling, the last one reached by every pixel."""
    flat = [scores for patient in pixels for visit in patient for scores in visit]
    if not flat:
        return np.zeros(len(SHARES))
    return np.asarray(np.quantile(np.concatenate(flat), 1 - SHARES), np.float64)


def _reaching(
    scores: NDArray[np.floating[Any]], thresholds: NDArray[np.float64]
) -> NDArray[np.int64]:
    """How many scores are at least as high as each threshold."""
    return scores.size - np.searchsorted(np.sort(scores), thresholds.astype(scores.dtype), "left")


def _dices(
    inside: NDArray[np.int64], outside: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(visit, threshold), NaN in visits whose truth is empty."""
    marked = inside + outside + sizes[:, None]
    return np.where(sizes[:, None] > 0, 2 * inside / np.maximum(marked, 1), np.nan)


def _visit_mean(tables: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Mean over the visits of all patients that show something: ``(threshold,)``."""
    visits = np.concatenate(tables)
    shown = np.isfinite(visits[:, 0])
    return visits[shown].mean(axis=0) if shown.any() else np.full(visits.shape[1], np.nan)
