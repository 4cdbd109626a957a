"""The starman at rest: a star-shaped figure given by its signed distance.

Own construction: round cones (head, arms, trunk, legs) joined by a smooth union. The discs were
fitted to the mean figure of the published Starmen images (zenodo record 5081988).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["signed_distance"]

Array = NDArray[np.floating[Any]]


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
