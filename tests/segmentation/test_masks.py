from __future__ import annotations

import numpy as np
import pytest

from napari_followup.segmentation.masks import (
    cleaned,
    confirmed_at,
    dilated,
    far_from,
    grown_mask,
    mask_at,
    without_small,
)

NAN = np.nan


def test_a_pixel_that_reaches_the_threshold_is_in_and_nan_is_not() -> None:
    assert mask_at(np.array([0.4, 0.5, 0.6, NAN]), 0.5).tolist() == [False, True, True, False]


def test_nothing_reaches_an_infinite_threshold() -> None:
    assert not mask_at(np.full(3, 1e30), np.inf).any()


def test_regions_grow_from_high_pixels_down_to_the_low_threshold() -> None:
    row = np.array([0.9, 0.4, 0.1, 0.4, 0.4, NAN, 0.4])

    found = grown_mask(row.reshape(1, 1, 1, 7), low=0.3, high=0.8)

    assert found.ravel().tolist() == [True, True, False, False, False, False, False]


def test_corners_and_planes_join_a_region_and_visits_do_not() -> None:
    scores = np.zeros((2, 4, 2, 2))
    scores[0, 0, 0, 0], scores[0, 0, 1, 1] = 0.9, 0.4  # corner to corner
    scores[0, 1, 0, 0] = scores[1, 0, 0, 0] = 0.4  # the next plane, the next visit
    scores[0, 3, 0, 0] = 0.4  # the plane after one that is dark

    found = grown_mask(scores, low=0.3, high=0.8)

    assert np.argwhere(found).tolist() == [[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 0, 0]]


def test_small_parts_are_dropped_and_those_of_just_the_size_stay() -> None:
    mask = np.zeros((2, 3, 6, 6), bool)
    mask[0, 0, 0, :2] = mask[0, 1, 1, 2] = True  # three that hold together across planes
    mask[0, 0, 4, 4] = mask[0, 2, 4, 4] = True  # two that do not
    mask[1, 0, 0, :2] = True  # another visit

    found = without_small(mask, 3)

    assert np.argwhere(found).tolist() == [[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 1, 2]]
    assert mask.sum() == 7
    np.testing.assert_array_equal(without_small(mask, 0), mask)
    assert not without_small(np.zeros_like(mask), 1).any()


def test_a_mask_is_cleaned_in_the_order_region_small_parts_growth() -> None:
    mask = np.random.default_rng(0).random((3, 2, 8, 8)) > 0.6
    inside = np.random.default_rng(1).random(mask.shape) > 0.3

    found = cleaned(mask, inside=inside, smallest=2, dilation=1)

    np.testing.assert_array_equal(found, dilated(without_small(mask & inside, 2), 1))
    assert found.sum() > (mask & inside).sum()
    np.testing.assert_array_equal(cleaned(mask), mask)


@pytest.mark.parametrize("high", [0.3, 2.0])
def test_an_empty_map_has_no_region(high: float) -> None:
    assert not grown_mask(np.zeros((1, 1, 4, 4)), low=0.3, high=high).any()


def test_what_is_confirmed_reaches_the_threshold_inside_the_mask() -> None:
    mask = np.array([True, True, False, True, True]).reshape(1, 1, 1, 5)
    distance = np.array([0.9, 0.4, 0.9, NAN, 0.5]).reshape(mask.shape)

    found = confirmed_at(mask, distance, 0.5)

    assert found.ravel().tolist() == [True, False, False, False, True]
    assert not confirmed_at(mask, distance, np.inf).any()


def test_thresholds_may_differ_from_pixel_to_pixel() -> None:
    assert mask_at(np.array([0.4, 0.4, 0.4]), np.array([0.3, 0.5, NAN])).tolist() == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("width", [0, 1, 2, 4])
def test_a_mask_grows_by_steps_within_its_plane_and_visit(width: int) -> None:
    mask = np.random.default_rng(width).random((2, 3, 9, 7)) > 0.97
    mask[1, 1] = False

    found = dilated(mask, width)

    expected = np.zeros_like(mask)
    for visit, z, y, x in np.ndindex(mask.shape):
        expected[visit, z, y, x] = any(
            abs(y - row) + abs(x - column) <= width for row, column in np.argwhere(mask[visit, z])
        )
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(far_from(mask, width), ~expected)


def parts_of(mask: np.ndarray, reach: int) -> list[set[tuple[int, ...]]]:
    """Collect pixels that hold together, one by one; a step changes each place by `reach`."""
    left, parts = {tuple(place) for place in np.argwhere(mask)}, []
    while left:
        part = edge = {left.pop()}
        while edge:
            edge = {
                place
                for place in left
                if any(max(abs(np.subtract(place, other))) <= reach for other in edge)
            }
            left -= edge
            part = part | edge
        parts.append(part)
    return parts


@pytest.mark.parametrize("depth", [1, 4])
def test_small_parts_are_those_of_a_plane_or_of_a_volume_by_corners(depth: int) -> None:
    mask = np.random.default_rng(depth).random((2, depth, 12, 12)) > (0.8 if depth == 1 else 0.92)

    found = without_small(mask, 4)

    expected = np.zeros_like(mask)
    for visit, kept in zip(mask, expected, strict=True):
        for part in parts_of(visit, 1):
            if len(part) >= 4:
                kept[tuple(np.transpose(list(part)))] = True
    assert 0 < expected.sum() < mask.sum()
    np.testing.assert_array_equal(found, expected)
