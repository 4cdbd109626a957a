"""Verdicts on claims: paired differences on the same patients, and their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from napari_followup.evaluation.patients import HEALTHY
from napari_followup.evaluation.statistics import drawn, interval, kind_means

if TYPE_CHECKING:
    from napari_followup.evaluation.study import StudyRow


__all__ = ["FEWEST", "ClaimFigures", "Difference", "difference", "figures_of_claim", "verdict"]

Figure = Literal["pixel_auprc", "dice"]
Verdict = Literal["confirmed", "not confirmed", "within the interval", "too few patients"]
FEWEST = 5  # patients of a kind; fewer are too few for a bootstrap


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two means over the same patients, their difference and its 95 % interval.

    `fewest` is the number of patients of the rarest kind.
    """

    first: float
    second: float
    interval: tuple[float, float]
    fewest: int

    @property
    def is_sure(self) -> bool:
        """Whether there are patients enough for the interval to mean something."""
        return self.fewest >= FEWEST

    @property
    def value(self) -> float:
        """First minus second."""
        return self.first - self.second


@dataclass(frozen=True, kw_only=True)
class ClaimFigures:
    """One claim on one model, or pair: pixel AUPRC in [0, 1], mean over patients and kinds.

    `others` holds all that `first` was compared with, `second` what counted.
    """

    name: str
    text: str
    model: str
    first: str
    second: str
    first_auprc: float
    second_auprc: float
    difference: float
    interval: tuple[float, float]
    margin: float
    verdict: Verdict
    others: Mapping[str, float]


def verdict(ends: tuple[float, float], margin: float = 0.0) -> Verdict:
    """Verdict on a claim that a difference is above minus `margin`, by its interval.

    With a margin its end is within the claim; without one, no difference is no confirmation.
    """
    low, high = ends
    if low > -margin or 0 < margin == -low:
        return "confirmed"
    return "not confirmed" if high < -margin else "within the interval"


def difference(
    first: StudyRow, second: Sequence[StudyRow], figure: Figure = "pixel_auprc"
) -> Difference:
    """Difference between a row and the mean of others, for the same drawn patients.

    Parameters
    ----------
    first, second
        Rows on the same patients.
    figure
        Of every sick patient: the area for its pixels, or the Dice of its visits.

    Returns
    -------
    Difference
        Of means over patients, or visits, and then kinds.

    Raises
    ------
    ValueError
        If the patients are not the same.
    """
    kinds = _kinds(first)
    if any(_kinds(other) != kinds for other in second):
        raise ValueError("rows can only be compared on the same patients; measure them together")
    counts = drawn(kinds)
    means = [_means(row, figure, counts) for row in (first, *second)]
    mine, theirs = means[0], np.mean(means[1:], axis=0)
    return Difference(
        first=float(mine[0]),
        second=float(theirs[0]),
        interval=interval(mine - theirs),
        fewest=min(map(kinds.count, kinds), default=0),
    )


def figures_of_claim(
    claim: tuple[str, str, float, str], first: StudyRow, others: Sequence[StudyRow], against: str
) -> ClaimFigures:
    """Decide a claim.

    Parameters
    ----------
    claim
        Its name, text and margin, and the model.
    first, others
        Rows on the same patients.
    against
        "best" of the others, or their "mean".

    Returns
    -------
    ClaimFigures
        With the verdict.
    """
    name, text, margin, model = claim
    singles = {row.figures.name: difference(first, [row]) for row in others}
    best = max(others, key=lambda row: singles[row.figures.name].second)
    rows = [best] if against == "best" else list(others)
    found = difference(first, rows)
    mean = f"mean of {len(others)}"
    return ClaimFigures(
        name=name,
        text=text,
        model=model,
        first=first.figures.name,
        second=best.figures.name if against == "best" else mean,
        first_auprc=found.first,
        second_auprc=found.second,
        difference=found.value,
        interval=found.interval,
        margin=margin,
        verdict=verdict(found.interval, margin) if found.is_sure else "too few patients",
        others={other: each.second for other, each in singles.items()},
    )


def _kinds(row: StudyRow) -> list[str]:
    return [patient.kind for patient in row.patients if patient.kind != HEALTHY]


def _means(row: StudyRow, figure: Figure, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    sick = [patient for patient in row.patients if patient.kind != HEALTHY]
    auprc = figure == "pixel_auprc"
    values = [(patient.pixel_auprc,) if auprc else patient.dice for patient in sick]
    return kind_means([patient.kind for patient in sick], values, counts)["mean"]
