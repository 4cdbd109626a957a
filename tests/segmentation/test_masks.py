from __future__ import annotations

import numpy as np
import pytest

from napari_followup.segmentation.masks import (
    confirmed_by,
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


def test_what_is_given_an_array_writes_into_it_visit_by_visit() -> None:
    scores = np.random.default_rng(0).random((3, 2, 8, 8))
    mask, walked = np.zeros(scores.shape, bool), []

    def walk(*arrays: np.ndarray) -> object:
        walked.append([len(array) for array in arrays])
        return zip(*arrays, strict=True)

    found = grown_mask(scores, 0.5, 0.95, out=mask, walk=walk)
    confirmed_by(found, scores, out=mask, walk=walk)
    without_small(mask, 2, out=mask, walk=walk)

    assert found is mask
    assert len(walked) == 5
    expected = without_small(confirmed_by(grown_mask(scores, 0.5, 0.95), scores), 2)
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("high", [0.3, 2.0])
def test_an_empty_map_has_no_region(high: float) -> None:
    assert not grown_mask(np.zeros((1, 1, 4, 4)), low=0.3, high=high).any()


def test_pixel_distance_confirms_what_stands_out_inside_the_mask() -> None:
    mask = np.zeros((1, 1, 16, 16), bool)
    mask[0, 0, :8] = True
    distance = np.full(mask.shape, 0.05, np.float32)
    distance[0, 0, 2:4, 2:6] = 0.9
    distance[0, 0, 12:] = 0.9  # outside the mask

    found = confirmed_by(mask, distance)

    assert np.argwhere(found).tolist() == np.argwhere(distance[:, :, :8] > 0.5).tolist()


def test_an_empty_mask_stays_empty() -> None:
    assert not confirmed_by(np.zeros((1, 1, 4, 4), bool), np.random.rand(1, 1, 4, 4)).any()


def test_a_missing_visit_does_not_change_what_is_confirmed_in_the_others() -> None:
    rng = np.random.default_rng(0)
    distance = rng.random((2, 1, 16, 16)).astype(np.float32) ** 4
    mask = distance > 0.1
    missing = np.full((6, 1, 16, 16), NAN, np.float32)

    found = confirmed_by(
        np.concatenate([mask, np.zeros(missing.shape, bool)]), np.concatenate([distance, missing])
    )

    np.testing.assert_array_equal(found[:2], confirmed_by(mask, distance))
    assert not found[2:].any()
