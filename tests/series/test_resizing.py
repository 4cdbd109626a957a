from __future__ import annotations

import pytest
import torch

from napari_followup.series.resizing import resize_planes, resize_volumes


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
