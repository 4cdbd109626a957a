from __future__ import annotations

import numpy as np
import pytest

from napari_followup.comparison.regions import BRIGHTER, DARKER, THRESHOLD, change_regions


def drawn() -> np.ndarray:
    """(z, y, x): 8 voxels brighter, 2 more elsewhere, 3 darker."""
    change = np.zeros((4, 10, 10), np.float32)
    change[1:3, 2:4, 2:4] = 6.0
    change[0, 8, 8:10] = 5.0
    change[3, 0:3, 9] = -7.0
    return change


def test_regions_are_counted_and_measured_each_way() -> None:
    found = change_regions(drawn(), threshold=4.0, spacing=(3.0, 1.0, 0.5))

    assert found.brighter == (12.0, 3.0)  # voxels of 1.5 mm³
    assert found.darker == (4.5,)
    assert found.unit == "mm³"
    assert (found.labels == BRIGHTER).sum() == 10
    assert (found.labels == DARKER).sum() == 3
    assert str(found) == "brighter: 2 regions, 15 mm³, the largest 12 mm³; darker: 1 region, 4 mm³"


def test_a_value_that_reaches_the_threshold_counts() -> None:
    assert change_regions(drawn(), threshold=6.0).brighter == (8.0,)
    assert change_regions(drawn(), threshold=6.1).brighter == ()


def test_small_regions_are_left_out() -> None:
    found = change_regions(drawn(), threshold=4.0, smallest=3.0)

    assert found.brighter == (8.0,)
    assert found.darker == (3.0,)
    assert not found.labels[0].any()


def test_planes_have_areas_and_without_spacing_voxels_are_counted() -> None:
    plane = drawn()[1:2]

    assert change_regions(plane, spacing=(9.0, 2.0, 2.0)).brighter == (16.0,)
    assert change_regions(plane, spacing=(9.0, 2.0, 2.0)).unit == "mm²"
    assert change_regions(plane).unit == "voxels"


def test_voxels_that_touch_by_a_corner_are_one_region() -> None:
    change = np.zeros((2, 2, 2))
    change[0, 0, 0] = change[1, 1, 1] = 5.0

    assert change_regions(change).brighter == (2.0,)


def test_no_change_is_said_so() -> None:
    assert str(change_regions(np.zeros((2, 3, 3)))) == "brighter: nothing; darker: nothing"


def test_a_threshold_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="threshold: got 0; give one above 0, in units of noise"):
        change_regions(drawn(), threshold=0)


def test_without_a_threshold_it_is_the_one_that_all_share() -> None:
    change = np.array([[[0.0, THRESHOLD]], [[-THRESHOLD + 0.01, 0.0]]])

    found = change_regions(change)

    assert (found.brighter, found.darker) == ((1.0,), ())
