from __future__ import annotations

import numpy as np
import pytest

from napari_followup.synthetic.silhouette import signed_distance


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
