"""Smooth, invertible deformations carried by a few control points.

Geodesic shooting with a Gaussian kernel (Durrleman et al. 2014): control points c with momenta p
move as ``dc/ds = K p`` and ``dp/ds = 2/width² Σ_j (p_i·p_j) K_ij (c_i - c_j)`` for s from 0 to 1,
and drag the plane along. Images need the inverse: where does the matter at a pixel come from?
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["momenta_for", "origins", "shoot"]

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
