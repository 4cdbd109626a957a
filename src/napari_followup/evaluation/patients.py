"""What a row found in one patient: the numbers that all figures are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.evaluation.statistics import areas, average_precision, dice_by_visit
from napari_followup.series.results import Detection
from napari_followup.series.stack import VisitStack

__all__ = [
    "HEALTHY",
    "Case",
    "Curves",
    "Patient",
    "Pixels",
    "curves",
    "summary",
]

HEALTHY = "healthy"  # the kind of subjects without an anomaly
SHARES = np.logspace(-5.5, 0, 441)  # of all pixels, that the thresholds are reached by


@dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """One subject of an evaluation.

    `healthy` is the series before the anomaly was drawn; `truth` is ``(visit, z, y, x)``; `number`
    is the subject's position in the data, which its noise is seeded with.
    """

    kind: str
    stack: VisitStack
    healthy: VisitStack
    truth: NDArray[np.bool_]
    number: int


Floats = NDArray[np.floating[Any]]
Pixels = Sequence[tuple[Floats, Floats]]
"""Scores inside and outside the truth, of every observed visit of a sick patient."""


@dataclass(frozen=True, kw_only=True)
class Patient:
    """What a row found in one patient.

    `dice` holds every observed visit, NaN where the truth is empty. `flagged` is the flagged share
    of all pixels, `sick_scores` the highest score of every visit that shows the anomaly,
    `healthy_scores` that of every visit of a healthy patient. `residuals` are the mean absolute
    residuals inside and outside the truth, in the visits that show it; `pixel_auprc` is that of the
    patient's own pixels.
    """

    kind: str
    dice: tuple[float, ...]
    flagged: float
    sick_scores: tuple[float, ...]
    healthy_scores: tuple[float, ...]
    residuals: tuple[float, float]
    pixel_auprc: float = float("nan")
    seconds: float = float("nan")
    notes: tuple[str, ...] = field(default=())


def summary(case: Case, found: Detection, seconds: float) -> tuple[Patient, Pixels]:
    """Sum up one detection.

    Parameters
    ----------
    case
        The patient.
    found
        What was found.
    seconds
        It took.

    Returns
    -------
    Patient, Pixels
        Pixels are empty for a healthy patient.
    """
    truth, shown = case.truth, np.asarray(case.truth.any(axis=(1, 2, 3)))
    seen = np.asarray(case.stack.is_observed)
    pixels = _pixels(found.score[seen], truth[seen]) if case.kind != HEALTHY else []
    healthy = found.image_score[seen] if case.kind == HEALTHY else np.empty(0)
    patient = Patient(
        kind=case.kind,
        dice=_plain(dice_by_visit(found.mask[seen], truth[seen])),
        flagged=float(found.mask[seen].mean()),
        sick_scores=_plain(found.image_score[seen & shown]),
        healthy_scores=_plain(healthy),
        residuals=_residuals(found, truth, shown),
        pixel_auprc=_auprc(pixels),
        seconds=seconds,
        notes=tuple(found.provenance["notes"]),
    )
    return patient, pixels


def _pixels(scores: Floats, truths: NDArray[np.bool_]) -> Pixels:
    return [(score[truth], score[~truth]) for score, truth in zip(scores, truths, strict=True)]


def _auprc(pixels: Pixels) -> float:
    if not pixels:
        return float("nan")
    inside, outside = (np.concatenate(part) for part in zip(*pixels, strict=True))
    return areas(inside, outside)[1]


def _residuals(
    found: Detection, truth: NDArray[np.bool_], shown: NDArray[np.bool_]
) -> tuple[float, float]:
    residual = _residual(found)
    return _mean(residual[truth]), _mean(residual[~truth & shown[:, None, None, None]])


def _residual(found: Detection) -> Floats:
    """Mean over modalities of what the healthy image lacks, ``(visit, z, y, x)``."""
    if found.healthy is None:
        return np.full(found.mask.shape, np.nan, np.float32)
    return np.asarray(
        np.abs(np.asarray(found.stack.images, np.float32) - found.healthy).mean(axis=1)
    )


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else float("nan")


def _plain(values: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


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
    flagged = inside + outside + sizes[:, None]
    return np.where(sizes[:, None] > 0, 2 * inside / np.maximum(flagged, 1), np.nan)


def _visit_mean(tables: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Mean over the visits of all patients that show something: ``(threshold,)``."""
    visits = np.concatenate(tables)
    shown = np.isfinite(visits[:, 0])
    return visits[shown].mean(axis=0) if shown.any() else np.full(visits.shape[1], np.nan)
