from __future__ import annotations

import pytest
import torch

from napari_followup.training.coverage import resize_masks, sharp


def mask(size: tuple[int, int], *squares: tuple[int, int, int]) -> torch.Tensor:
    """One plane with squares, (row, column, side) each."""
    found = torch.zeros(1, 1, *size)
    for y, x, side in squares:
        found[..., y : y + side, x : x + side] = 1.0
    return found


def test_a_mask_that_fits_comes_back_as_it_is() -> None:
    given = mask((8, 8), (2, 2, 3))

    assert resize_masks(given, (8, 8)) is given


def test_a_large_part_keeps_its_share_of_the_plane() -> None:
    found = resize_masks(mask((64, 64), (16, 8, 32)), (16, 16))

    assert torch.equal(found, mask((16, 16), (4, 2, 8)))


@pytest.mark.parametrize("size", [(8, 8), (24, 40), (64, 48), (96, 200)])
def test_a_single_pixel_never_vanishes(size: tuple[int, int]) -> None:
    for place in range(0, 64, 3):
        found = resize_masks(mask((64, 64), (place, 63 - place, 1)), size)

        assert set(found.unique().tolist()) == {0.0, 1.0}
        y, x = (found[0, 0].nonzero().double().mean(dim=0) + 0.5).tolist()
        assert y == pytest.approx((place + 0.5) / 64 * size[0], abs=1.5 + size[0] / 64)
        assert x == pytest.approx((63.5 - place) / 64 * size[1], abs=1.5 + size[1] / 64)


def test_a_small_part_is_kept_beside_a_large_one() -> None:
    found = resize_masks(mask((64, 64), (0, 0, 24), (50, 50, 2)), (8, 8))

    assert torch.equal(found, mask((8, 8), (0, 0, 3), (6, 6, 1)))


def test_nothing_stays_nothing_in_each_plane_by_itself() -> None:
    given = torch.cat([mask((32, 32)), mask((32, 32), (4, 4, 8))])

    found = resize_masks(given, (16, 16))

    assert not found[0].any()
    assert torch.equal(found[1:], mask((16, 16), (2, 2, 4)))


def test_half_of_the_most_covered_pixel_beside_is_not_enough() -> None:
    covered = torch.tensor([[[[0.0, 0.4, 1.0, 1.0, 0.51, 0.0]]]])

    assert sharp(covered).flatten().tolist() == [0, 0, 1, 1, 1, 0]
