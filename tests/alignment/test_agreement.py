from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_followup.alignment.agreement import agreement, correlation

SPACING = (3.0, 1.0, 1.0)


def head(shift: float = 0.0, *, seed: int = 0) -> NDArray[np.float32]:
    """Draw an ellipsoid with a part in it, `shift` mm along x."""
    z, y, x = (axis * size for axis, size in zip(np.indices((16, 48, 56)), SPACING, strict=True))
    whole = ((z - 24) / 18) ** 2 + ((y - 24) / 17) ** 2 + ((x - shift - 27) / 19) ** 2 < 1
    part = ((z - 24) / 10) ** 2 + ((y - 20) / 6) ** 2 + ((x - shift - 20) / 7) ** 2 < 1
    noise = np.random.default_rng(seed).normal(size=whole.shape)
    return (100.0 * whole + 60.0 * part + 2.0 * noise).astype(np.float32)


def test_images_in_the_same_place_agree_and_want_no_shift() -> None:
    found = agreement(head(), 3.0 * head(seed=1), SPACING)

    assert found.correlation > 0.99
    assert found.shift == 0.0
    assert found.shifted == found.correlation == correlation(head(), 3.0 * head(seed=1), SPACING)


def test_a_shift_is_measured_in_the_unit_of_the_spacing() -> None:
    found = agreement(head(), head(5.0, seed=1), SPACING)

    assert found.shift == pytest.approx(5.0, abs=0.5)
    assert found.correlation < 0.95 < found.shifted


def test_an_image_that_is_the_same_value_all_over_agrees_with_nothing() -> None:
    flat = np.ones((1, 20, 20))

    assert agreement(flat, head()[:1, :20, :20], SPACING).correlation == 0.0


def test_inverted_images_correlate_negatively() -> None:
    assert correlation(head(), -head(), SPACING) == pytest.approx(-1.0, abs=1e-3)
