"""What a row found in one patient: a few numbers that every figure is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.evaluation.case import HEALTHY, Case
from napari_followup.evaluation.statistics import areas, dice_by_visit
from napari_followup.series.results import Detection

__all__ = ["Patient", "Pixels", "summary"]

Floats = NDArray[np.floating[Any]]
Pixels = Sequence[tuple[Floats, Floats]]
"""Scores inside and outside the truth, of every observed visit of a sick patient."""


@dataclass(frozen=True, kw_only=True)
class Patient:
    """What a row found in one patient.

    `dice` holds every observed visit, NaN where the truth is empty. `flagged` is the marked share
    of all pixels, `sick_scores` the highest score of every visit that shows the anomaly,
    `healthy_scores` that of every visit of a healthy patient. `residuals` are the mean absolute
    residuals inside and outside the truth, in the visits that show it; `pixel_auprc` tells the
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
