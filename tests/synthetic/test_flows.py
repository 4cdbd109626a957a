from __future__ import annotations

import numpy as np
import pytest

from napari_followup.synthetic.flows import momenta_for, origins, shoot

POINTS = np.array([[20.0, 20.0], [30.0, 24.0]])
VELOCITIES = np.array([[[4.0, 0.0], [0.0, -6.0]]])


def kernel(points: np.ndarray) -> np.ndarray:
    gaps = points[:, None] - points[None]
    return np.exp(-(gaps**2).sum(-1) / 16.0**2)


def test_momenta_start_the_points_off_as_asked() -> None:
    momenta = momenta_for(POINTS, VELOCITIES)

    np.testing.assert_allclose(kernel(POINTS) @ momenta[0], VELOCITIES[0], atol=1e-12)


def test_single_point_goes_straight_on() -> None:
    states = shoot(POINTS[:1], np.array([[[3.0, -5.0]]]), steps=4)

    path = np.concatenate([points[0] for points, _ in states])
    np.testing.assert_allclose(path, POINTS[0] + np.outer(np.arange(5) / 4, [3.0, -5.0]))


def test_energy_is_kept_along_the_geodesic() -> None:
    states = shoot(POINTS, momenta_for(POINTS, VELOCITIES), steps=50)

    energies = [np.einsum("id,ij,jd", p[0], kernel(c[0]), p[0]) for c, p in states]
    np.testing.assert_allclose(energies, energies[0], rtol=1e-4)


def test_matter_at_a_point_came_from_where_the_point_began() -> None:
    states = shoot(np.array([[20.0, 20.0]]), np.array([[[6.0, 0.0]]]), steps=48)

    x, y = origins(states, 64)[0].reshape(2, 64, 64)

    assert (x[20, 26], y[20, 26]) == pytest.approx((20.0, 20.0), abs=0.05)
    assert (x[60, 60], y[60, 60]) == pytest.approx((60.0, 60.0), abs=0.01)  # far away


def test_flow_back_undoes_the_flow() -> None:
    forth = shoot(POINTS, momenta_for(POINTS, VELOCITIES), steps=64)
    back = [(points, -momenta) for points, momenta in reversed(forth)]

    x, y = origins(forth, 64)[0].reshape(2, 64, 64)
    back_x, back_y = origins(back, 64)[0].reshape(2, 64, 64)

    row, column = round(float(y[22, 24])), round(float(x[22, 24]))
    there = np.array([back_x[row, column], back_y[row, column]])
    rest = np.array([x[22, 24] - column, y[22, 24] - row])
    np.testing.assert_allclose(there + rest, [24, 22], atol=0.3)  # to the nearest pixel's slope


def test_no_momentum_moves_nothing() -> None:
    states = shoot(POINTS, np.zeros((2, 2, 2)), steps=3)

    x, y = origins(states, 8)[1].reshape(2, 8, 8)

    np.testing.assert_array_equal(y, np.mgrid[:8, :8][0])
    np.testing.assert_array_equal(x, np.mgrid[:8, :8][1])
