from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_followup.alignment.resample import cropped, regridded
from napari_followup.series.stack import VisitStack

TILTED = np.array(
    [[0.0, -0.6, 1.6, 7.0], [0.0, 1.6, 0.6, -3.0], [3.0, 0.0, 0.0, 5.0], [0.0, 0.0, 0.0, 1.0]]
)


def series(gap: bool = False) -> VisitStack:
    """A box in an empty field of view; if asked for, a missing visit after it."""
    images = np.zeros((1 + gap, 10, 20, 24))
    images[0, 4:6, 8:12, 9:15] = 5.0
    images[1:] = np.nan
    return VisitStack.from_array(images, affine=TILTED)


def centre_of_mass(stack: VisitStack) -> NDArray[np.float64]:
    """Of the first visit, in the world."""
    image = stack.images[0, 0]
    places = np.argwhere(image > 0)
    weights = image[image > 0]
    middle = (places * weights[:, None]).sum(axis=0) / weights.sum()
    return stack.affine[:3, :3] @ middle + stack.affine[:3, 3]


def test_a_crop_keeps_the_subject_a_margin_and_its_place_in_the_world() -> None:
    stack = series(gap=True)
    z, y, _ = stack.spacing

    small = cropped(stack, margin=3.0)

    assert (z, y) == pytest.approx((3.0, np.hypot(1.6, 0.6)))
    assert small.shape == (2, 1, 4, 8, 10)  # 1, 2 and 2 voxels more on each side
    np.testing.assert_allclose(centre_of_mass(small), centre_of_mass(stack))
    assert small.is_missing.tolist() == [False, True]
    step = small.provenance["steps"][-1]
    assert step == {"step": "cropped", "start": [3, 6, 7], "stop": [7, 14, 17], "margin": 3.0}


def test_a_crop_ends_at_the_field_of_view_and_may_follow_a_mask() -> None:
    stack = series()
    mask = np.zeros(stack.shape[2:])
    mask[0, 0, 0] = 1

    assert cropped(stack, mask=mask, margin=1.0).shape == (1, 1, 2, 2, 2)
    assert cropped(stack, margin=1000.0).shape == stack.shape
    with pytest.raises(ValueError, match="nothing of 'subject' is in the mask"):
        cropped(stack, mask=0 * mask)


def test_other_voxels_keep_the_field_of_view_and_the_place_in_the_world() -> None:
    stack = series(gap=True)

    even = regridded(stack, spacing=1.5)

    assert even.spacing == pytest.approx((1.5, 1.5, 1.5))
    assert even.shape[2:] == (20, 23, 28)  # 30, 34.2 and 41 mm
    np.testing.assert_allclose(centre_of_mass(even), centre_of_mass(stack), atol=0.3)
    assert even.is_missing.tolist() == [False, True]
    assert even.images.dtype == np.float32
    assert even.provenance["steps"][-1]["step"] == "regridded"


def test_there_and_back_gives_a_smooth_series_back() -> None:
    z, y, x = np.indices((6, 16, 16))
    smooth = VisitStack.from_array((z + 2 * y - x)[None].astype(float), spacing=(2.0, 1.0, 1.0))

    back = regridded(regridded(smooth, spacing=(1.0, 1.0, 1.0)), like=smooth)

    inner = np.s_[0, 0, 1:-1, 1:-1, 1:-1]
    np.testing.assert_allclose(back.images[inner], smooth.images[inner], atol=0.3)
    np.testing.assert_array_equal(back.affine, smooth.affine)


def test_beyond_the_field_of_view_lies_background() -> None:
    stack = series()
    wide = replace(stack, images=np.zeros((1, 1, 14, 20, 24)))

    found = regridded(stack, like=wide)

    assert found.shape == wide.shape
    assert not found.images[0, 0, 10:].any()
    assert found.provenance["steps"][-1]["outside"] == pytest.approx(4 / 14)


def test_planes_stay_planes() -> None:
    plane = VisitStack.from_array(np.random.default_rng(0).random((2, 10, 12)))

    assert regridded(plane, spacing=2.0).shape == (2, 1, 1, 5, 6)


def test_what_is_no_grid_is_refused() -> None:
    stack = series()
    away = stack.affine.copy()
    away[:3, 3] += 1000

    with pytest.raises(ValueError, match="give either spacing, or like"):
        regridded(stack)
    with pytest.raises(ValueError, match=r"spacing: got 0.0; give sizes above 0"):
        regridded(stack, spacing=0.0)
    with pytest.raises(ValueError, match="lies completely outside 'subject'"):
        regridded(stack, like=replace(stack, affine=away))
