"""Figures of merit from masks and scores, and how sure they are. Pure numpy functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

__all__ = [
    "areas",
    "auroc_of_draws",
    "average_precision",
    "bootstrap_interval",
    "dice",
    "dice_by_visit",
    "drawn",
    "interval",
    "kind_means",
    "mean_of_kinds",
    "means_of_draws",
]

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]
DiceTable = Mapping[str, Sequence[Floats]]
"""By kind of anomaly one array of Dice scores a patient."""


SHARE = 0.95


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
    """How well scores separate sick from healthy.

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


Values = Sequence[Sequence[float] | Floats]
"""Any number of values for every patient."""


def drawn(kinds: Sequence[str], *, draws: int = 1000, seed: int = 0) -> NDArray[np.float64]:
    """How often each patient is drawn, with replacement, as many of each kind as there are.

    Parameters
    ----------
    kinds
        Of every patient. Kinds are drawn in the order of their first patient: those that come
        later change nothing about the draws of those before.
    draws
        How often.
    seed
        Source of the draws: the same kinds and seed give the same ones.

    Returns
    -------
    NDArray
        ``(1 + draw, patient)``; the first row takes every patient once.
    """
    rng, names = np.random.default_rng(seed), np.asarray(kinds)
    counts = np.ones((1 + draws, len(kinds)))
    for kind in dict.fromkeys(kinds):
        of_kind = names == kind
        number = int(of_kind.sum())
        chosen = rng.integers(number, size=(draws, number))
        places = chosen + number * np.arange(draws)[:, None]
        of_draws = np.bincount(places.ravel(), minlength=draws * number)
        counts[1:, of_kind] = of_draws.reshape(draws, number)
    return counts


def interval(values: Floats) -> tuple[float, float]:
    """Where 95 % of the draws lie: ``(1 + draw,)`` -> lower and upper end, NaN where none is."""
    known = values[1:][np.isfinite(values[1:])]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(low), float(high)


def means_of_draws(values: Values, counts: Floats) -> NDArray[np.float64]:
    """Mean over all values of the patients drawn; NaN is left out.

    Parameters
    ----------
    values
        Of every patient.
    counts
        From `drawn`.

    Returns
    -------
    NDArray
        ``(1 + draw,)``.
    """
    parts = [np.asarray(each, np.float64) for each in values]
    sums = np.array([np.nansum(part) for part in parts])
    numbers = np.array([np.isfinite(part).sum() for part in parts])
    return _ratio(counts @ sums, counts @ numbers)


def kind_means(
    kinds: Sequence[str], values: Values, counts: Floats
) -> dict[str, NDArray[np.float64]]:
    """`means_of_draws` of every kind; the mean of them all is ``"mean"``."""
    found = {}
    for kind in dict.fromkeys(kinds):
        of_kind = [place for place, each in enumerate(kinds) if each == kind]
        found[kind] = means_of_draws([values[place] for place in of_kind], counts[:, of_kind])
    whole = list(found.values()) or [np.full(len(counts), np.nan)]
    return found | {"mean": np.mean(whole, axis=0)}


def bootstrap_interval(
    table: Mapping[str, Sequence[Floats]], *, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval in which `mean_of_kinds` would lie for other patients.

    Parameters
    ----------
    table
        By kind one array of values a patient; NaN is left out.
    draws, seed
        As for `drawn`.

    Returns
    -------
    tuple
        Lower and upper end; NaN where there is no patient.
    """
    kinds = [kind for kind, patients in table.items() for _ in patients]
    values = [each for patients in table.values() for each in patients]
    return interval(kind_means(kinds, values, drawn(kinds, draws=draws, seed=seed))["mean"])


def auroc_of_draws(
    sick: Sequence[Sequence[float]], healthy: Sequence[Sequence[float]], counts: Floats
) -> NDArray[np.float64]:
    """Area under the ROC curve, patients drawn on both sides.

    Parameters
    ----------
    sick, healthy
        Image scores of every patient, of one group or the other and empty for the other.
    counts
        From `drawn`.

    Returns
    -------
    NDArray
        ``(1 + draw,)``.
    """
    wins = np.array([[_wins(one, other) for other in healthy] for one in sick]).reshape(
        len(sick), len(healthy)
    )
    pairs = np.outer([len(one) for one in sick], [len(one) for one in healthy])
    won = np.einsum("ds,sh,dh->d", counts, wins, counts, optimize=True)
    return _ratio(won, np.einsum("ds,sh,dh->d", counts, pairs, counts, optimize=True))


def _wins(sick: Sequence[float], healthy: Sequence[float]) -> float:
    """Pairs whose sick score is the higher; ties count half."""
    if not (len(sick) and len(healthy)):
        return 0.0
    low = np.sort(np.asarray(healthy, np.float64))
    below, upto = (np.searchsorted(low, sick, side) for side in ("left", "right"))
    return float((below + upto).sum()) / 2


def average_precision(inside: Floats, outside: Floats) -> NDArray[np.float64]:
    """Area under precision and recall, from counts above falling thresholds.

    Parameters
    ----------
    inside, outside
        ``(draw, threshold)``: pixels of the truth, and others, that reach each threshold; the last
        threshold is reached by all.

    Returns
    -------
    NDArray
        ``(draw,)``.
    """
    precision = _ratio(inside, inside + outside)
    gained = np.diff(inside, axis=1, prepend=0.0)
    return _ratio(np.nansum(gained * precision, axis=1), inside[:, -1])


def _ratio(top: Floats, bottom: Floats) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(bottom > 0, top / bottom, np.nan), np.float64)
