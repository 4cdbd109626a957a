from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_followup.scores.smooth import blur, median_filter, mirrored


@pytest.mark.parametrize("size", [3, 5])
def test_median_agrees_with_scipy(size: int) -> None:
    scores = torch.rand(2, 2, 7, 9)

    expected = ndimage.median_filter(scores.numpy(), (1, 1, size, size), mode="mirror")
    np.testing.assert_array_equal(median_filter(scores, size).numpy(), expected)


def test_median_of_one_pixel_changes_nothing() -> None:
    scores = torch.rand(1, 1, 4, 4)

    assert median_filter(scores, 1) is scores


def test_median_removes_a_single_bright_pixel() -> None:
    scores = torch.zeros(1, 1, 5, 5)
    scores[0, 0, 2, 2] = 1.0

    assert not median_filter(scores, 3).any()


def test_blurred_point_is_a_gaussian() -> None:
    scores = torch.zeros(1, 1, 21, 21)
    scores[0, 0, 10, 10] = 1.0

    blurred = blur(scores, 1.5)[0, 0]

    assert blurred.sum().item() == pytest.approx(1.0, abs=1e-5)
    assert (blurred[10, 12] / blurred[10, 10]).item() == pytest.approx(np.exp(-(2**2) / 4.5))
    torch.testing.assert_close(blurred, blurred.T)


def test_even_planes_stay_as_they_are_and_small_ones_are_no_trouble() -> None:
    even = torch.full((1, 2, 3, 4), 0.3)

    torch.testing.assert_close(blur(even, 4.0), even)
    assert blur(even, 0.0) is even


def test_a_median_in_space_is_that_of_scipy() -> None:
    scores = torch.rand(2, 5, 9, 8)

    found = median_filter(scores, 3, volume=True)

    expected = [ndimage.median_filter(visit, 3, mode="mirror") for visit in scores.numpy()]
    np.testing.assert_array_equal(found.numpy(), expected)


def test_a_median_in_space_of_one_plane_is_that_of_the_plane() -> None:
    scores = torch.rand(2, 1, 9, 8)

    assert torch.equal(median_filter(scores, 5, volume=True), median_filter(scores, 5))


def test_neighbours_beyond_the_ends_are_mirrored_as_often_as_it_takes() -> None:
    for depth in (1, 2, 3, 7):
        for reach in (0, 1, 3):
            padded = np.pad(np.arange(depth), reach, mode="reflect").tolist()
            for place in range(depth):
                assert mirrored(place, depth, reach) == padded[place : place + 2 * reach + 1]
