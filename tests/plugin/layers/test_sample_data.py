from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Layer

from napari_followup.plugin.layers import sample_data
from napari_followup.plugin.layers.layers import source_of
from napari_followup.synthetic import ANOMALIES


def test_the_healthy_series_has_ten_visits_of_known_age() -> None:
    (layer,) = sample_data.healthy_series()

    assert layer[0].shape == (10, 64, 64)
    ages = np.array(layer[1]["metadata"]["followup"]["ages"])
    assert (np.diff(ages) > 0).all()
    assert np.abs(ages).max() < 13  # those the embedded model knows


@pytest.mark.parametrize("kind", ANOMALIES)
def test_every_anomaly_comes_with_its_truth(kind: str) -> None:
    image, truth = getattr(sample_data, kind)()
    (healthy,) = sample_data.healthy_series()

    changed = np.abs(image[0] - healthy[0]) > 1 / 255
    assert truth[2] == "labels"
    np.testing.assert_array_equal(changed, truth[0] > 0)


def test_missing_visits_are_nan_and_said_so() -> None:
    image, truth = sample_data.missing_visits()
    about = image[1]["metadata"]["followup"]

    missing = np.isnan(image[0]).all(axis=(1, 2))
    assert missing.sum() == 2
    np.testing.assert_array_equal(about["is_observed"], ~missing)
    assert not truth[0][missing].any()


def test_the_cohort_says_that_it_is_one() -> None:
    (data,) = sample_data.cohort()
    source = source_of(Layer.create(*data))

    assert (source.axes, source.n_subjects) == ("svyx", 6)
    assert source.ages.shape == (6, 10)


def test_samples_are_the_same_every_time() -> None:
    first, second = sample_data.cohort()[0][0], sample_data.cohort()[0][0]

    np.testing.assert_array_equal(first, second)


def test_the_phantom_is_a_head_of_known_age_in_mm() -> None:
    (layer,) = sample_data.phantom_healthy()

    assert layer[0].shape == (10, 64, 64)
    assert layer[1]["scale"] == pytest.approx((1.0, 3.125, 3.125))
    assert min(layer[1]["metadata"]["followup"]["ages"]) >= 55


def test_the_lesion_of_the_phantom_grows_and_comes_with_its_truth() -> None:
    image, truth = sample_data.phantom_lesion()
    (healthy,) = sample_data.phantom_healthy()

    sizes = truth[0].sum(axis=(1, 2))
    inside = truth[0] > 0
    assert sizes[-1] > 1.5 * sizes[0] > 0
    assert (image[0][inside] > healthy[0][inside]).all()
    np.testing.assert_allclose(image[0][~inside], healthy[0][~inside], atol=0.06)
