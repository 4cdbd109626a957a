"""Starmen: made-up subjects who raise their left hand as a disease goes on.

Like the Starmen toy data (zenodo record 5081988), from an own generator: a silhouette is deformed
by a *disease* flow, the same for everybody, to the subject's disease time, then by the subject's
own flow, the same at every visit. Laws and sizes were measured on the published images, of which
nothing is contained here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.special import expit

from napari_followup.series.stack import VisitStack
from napari_followup.synthetic.flows import momenta_for, origins, shoot
from napari_followup.synthetic.silhouette import signed_distance

__all__ = ["StarmenArrays", "starmen", "starmen_arrays"]

Array = NDArray[np.floating[Any]]

SIZE = 64  # pixels a side
EDGE = 0.28  # logistic scale of the outline's softness, pixels
LEFT_HAND = np.array([[14.0, 22.4]])  # control point of the disease flow, (x, y)
HAND_SPEED = -1.15  # rows per unit of disease time at the control point; up is negative
TABLE_STEP = 0.5  # disease time between two entries of the table of figures

# Control points of the subject flow: head, right hand, left foot, right foot; one axis each.
TIPS = np.array([[33.7, 10.0], [53.2, 24.0], [28.0, 57.0], [39.1, 57.0]])
TIP_AXES = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
TIP_MEAN = np.array([0.2, -0.7, -1.9, 1.9])  # mean displacement from the figure at rest, pixels
TIP_SD = np.array([1.9, 5.8, 7.4, 7.2])
TIP_CORRELATION = np.array(
    [
        [1.0, 0.35, 0.56, 0.49],
        [0.35, 1.0, -0.17, -0.34],
        [0.56, -0.17, 1.0, 0.79],
        [0.49, -0.34, 0.79, 1.0],
    ]
)


@dataclass(frozen=True, eq=False, kw_only=True)
class StarmenArrays:
    """A cohort of starmen and what made them."""

    images: NDArray[np.float32]  # (subject, visit, y, x), 0 background to 1 body
    ages: NDArray[np.float64]  # (subject, visit), years around 0
    psi: NDArray[np.float64]  # (subject, visit), disease time: pace * (age - onset)
    onset: NDArray[np.float64]  # (subject,), years
    pace: NDArray[np.float64]  # (subject,), disease time per year
    tips: NDArray[np.float64]  # (subject, tip), displacement of head, right hand and feet, pixels


def starmen(
    subjects: int = 1, *, visits: int = 10, seed: int = 0, noise: float = 0.0
) -> list[VisitStack]:
    """Make up healthy starmen, one stack a subject.

    Parameters
    ----------
    subjects, visits
        How many; visits are about a year apart.
    seed
        The same seed gives the same starmen.
    noise
        Standard deviation of Gaussian noise on the intensities, which stay in [0, 1].

    Returns
    -------
    list of VisitStack
        Images ``(visit, 1, 1, 64, 64)`` float32 in [0, 1]; subjects "starmen-0000", ....
    """
    cohort = starmen_arrays(subjects, visits=visits, seed=seed, noise=noise)
    names = [f"starmen-{number:04d}" for number in range(subjects)]
    return VisitStack.from_cohort(cohort.images, ages=cohort.ages, subjects=names)


def starmen_arrays(
    subjects: int,
    *,
    visits: int = 10,
    seed: int = 0,
    noise: float = 0.0,
    own_pace: bool = True,
) -> StarmenArrays:
    """Make up healthy starmen as plain arrays, with the variables behind them.

    Parameters
    ----------
    subjects, visits, seed, noise
        As for `starmen`.
    own_pace
        Whether each subject's disease has its own pace, or everybody's is 1.

    Returns
    -------
    StarmenArrays
        Images and latent variables, subjects first.

    Raises
    ------
    ValueError
        If there is less than one subject or visit, or `noise` is negative.
    """
    if subjects < 1 or visits < 1:
        name, given = ("subjects", subjects) if subjects < 1 else ("visits", visits)
        raise ValueError(f"{name}: got {given}; starmen need 1 or more")
    if noise < 0:
        raise ValueError(f"noise is a standard deviation, 0 or more, got {noise}")
    rng = np.random.default_rng(seed)
    pace = np.clip(rng.normal(1, 0.2, subjects), 0.4, 1.66) if own_pace else np.ones(subjects)
    onset = rng.normal(0, 2.0, subjects)
    ages = _sample_ages(subjects, visits, rng)
    tips = _sample_tips(subjects, rng)
    psi = pace[:, None] * (ages - onset[:, None])
    images = np.concatenate(list(_render(psi, tips)))
    if noise:
        images += noise * rng.standard_normal(images.shape, dtype=np.float32)
        np.clip(images, 0, 1, out=images)
    return StarmenArrays(images=images, ages=ages, psi=psi, onset=onset, pace=pace, tips=tips)


def _sample_ages(subjects: int, visits: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(subject, visit): ten visits span 8 to 15 years, 9.6 on average, evenly."""
    middle = rng.normal(0, 2.0, subjects)
    gap = (8 + np.abs(rng.normal(0, 2.0, subjects))) / 9
    return np.asarray(middle[:, None] + gap[:, None] * (np.arange(visits) - (visits - 1) / 2))


def _sample_tips(subjects: int, rng: np.random.Generator) -> NDArray[np.float64]:
    covariance = TIP_CORRELATION * np.outer(TIP_SD, TIP_SD)
    tips = rng.multivariate_normal(np.zeros(4), covariance, subjects)
    return np.asarray(TIP_MEAN + np.clip(tips, -3 * TIP_SD, 3 * TIP_SD))


def _render(psi: Array, tips: Array, chunk: int = 64) -> Iterator[NDArray[np.float32]]:
    """Images (subject, visit, y, x) of the subjects, `chunk` at a time."""
    lowest = psi.min() - TABLE_STEP
    table = _figures(np.arange(lowest, psi.max() + 2 * TABLE_STEP, TABLE_STEP))
    for start in range(0, len(psi), chunk):
        entry = (psi[start : start + chunk] - lowest) / TABLE_STEP
        x, y = np.moveaxis(_subject_origins(tips[start : start + chunk]), 1, 0)
        positions = np.broadcast_arrays(entry[:, :, None], y[:, None], x[:, None])
        distance = map_coordinates(table, positions, order=1, mode="nearest", prefilter=False)
        yield _paint(distance.reshape(*entry.shape, SIZE, SIZE))


def _figures(psi: Array) -> NDArray[np.float32]:
    """Signed distance (psi, y, x) of the mean figure at each disease time."""
    velocity = HAND_SPEED * psi[:, None, None] * np.array([0.0, 1.0])
    states = shoot(LEFT_HAND, momenta_for(LEFT_HAND, velocity), steps=48)
    x, y = np.moveaxis(origins(states, SIZE), 1, 0)
    return signed_distance(x, y).reshape(-1, SIZE, SIZE).astype(np.float32)


def _subject_origins(tips: Array) -> NDArray[np.float32]:
    velocity = tips[:, :, None] * TIP_AXES
    return origins(shoot(TIPS, momenta_for(TIPS, velocity), steps=8), SIZE)


def _paint(distance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Grey values from a distance that the flows have stretched: divide by its gradient first."""
    slope_y, slope_x = np.gradient(distance, axis=(-2, -1))
    slope = np.maximum(np.hypot(slope_x, slope_y), 0.2)  # flat where limbs meet
    return np.asarray(expit(-distance / slope / EDGE), dtype=np.float32)
