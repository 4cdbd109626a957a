from __future__ import annotations

import numpy as np
import pytest

from napari_followup.series import intensity
from napari_followup.series.intensity import Scaling, fit_scaling
from napari_followup.series.stack import VisitStack


def test_scaling_is_the_line_through_two_points() -> None:
    scaling = Scaling(100.0, 300.0, (-1.0, 1.0))

    scaled = scaling.apply(np.array([0, 100, 200, 300, 400], dtype=np.uint16))

    assert scaled.dtype == np.float32
    assert scaled.tolist() == [-2.0, -1.0, 0.0, 1.0, 2.0]  # nothing is clipped
    assert scaling.invert(scaled).tolist() == [0.0, 100.0, 200.0, 300.0, 400.0]


def test_scaling_keeps_nan() -> None:
    assert np.isnan(Scaling(0.0, 2.0).apply([np.nan, 1.0])).tolist() == [True, False]


def test_small_contrast_on_a_large_offset_survives_in_doubles() -> None:
    images = 1e9 + np.linspace(0, 1, 5)

    scaled = fit_scaling(images, percentiles=(0, 100)).apply(images)

    np.testing.assert_allclose(scaled, np.linspace(0, 1, 5), atol=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "target"),
    [(1.0, 1.0, (0.0, 1.0)), (0.0, 1.0, (1.0, 0.0)), (0.0, np.nan, (0, 1))],
)
def test_scaling_refuses_what_is_no_rising_line(
    low: float, high: float, target: tuple[float, float]
) -> None:
    with pytest.raises(ValueError, match="low < high"):
        Scaling(low, high, target)


def test_fit_takes_the_percentiles_to_the_ends_of_the_range() -> None:
    images = np.arange(1001.0)  # percentile p of 0..1000 is 10 p

    scaling = fit_scaling(images, range=(-1.0, 1.0), percentiles=(1.0, 90.0))

    assert scaling == Scaling(10.0, 900.0, (-1.0, 1.0))


@pytest.mark.parametrize("body", [1.0, 255.0, 0.7, 1234.5])
def test_plateau_of_a_silhouette_becomes_exactly_one(body: float) -> None:
    images = np.zeros((3, 16, 16), dtype=np.float32)
    images[:, 4:10, 4:10] = body

    scaled = fit_scaling(VisitStack.from_array(images)).apply(images)

    assert np.unique(scaled).tolist() == [0.0, 1.0]


def test_only_observed_visits_of_the_modality_count() -> None:
    images = np.zeros((3, 2, 1, 4, 4))
    images[:, 1] = np.linspace(0, 10, 16).reshape(4, 4)
    images[1, 1] = 999.0
    images[2] = np.nan
    stack = VisitStack.from_array(images, is_observed=[True, False, True])

    scaling = fit_scaling(stack, percentiles=(0, 100), modality=1)

    assert (scaling.low, scaling.high) == (0.0, 10.0)


def test_few_bright_pixels_still_give_a_scale() -> None:
    images = np.zeros(10_000)
    images[:3] = 50.0

    assert fit_scaling(images) == Scaling(0.0, 50.0)


@pytest.mark.parametrize("level", [0.0, -3.0, 7.0, 1e9])
def test_constant_image_goes_to_the_start_of_the_range(level: float) -> None:
    images = np.full((2, 4, 4), level, dtype=np.float32)

    scaled = fit_scaling(images, range=(-1.0, 1.0)).apply(images)

    assert np.unique(scaled).tolist() == [-1.0]


def test_boolean_and_8_bit_images_are_scaled_without_overflow() -> None:
    flags = np.array([True, False] * 8)
    bytes_ = np.array([10, 250], dtype=np.uint8)

    assert fit_scaling(flags).apply(flags).tolist() == [1.0, 0.0] * 8
    assert fit_scaling(bytes_, percentiles=(0, 100)).apply(bytes_).tolist() == [0.0, 1.0]


def test_nothing_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="no value is finite"):
        fit_scaling(np.full(4, np.nan))


def test_large_series_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = VisitStack.from_array(np.tile(np.arange(100.0), (2, 100, 1)))

    monkeypatch.setattr(intensity, "SAMPLE", 3000)
    scaling = fit_scaling(stack, percentiles=(10, 90))

    assert (scaling.low, scaling.high) == pytest.approx((9.9, 89.1), abs=2)
