from __future__ import annotations

import pytest
import torch

from napari_followup.planes import resize_planes


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
