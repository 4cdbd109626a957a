from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift

from napari_followup.comparison.change_map import change, change_mask
from napari_followup.series.stack import VisitStack

SHAPE = (12, 40, 40)
MASK = np.zeros(SHAPE, dtype=bool)
MASK[1:-1, 3:-3, 3:-3] = True
LESION = (slice(5, 8), slice(18, 23), slice(18, 23))
NOISE = 0.02


def anatomy() -> NDArray[np.float64]:
    """Smooth tissue between 0.5 and 1, dark around it."""
    texture = gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 3)
    texture = (texture - texture.min()) / np.ptp(texture)
    return np.where(MASK, 0.5 + 0.5 * texture, 0.0)


def noise(seed: int) -> NDArray[np.float64]:
    return NOISE * np.random.default_rng(seed).normal(size=SHAPE)


def pair(second: NDArray[np.float64] | None = None, **settings: object) -> VisitStack:
    """Two noisy visits, the second of other anatomy if one is given."""
    first = anatomy()
    images = [first + noise(1), (first if second is None else second) + noise(2)]
    return VisitStack.from_array(np.stack(images).astype(np.float32), **settings)  # type: ignore[arg-type]


def test_where_nothing_changed_the_values_are_noise_of_unit_spread() -> None:
    found = change(pair(), 0, 1, mask=MASK)

    assert found.dtype == np.float32
    assert found.shape == SHAPE
    assert found[MASK].std() == pytest.approx(1.0, abs=0.1)
    assert found[MASK].mean() == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_lesion_stands_out_with_its_sign(sign: int) -> None:
    changed = anatomy()
    changed[LESION] += sign * 0.2

    found = change(pair(changed), 0, 1, mask=MASK)

    assert (sign * found[LESION]).mean() > 5.0
    away = MASK.copy()
    away[2:11, 12:29, 12:29] = False
    assert np.abs(found[away]).mean() < 1.2


def test_swapping_the_visits_turns_the_sign() -> None:
    changed = anatomy()
    changed[LESION] += 0.2
    stack = pair(changed)

    forth, back = change(stack, 0, 1, mask=MASK), change(stack, 1, 0, mask=MASK)

    assert np.corrcoef(forth[MASK], -back[MASK])[0, 1] > 0.95


def test_gain_offset_and_shading_of_a_scanner_are_no_change() -> None:
    along = np.linspace(0.9, 1.1, SHAPE[2])
    other = (anatomy() * along * 300 + 20) * MASK
    stack = VisitStack.from_array(np.stack([anatomy() + noise(1), other + 300 * noise(2)]))

    found, unmatched = (change(stack, 0, 1, mask=MASK, shading=size) for size in (8.0, None))

    left, right = (MASK & (np.arange(40) < 10), MASK & (np.arange(40) > 30))
    assert abs(found[left].mean()) < 0.8
    assert abs(found[right].mean()) < 0.8
    assert abs(unmatched[right].mean() - unmatched[left].mean()) > 2.0


def test_a_lesion_stands_out_more_once_motion_is_taken_away() -> None:
    texture = gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 1.5)
    still = np.where(MASK, 0.2 + (texture - texture.min()) / np.ptp(texture), 0)
    moved = np.where(MASK, shift(still, (0, 0, 0.5), order=3), 0)
    moved[LESION] += 0.3
    stack = VisitStack.from_array(np.stack([still + noise(1), moved + noise(2)]))

    with_it, without = (change(stack, 0, 1, mask=MASK, motion=motion) for motion in (8.0, None))

    assert with_it[LESION].mean() > without[LESION].mean() > 2.0
    assert with_it[MASK].std() < without[MASK].std()


def test_outside_the_mask_nothing_is_scored_or_spreads_inwards() -> None:
    changed = anatomy()
    changed[LESION] += 0.2
    mask = MASK.copy()
    mask[:, 14:27, 14:27] = False

    found = change(pair(changed), 0, 1, mask=mask)

    assert not found[~mask].any()
    np.testing.assert_allclose(found, change(pair(), 0, 1, mask=mask), atol=0.5)


def test_lengths_are_in_the_unit_of_the_stack() -> None:
    stack = pair()
    double = VisitStack.from_array(stack.images[:, 0], spacing=(2.0, 2.0, 2.0))

    near = change(stack, 0, 1, mask=MASK, smoothing=1.5, shading=20.0, motion=8.0)
    far = change(double, 0, 1, mask=MASK, smoothing=3.0, shading=40.0, motion=16.0)

    np.testing.assert_allclose(near, far, atol=1e-2)


def test_planes_work_and_the_foreground_of_both_is_the_default() -> None:
    images = pair().images[:, 0, 6]
    stack = VisitStack.from_array(images)

    found = change(stack, 0, -1)

    mask = change_mask(stack, 0, 1)
    assert mask.shape == (1, 40, 40)
    np.testing.assert_array_equal(found, change(stack, 0, 1, mask=mask))
    assert found[mask].std() == pytest.approx(1.0, abs=0.2)


def test_images_without_any_noise_give_finite_values() -> None:
    image = anatomy()

    found = change(VisitStack.from_array(np.stack([image, image])), 0, 1, mask=MASK)

    assert np.abs(found).max() < 0.01


def test_what_cannot_be_compared_is_said() -> None:
    stack = pair()
    gappy = VisitStack.from_array(np.stack([stack.images[0, 0], stack.images[0, 0] * np.nan]))

    with pytest.raises(ValueError, match="no visit 2 among the 2 of 'subject'"):
        change(stack, 0, 2)
    with pytest.raises(ValueError, match="visit 1 of 'subject' is missing"):
        change(gappy, 0, 1)
    with pytest.raises(ValueError, match="mask: got shape"):
        change(stack, 0, 1, mask=MASK[0])
    with pytest.raises(ValueError, match="mask: it is empty"):
        change(stack, 0, 1, mask=np.zeros(SHAPE))
    with pytest.raises(ValueError, match="modality: got 1"):
        change(stack, 0, 1, modality=1)


def test_visits_that_show_nothing_in_common_are_said() -> None:
    images = np.zeros((2, 1, 8, 8))
    images[0, 0, :3, :3] = 1.0
    images[1, 0, 5:, 5:] = 1.0

    with pytest.raises(ValueError, match="nothing in the same place; align them first"):
        change(VisitStack.from_array(images), 0, 1)
