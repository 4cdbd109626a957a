from __future__ import annotations

import numpy as np
import pytest

from napari_followup.series.grid import apart, background, resampled, spacing_of


def test_the_same_grid_gives_the_same_image() -> None:
    image = np.random.default_rng(0).random((3, 4, 5), dtype=np.float32)

    for interpolation in ("nearest", "linear"):
        same, inside = resampled(image, np.eye(4), image.shape, interpolation=interpolation)
        np.testing.assert_array_equal(same, image)
        assert inside.all()


def test_a_whole_voxel_of_shift_moves_values_and_fills_the_rest() -> None:
    image = np.arange(4, dtype=np.float32)[None, None]
    shift = np.eye(4)
    shift[2, 3] = 1.0  # new voxel x shows old voxel x + 1

    moved, inside = resampled(image, shift, (1, 1, 4), fill=-7.0)

    assert moved[0, 0].tolist() == [1.0, 2.0, 3.0, -7.0]
    assert inside[0, 0].tolist() == [True, True, True, False]


def test_half_a_voxel_beyond_the_last_centre_still_belongs_to_the_image() -> None:
    image = np.array([[[1.0, 2.0]]])
    shift = np.eye(4)
    shift[2, 3] = 0.5

    moved, inside = resampled(image, shift, (1, 1, 2))

    assert moved[0, 0].tolist() == [1.5, 2.0]
    assert inside.all()


def test_larger_voxels_show_means_and_not_samples() -> None:
    image = np.tile([0.0, 1.0], 32)[None, None]  # stripes one voxel wide
    half = np.diag([1.0, 1.0, 4.0, 1.0])

    coarse, _ = resampled(image, half, (1, 1, 16))
    picked, _ = resampled(image, half, (1, 1, 16), interpolation="nearest")

    np.testing.assert_allclose(coarse[0, 0, 2:-2], 0.5, atol=0.05)
    assert set(picked.ravel().tolist()) == {0.0}


def test_unknown_interpolation_is_refused() -> None:
    with pytest.raises(ValueError, match="interpolation: got 'sinc'; give one of nearest"):
        resampled(np.zeros((1, 2, 2)), np.eye(4), (1, 2, 2), interpolation="sinc")


def test_background_is_the_dark_end() -> None:
    assert background(np.arange(101.0)) == 1.0


def test_spacing_is_the_length_of_the_columns() -> None:
    affine = np.array([[0, 0, -0.7, 5], [0, 0.8, 0, 6], [3.0, 0, 0, 7], [0, 0, 0, 1]])

    assert spacing_of(affine) == pytest.approx((3.0, 0.8, 0.7))


def test_grids_lie_as_far_apart_as_their_furthest_corners_in_voxels() -> None:
    affine = np.array([[0, 0, 2, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    moved, wider = affine.copy(), affine.copy()
    moved[0, 3] = 3.0
    wider[0, 2] = 4.0  # voxels of 4 mm, not 2: the last of four voxels lies 6 mm further

    assert apart(affine, affine, (2, 3, 4)) == 0
    assert apart(moved, affine, (2, 3, 4)) == pytest.approx(1.5)
    assert apart(wider, affine, (2, 3, 4)) == pytest.approx(3.0)
