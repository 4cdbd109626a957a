"""Starmen: synthetic subjects who raise their left hand as a disease goes on.

Like the Starmen toy data (zenodo record 5081988), from an own generator: a silhouette is deformed
by a *disease* flow, the same for everybody, to the subject's disease time, then by the subject's
own flow, the same at every visit. Laws and sizes were measured on the published images, of which
nothing is contained here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.special import expit

from napari_followup.series.stack import VisitStack

__all__ = [
    "StarmenArrays",
    "momenta_for",
    "origins",
    "shoot",
    "signed_distance",
    "starmen",
    "starmen_arrays",
]

Array = NDArray[np.floating[Any]]

KERNEL_WIDTH = 16.0  # pixels; the Starmen's own


def momenta_for(points: Array, velocities: Array) -> Array:
    """Momenta that start control points off with given velocities.

    Parameters
    ----------
    points
        ``(point, xy)`` in pixels.
    velocities
        ``(flow, point, xy)`` in pixels per unit of flow time.

    Returns
    -------
    ndarray
        ``(flow, point, xy)``.
    """
    gaps = points[:, None] - points[None, :]
    return np.asarray(np.linalg.solve(_kernel((gaps**2).sum(-1))[None], velocities))


def shoot(points: Array, momenta: Array, steps: int) -> list[tuple[Array, Array]]:
    """Follow control points along the geodesic, by the midpoint rule.

    Parameters
    ----------
    points
        ``(point, xy)`` where every flow starts, in pixels.
    momenta
        ``(flow, point, xy)``.
    steps
        Number of equal steps from 0 to 1.

    Returns
    -------
    list of (points, momenta)
        ``steps + 1`` states, each array ``(flow, point, xy)``.
    """
    state = np.broadcast_to(points, momenta.shape), momenta
    states = [state]
    for _ in range(steps):
        half = _advance(state, _motion(*state), 0.5 / steps)
        state = _advance(state, _motion(*half), 1.0 / steps)
        states.append(state)
    return states


def origins(states: list[tuple[Array, Array]], size: int) -> NDArray[np.float32]:
    """Where the matter at each pixel was before the flow.

    Parameters
    ----------
    states
        The flows, as `shoot` returns them.
    size
        Side of the square image in pixels.

    Returns
    -------
    ndarray
        ``(flow, xy, size * size)`` float32, in pixels: pull an image back by sampling it there.
    """
    rows, columns = np.mgrid[:size, :size].reshape(2, -1).astype(np.float32)
    flows = len(states[0][0])
    x, y = (np.tile(axis, (flows, 1)) for axis in (columns, rows))
    for after, before in zip(states[:0:-1], states[-2::-1], strict=True):
        points, momenta = (
            (a.astype(np.float32) + b.astype(np.float32)) / 2
            for a, b in zip(after, before, strict=True)
        )
        step_x, step_y = _velocity(x, y, points, momenta)
        x -= step_x / (len(states) - 1)
        y -= step_y / (len(states) - 1)
    return np.stack([x, y], axis=1)


def _velocity(x: Array, y: Array, points: Array, momenta: Array) -> tuple[Array, Array]:
    """Velocity of the plane at ``(flow, pixel)`` positions."""
    speed_x, speed_y = np.zeros_like(x), np.zeros_like(y)
    for j in range(points.shape[1]):
        gap_x, gap_y = x - points[:, j, 0, None], y - points[:, j, 1, None]
        weight = _kernel(gap_x**2 + gap_y**2)
        speed_x += weight * momenta[:, j, 0, None]
        speed_y += weight * momenta[:, j, 1, None]
    return speed_x, speed_y


def _motion(points: Array, momenta: Array) -> tuple[Array, Array]:
    """Right-hand side of the geodesic equations."""
    gaps = points[:, :, None] - points[:, None, :]
    kernel = _kernel((gaps**2).sum(-1))
    products = np.einsum("nid,njd->nij", momenta, momenta)
    turning = np.einsum("nij,nijd->nid", products * kernel, gaps)
    return np.einsum("nij,njd->nid", kernel, momenta), 2 / KERNEL_WIDTH**2 * turning


def _advance(
    state: tuple[Array, Array], motion: tuple[Array, Array], step: float
) -> tuple[Array, Array]:
    return state[0] + step * motion[0], state[1] + step * motion[1]


def _kernel(squared_distance: Array) -> Array:
    return np.asarray(np.exp(-squared_distance / KERNEL_WIDTH**2))


class Disc(NamedTuple):
    """One end of a limb, in pixels."""

    x: float
    y: float
    radius: float


HEAD = Disc(33.72, 10.14, 2.19)
NECK = Disc(33.72, 25.91, 2.79)
SHOULDERS = Disc(33.72, 25.91, 3.05)
LEFT_HAND = Disc(12.67, 22.60, 2.67)
RIGHT_HAND = Disc(55.10, 23.98, 2.63)
WAIST = Disc(33.72, 30.00, 1.99)
HIPS = Disc(33.72, 40.63, 2.94)
LEFT_HIP = Disc(33.60, 40.63, 2.94)
RIGHT_HIP = Disc(33.84, 40.63, 2.94)
LEFT_FOOT = Disc(27.97, 59.39, 1.90)
RIGHT_FOOT = Disc(39.10, 59.42, 1.95)
UPPER_BLEND, LOWER_BLEND, CROTCH_BLEND = 3.28, 1.65, 0.30  # pixels over which parts melt together


def signed_distance(x: Array, y: Array) -> Array:
    """Distance to the outline of the figure at rest, negative inside.

    Parameters
    ----------
    x, y
        Positions in pixels, any one shape.

    Returns
    -------
    ndarray
        Pixels, shape of `x`; near the outline its gradient is close to 1.
    """
    upper = _limb(x, y, HEAD, NECK)
    for start, end in ((LEFT_HAND, SHOULDERS), (RIGHT_HAND, SHOULDERS), (NECK, WAIST)):
        upper = _join(upper, _limb(x, y, start, end), UPPER_BLEND)
    left_leg = _limb(x, y, LEFT_HIP, LEFT_FOOT)
    right_leg = _limb(x, y, RIGHT_HIP, RIGHT_FOOT)
    legs = _join(left_leg, right_leg, CROTCH_BLEND)
    body = _join(upper, _limb(x, y, WAIST, HIPS), LOWER_BLEND)
    return _join(body, legs, LOWER_BLEND)


def _limb(x: Array, y: Array, start: Disc, end: Disc) -> Array:
    """Signed distance to a round cone, whose radius changes linearly between two discs."""
    along_x, along_y = end.x - start.x, end.y - start.y
    along = (x - start.x) * along_x + (y - start.y) * along_y
    part = np.clip(along / (along_x**2 + along_y**2), 0, 1)
    to_axis = np.hypot(x - start.x - part * along_x, y - start.y - part * along_y)
    return to_axis - (start.radius + (end.radius - start.radius) * part)


def _join(a: Array, b: Array, blend: float) -> Array:
    """Union of two shapes whose corner is rounded over `blend` pixels."""
    part = np.clip(0.5 + 0.5 * (b - a) / blend, 0, 1)
    return b + (a - b) * part - blend * part * (1 - part)


SIZE = 64  # pixels a side
EDGE = 0.28  # logistic scale of the outline's softness, pixels
HAND_CONTROL = np.array([[14.0, 22.4]])  # control point of the disease flow, (x, y)
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
    """Make healthy starmen, one stack a subject.

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
    """Make healthy starmen as plain arrays, with the variables behind them.

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
    states = shoot(HAND_CONTROL, momenta_for(HAND_CONTROL, velocity), steps=48)
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
