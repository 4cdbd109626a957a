from __future__ import annotations

from itertools import count, pairwise, product

import pytest
import torch

from napari_followup.diffusion.patches import (
    check_patch,
    patch_cover,
    patch_grid,
    random_corners,
    stitched,
)

CASES = [
    ((64, 64), (32, 32), 0, 4),
    ((64, 64), (32, 32), 8, 9),
    ((96, 96), (60, 60), 0, 4),
    ((20, 33), (7, 10), 0, 12),
    ((20, 33), (7, 10), 3, 25),
    ((16, 48), (16, 16), 0, 3),
    ((5, 5), (5, 5), 0, 1),
    ((9, 9), (1, 1), 0, 81),
]


@pytest.mark.parametrize(("size", "patch", "overlap", "number"), CASES)
def test_a_grid_covers_the_plane_with_the_product_of_both_axes_counts(
    size: tuple[int, int], patch: tuple[int, int], overlap: int, number: int
) -> None:
    corners = patch_grid(size, patch, overlap)

    seen = torch.zeros(size)
    for row, column in corners.tolist():
        assert 0 <= row <= size[0] - patch[0]
        assert 0 <= column <= size[1] - patch[1]
        seen[row : row + patch[0], column : column + patch[1]] += 1
    assert len(corners) == number
    assert seen.min() >= 1
    for axis in (0, 1):
        starts = corners[:, axis].unique()
        assert (starts.diff() <= patch[axis] - overlap).all()
        assert not len(starts) > 2 or starts.diff().max() - starts.diff().min() <= 1


def test_any_patch_and_overlap_cover_any_length_with_as_few_patches_as_can_be() -> None:
    lengths = [(whole, side) for whole in range(1, 25) for side in range(1, whole + 1)]
    for (whole, side), overlap in product(lengths, range(24)):
        if overlap < side:
            starts = patch_grid((whole, side), (side, side), overlap)[:, 0].tolist()

            steps = [after - before for before, after in pairwise(starts)]
            assert (starts[0], starts[-1]) == (0, whole - side)
            assert all(0 < step <= side - overlap for step in steps)
            fewest = next(n for n in count(1) if n * side - (n - 1) * overlap >= whole)
            assert len(starts) == fewest


def test_a_mask_is_one_inside_its_patch() -> None:
    corners, like = torch.tensor([[0, 0], [2, 5], [3, 1]]), torch.zeros(7, 9, dtype=torch.float64)

    cover = patch_cover(corners, (3, 4), like)

    assert cover.shape == (3, 1, 7, 9)
    assert cover.dtype == torch.float64
    for index, y, x in product(range(3), range(7), range(9)):
        row, column = corners[index].tolist()
        inside = row <= y < row + 3 and column <= x < column + 4
        assert cover[index, 0, y, x] == float(inside)


@pytest.mark.parametrize("overlap", [0, 2])
def test_stitching_is_the_mean_over_the_patches_that_hold_a_pixel(overlap: int) -> None:
    size, patch = (11, 13), (4, 5)
    corners = patch_grid(size, patch, overlap)
    made = torch.rand(len(corners), 2, 3, *size)

    found = stitched(iter(made), corners, patch)

    for y, x in product(range(size[0]), range(size[1])):
        holds = [
            values[:, :, y, x]
            for values, (row, column) in zip(made, corners.tolist(), strict=True)
            if row <= y < row + patch[0] and column <= x < column + patch[1]
        ]
        torch.testing.assert_close(found[:, :, y, x], torch.stack(holds).mean(dim=0))


def test_random_patches_fall_everywhere_and_never_outside() -> None:
    generator = torch.Generator().manual_seed(0)

    corners = random_corners(2000, (6, 9), (4, 4), generator)

    assert corners[:, 0].unique().tolist() == [0, 1, 2]
    assert corners[:, 1].unique().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("patch", "overlap", "problem"),
    [
        ((9, 4), 0, "got 9 x 4 pixels, larger than the image of 8 x 8"),
        ((4, 9), 0, "larger than the image"),
        ((4, 4), 4, "overlap must be smaller than the patch"),
        ((4, 4), -1, "overlap must be smaller than the patch"),
        ((0, 4), 0, "got 0 x 4 and 0 pixels"),
    ],
)
def test_patches_that_cannot_tile_a_plane_are_refused(
    patch: tuple[int, int], overlap: int, problem: str
) -> None:
    check_patch((8, 8), (8, 8))
    with pytest.raises(ValueError, match=problem):
        patch_grid((8, 8), patch, overlap)
