"""Where a series has gaps: its typical interval, the ages that are missing, those still to come."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from napari_followup.series.stack import VisitStack

__all__ = [
    "DRAWS",
    "STRATEGIES",
    "check_new_ages",
    "coming_ages",
    "missing_ages",
    "typical_interval",
]

STRATEGIES = ("joint", "both sides", "direct", "chain", "lerp-slerp", "lerp-lerp")
"""Ways to impute a visit, see `impute.imputation`."""

DRAWS = 4  # of each imputed visit, unless another number is given
REPEATED = 0.1  # of the longest interval; below it a visit repeats the one before
SAME = 1e-6  # years within which two ages are one


def typical_interval(stack: VisitStack) -> float:
    """Median time between neighbouring visits, missing ones included.

    Parameters
    ----------
    stack
        The series.

    Returns
    -------
    float
        Years; 1 where a single age is known.
    """
    steps = np.diff(np.unique(stack.ages))
    if not steps.size:
        return 1.0
    return float(np.median(steps[steps >= REPEATED * steps.max()]))


def missing_ages(stack: VisitStack, *, long: float = 1.5) -> NDArray[np.float64]:
    """Ages at which a visit is missing: those the series lists, and those its intervals suggest.

    Parameters
    ----------
    stack
        The series.
    long
        An interval this many times the typical one, or longer, is divided evenly.

    Returns
    -------
    ndarray
        Years, rising; empty where nothing is missing.
    """
    usual = typical_interval(stack)
    listed = _listed_gaps(stack)
    known = np.unique(stack.ages)
    between = [
        np.linspace(start, end, round((end - start) / usual) + 1)[1:-1]
        for start, end in pairwise(known)
        if end - start >= long * usual
    ]
    return np.sort(np.concatenate([listed, *between]))


def coming_ages(
    stack: VisitStack, visits: int = 3, interval: float | None = None
) -> NDArray[np.float64]:
    """Ages after the last visit, evenly spaced.

    Parameters
    ----------
    stack
        The series.
    visits
        How many.
    interval
        Years between them; the typical interval when none is given.

    Returns
    -------
    ndarray
        Years, rising.

    Raises
    ------
    ValueError
        If `visits` is below 1, or `interval` is no positive number.
    """
    step = typical_interval(stack) if interval is None else interval
    if visits < 1 or not 0 < step < np.inf:
        raise ValueError(f"visits must be 1 or more and interval positive, got {visits} and {step}")
    last = stack.ages[stack.is_observed].max()
    return np.asarray(last + step * np.arange(1, visits + 1))


def check_new_ages(
    stack: VisitStack, ages: Sequence[float] | NDArray[np.floating] | None
) -> NDArray[np.float64]:
    """Ages to impute, rising, each once.

    Parameters
    ----------
    stack
        The series.
    ages
        Years; the series' own missing visits when none are given.

    Returns
    -------
    ndarray
        Years.

    Raises
    ------
    ValueError
        If there is nothing to impute, an age is no finite number, or a visit is observed at it.
    """
    if ages is None:
        wanted = _listed_gaps(stack)
        if not wanted.size:
            raise ValueError(
                f"{stack.subject!r} misses no visit; say at which ages to impute, in years, as in "
                f"ages=[{stack.ages.mean():.4g}]"
            )
    else:
        try:
            wanted = np.atleast_1d(np.asarray(ages, dtype=np.float64))
        except (TypeError, ValueError) as error:
            raise ValueError(f"ages: got {ages!r}; give numbers, in years") from error
    if not wanted.size or wanted.ndim > 1 or not np.isfinite(wanted).all():
        raise ValueError(f"ages: got {ages!r}; give one or more finite numbers, in years")
    wanted = np.unique(wanted)
    wanted = wanted[np.diff(wanted, prepend=-np.inf) >= SAME]
    for index in np.flatnonzero(stack.is_observed):
        taken = np.abs(wanted - stack.ages[index]) < SAME
        if taken.any():
            raise ValueError(
                f"ages: {wanted[taken][0]:.6g} is already observed, visit {index + 1} of "
                f"{stack.n_visits} of {stack.subject!r}; leave it out, or set that visit as missing"
            )
    return wanted


def _listed_gaps(stack: VisitStack) -> NDArray[np.float64]:
    """Ages of missing visits, but for those at which another image was taken."""
    missing = stack.ages[stack.is_missing]
    taken = np.abs(missing[:, None] - stack.ages[stack.is_observed]) < SAME
    return np.asarray(missing[~taken.any(axis=1)])
