from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_followup.alignment.brain_mask import brain, foreground, mask_of
from napari_followup.series.stack import VisitStack


def ball(radius: float, size: int = 40) -> NDArray[np.bool_]:
    return np.linalg.norm(np.indices((size,) * 3) - (size - 1) / 2, axis=0) <= radius


def test_foreground_is_the_largest_bright_part_without_its_holes() -> None:
    image = np.zeros((1, 16, 16))
    image[0, 2:10, 2:10] = 1.0
    image[0, 5:7, 5:7] = 0.0  # a hole
    image[0, 14, 14] = 1.0  # a speck
    wanted = np.zeros((1, 16, 16), dtype=bool)
    wanted[0, 2:10, 2:10] = True

    np.testing.assert_array_equal(foreground(image), wanted)


def test_a_constant_image_has_no_foreground_and_no_brain() -> None:
    image = np.ones((2, 8, 8))

    assert not foreground(image).any()
    assert not brain(image, (1.0, 1.0, 1.0)).any()


def test_brain_is_cut_from_the_scalp_around_it() -> None:
    brain_itself, scalp = ball(11), ball(17) & ~ball(15)
    image = np.where(ball(17), 0.2, 0.0) + 0.8 * (brain_itself | scalp)
    image[20:22, 20:22, 28:38] = 1.0  # a bridge between them

    found = brain(image, (1.0, 1.0, 1.0), opening=3.0)

    overlap = 2 * (found & brain_itself).sum() / (found.sum() + brain_itself.sum())
    assert overlap > 0.95
    assert not (found & scalp).any()


def test_a_mask_counts_for_all_visits_or_for_each() -> None:
    stack = VisitStack.from_array(np.ones((2, 1, 3, 4)))
    one = np.zeros((1, 3, 4))
    one[0, 1, 2] = 5

    assert mask_of(one, stack).shape == (2, 1, 3, 4)
    assert mask_of(np.stack([one, 0 * one]), stack).sum() == 1
    with pytest.raises(ValueError, match=r"mask: got shape \(3, 4\) for images of \(1, 3, 4\)"):
        mask_of(one[0], stack)
