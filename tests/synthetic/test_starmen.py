from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from napari_followup.synthetic import starmen
from napari_followup.synthetic.starmen import (
    StarmenArrays,
    momenta_for,
    origins,
    shoot,
    signed_distance,
    starmen_arrays,
)

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


@pytest.mark.parametrize(
    ("x", "y", "distance"),
    [
        (33.72, 10.14, -2.19),  # the middle of the head: its radius
        (33.72, 0.14, 10.00 - 2.19),  # straight above it
        (2.67, 22.60, 10.00 - 2.67),  # left of the left hand
        (55.10 + 5.0, 23.98, 5.00 - 2.63),  # right of the right hand
    ],
)
def test_distance_near_the_tips_is_that_to_their_discs(x: float, y: float, distance: float) -> None:
    assert signed_distance(np.array(x), np.array(y)) == pytest.approx(distance, abs=0.06)


def test_figure_is_one_piece_of_the_right_size() -> None:
    y, x = np.mgrid[:64, :64].astype(float)

    inside = signed_distance(x, y) < 0

    assert 0.12 < inside.mean() < 0.20
    assert inside.any(axis=1)[9:61].all()  # from head to feet
    assert inside.any(axis=0)[11:57].all()  # from hand to hand


def test_outline_is_as_steep_as_a_distance() -> None:
    y, x = np.mgrid[:64, :64].astype(float)
    distance = signed_distance(x, y)

    slope = np.hypot(*np.gradient(distance))

    assert np.median(slope[np.abs(distance) < 1]) == pytest.approx(1.0, abs=0.02)


@pytest.fixture(scope="module")
def cohort() -> StarmenArrays:
    return starmen_arrays(60, seed=3)


def hand_rows(images: np.ndarray) -> np.ndarray:
    """Mean row of the left-most body column, (subject, visit)."""
    body = images > 0.5
    first = body.any(axis=-2).argmax(axis=-1)
    column = np.take_along_axis(body, first[..., None, None], axis=-1)[..., 0]
    return (column * np.arange(64)).sum(-1) / column.sum(-1)


def test_stacks_are_named_planar_series_with_ages() -> None:
    stacks = starmen(3, visits=4, seed=1)

    assert [stack.subject for stack in stacks] == ["starmen-0000", "starmen-0001", "starmen-0002"]
    assert stacks[0].shape == (4, 1, 1, 64, 64)
    assert stacks[0].images.dtype == np.float32
    assert stacks[0].ages_known
    assert stacks[0].is_observed.all()


def test_stacks_hold_the_arrays() -> None:
    stack = starmen(2, seed=5)[1]
    cohort = starmen_arrays(2, seed=5)

    np.testing.assert_array_equal(stack.images[:, 0, 0], cohort.images[1])
    np.testing.assert_array_equal(stack.ages, cohort.ages[1])


def test_seed_decides() -> None:
    first, again, other = (starmen_arrays(2, visits=2, seed=seed).images for seed in (0, 0, 1))

    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.5


def test_size_and_edge_are_those_of_the_published_images(cohort: StarmenArrays) -> None:
    # Measured on 850 published subjects: 0.161 body, 0.064 of the pixels between 0.1 and 0.9.
    edge = (cohort.images > 0.1) & (cohort.images < 0.9)

    assert cohort.images.min() >= 0
    assert cohort.images.max() <= 1
    assert cohort.images.mean() == pytest.approx(0.161, abs=0.008)
    assert edge.mean() == pytest.approx(0.064, abs=0.004)


def test_left_hand_rises_with_disease_time(cohort: StarmenArrays) -> None:
    # Published: -1.12 rows per unit over all images, -1.07 within a subject.
    slopes = [
        np.polyfit(psi, rows, 1)[0]
        for psi, rows in zip(cohort.psi, hand_rows(cohort.images), strict=True)
    ]

    assert np.mean(slopes) == pytest.approx(-1.07, abs=0.08)


def test_nothing_but_the_left_arm_moves_between_visits(cohort: StarmenArrays) -> None:
    change = np.abs(cohort.images[:, -1] - cohort.images[:, 0]).mean(axis=0)

    assert change[:, :32].mean() > 10 * change[:, 48:].mean()


def test_disease_time_is_pace_times_age_since_onset(cohort: StarmenArrays) -> None:
    expected = cohort.pace[:, None] * (cohort.ages - cohort.onset[:, None])

    np.testing.assert_allclose(cohort.psi, expected)
    assert cohort.pace.std() == pytest.approx(0.2, abs=0.06)


def test_visits_are_about_a_year_apart_however_many(cohort: StarmenArrays) -> None:
    assert np.diff(cohort.ages).mean() == pytest.approx(1.07, abs=0.05)
    assert np.diff(starmen_arrays(60, visits=2, seed=3).ages).mean() == pytest.approx(
        1.07, abs=0.05
    )
    assert starmen_arrays(1, visits=1).images.shape == (1, 1, 64, 64)


def test_pace_can_be_the_same_for_all() -> None:
    cohort = starmen_arrays(3, visits=2, own_pace=False)

    assert cohort.pace.tolist() == [1.0, 1.0, 1.0]


def test_noise_stays_in_range_and_changes_nothing_else() -> None:
    clean, noisy = starmen_arrays(4, seed=2), starmen_arrays(4, seed=2, noise=0.1)

    np.testing.assert_array_equal(clean.ages, noisy.ages)
    assert (noisy.images.min(), noisy.images.max()) == (0.0, 1.0)
    difference = noisy.images - clean.images
    middle = (clean.images > 0.4) & (clean.images < 0.6)  # where nothing is cut off
    assert difference[middle].std() == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"subjects": 0}, "subjects: got 0; starmen need 1 or more"),
        ({"subjects": 1, "visits": 0}, "visits: got 0; starmen need 1 or more"),
        ({"subjects": 1, "noise": -1.0}, "0 or more, got -1"),
    ],
)
def test_unfit_settings_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        starmen(**settings)


@pytest.mark.slow
def test_cohort_of_a_thousand_takes_less_than_half_a_minute() -> None:
    start = time.process_time()
    starmen_arrays(1000)

    assert time.process_time() - start < 30
