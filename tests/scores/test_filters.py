from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_followup.scores.filters import (
    blur,
    median_filter,
    middle_median,
    mirrored,
    resize_planes,
    resize_volumes,
)


def median_in_space(scores: torch.Tensor, size: int) -> torch.Tensor:
    """Filter a volume plane by plane, each with its neighbours on both sides."""
    depth = scores.shape[1]
    planes = [mirrored(z, depth, size // 2) for z in range(depth)]
    return torch.cat([middle_median(scores[:, around], size) for around in planes], dim=1)


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

    found = median_in_space(scores, 3)

    expected = [ndimage.median_filter(visit, 3, mode="mirror") for visit in scores.numpy()]
    np.testing.assert_array_equal(found.numpy(), expected)


def test_a_median_in_space_of_one_plane_is_that_of_the_plane() -> None:
    scores = torch.rand(2, 1, 9, 8)

    assert torch.equal(median_in_space(scores, 5), median_filter(scores, 5))


def test_neighbours_beyond_the_ends_are_mirrored_as_often_as_it_takes() -> None:
    for depth in (1, 2, 3, 7):
        for reach in (0, 1, 3):
            padded = np.pad(np.arange(depth), reach, mode="reflect").tolist()
            for place in range(depth):
                assert mirrored(place, depth, reach) == padded[place : place + 2 * reach + 1]


def test_planes_that_fit_come_back_as_they_are() -> None:
    planes = torch.rand(2, 1, 4, 6)

    assert resize_planes(planes, (4, 6)) is planes


@pytest.mark.parametrize("size", [(8, 8), (3, 5), (20, 2)])
def test_even_planes_stay_even_at_any_size(size: tuple[int, int]) -> None:
    found = resize_planes(torch.full((2, 3, 7, 4), 0.25), size)

    torch.testing.assert_close(found, torch.full((2, 3, *size), 0.25))


def test_shrinking_by_two_keeps_the_mean_of_fine_stripes() -> None:
    stripes = torch.zeros(1, 1, 32, 32)
    stripes[..., ::2] = 1.0

    found = resize_planes(stripes, (16, 16))

    torch.testing.assert_close(found[..., 2:-2], torch.full((1, 1, 16, 12), 0.5))


def test_volumes_that_fit_come_back_as_they_are() -> None:
    volumes = torch.rand(2, 1, 3, 4, 5, generator=torch.Generator().manual_seed(0))

    assert torch.equal(resize_volumes(volumes, (3, 4, 5)), volumes)


def test_fewer_planes_are_means_of_those_there_are_and_more_are_mixtures() -> None:
    volumes = torch.arange(6.0)[None, None, :, None, None].expand(1, 2, 6, 4, 4)

    fewer, more = resize_volumes(volumes, (3, 4, 4)), resize_volumes(volumes, (12, 4, 4))

    assert fewer[0, 1, :, 2, 3].tolist() == [0.5, 2.5, 4.5]
    assert more[0, 0, 1:5, 0, 0].tolist() == [0.25, 0.75, 1.25, 1.75]


def test_the_sides_of_a_volumes_planes_are_resampled_as_those_of_planes() -> None:
    volumes = torch.rand(2, 3, 2, 8, 6, generator=torch.Generator().manual_seed(0))

    found = resize_volumes(volumes, (2, 4, 12))

    assert torch.equal(found[1, :, 1], resize_planes(volumes[1:, :, 1], (4, 12))[0])
