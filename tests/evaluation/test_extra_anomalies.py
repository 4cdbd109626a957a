from __future__ import annotations

import numpy as np
import pytest

from napari_followup.evaluation.extra_anomalies import EXTRA_ANOMALIES, add_extra_anomaly
from napari_followup.series.stack import VisitStack
from napari_followup.synthetic import starmen

(HEALTHY,) = starmen(1, seed=3)


@pytest.mark.parametrize("kind", EXTRA_ANOMALIES)
def test_truth_is_what_changed_visibly_and_the_original_stays(kind: str) -> None:
    before = HEALTHY.images.copy()

    sick, truth = add_extra_anomaly(HEALTHY, kind, seed=1)

    np.testing.assert_array_equal(HEALTHY.images, before)
    change = np.abs(sick.images[:, 0].astype(float) - before[:, 0])
    assert truth.any()
    assert (change[truth] > 0.99 / 255).all()
    assert (change[~truth] < 1.01 / 255).all()


def test_faint_disc_is_a_quarter_darker_and_stays_in_its_place() -> None:
    sick, truth = add_extra_anomaly(HEALTHY, "faint_disc", seed=1)

    assert (truth == truth[0]).all()
    assert 20 <= truth[0].sum() <= 29
    np.testing.assert_allclose(
        sick.images[:, 0][truth], 0.75 * HEALTHY.images[:, 0][truth], rtol=1e-5
    )


def test_limb_is_erased_from_the_third_visit_on_and_ever_more_of_it() -> None:
    sick, truth = add_extra_anomaly(HEALTHY, "erased_limb")

    sizes = truth.sum(axis=(1, 2, 3))
    assert (sizes[:2] == 0).all()
    assert (np.diff(sizes[2:]) > 0).all()
    assert sick.images[:, 0][truth].max() < 0.01


def test_square_lies_where_no_visit_has_body() -> None:
    sick, truth = add_extra_anomaly(HEALTHY, "background_square", seed=2)

    assert truth.sum(axis=(1, 2, 3)).tolist() == [25] * 10
    assert HEALTHY.images[:, 0][truth].max() < 0.05
    np.testing.assert_allclose(sick.images[:, 0][truth], 0.8, atol=1e-3)


def test_blur_is_local_and_keeps_the_mean_nearly() -> None:
    sick, truth = add_extra_anomaly(HEALTHY, "local_blur", seed=2)

    assert 0 < truth[0].sum() <= 81
    assert abs(sick.images.mean() - HEALTHY.images.mean()) < 5e-3


@pytest.mark.parametrize("kind", EXTRA_ANOMALIES)
def test_integers_and_missing_visits_stay_what_they_are(kind: str) -> None:
    counts = np.round(1000 * HEALTHY.images[:, 0, 0]).astype(np.int16)
    sick, _ = add_extra_anomaly(VisitStack.from_array(counts), kind)
    assert sick.images.dtype == np.int16

    gaps = HEALTHY.images[:, 0, 0].copy()
    gaps[4] = np.nan
    sick, truth = add_extra_anomaly(VisitStack.from_array(gaps), kind)
    assert not sick.is_observed[4]
    assert not truth[4].any()


def test_blank_images_are_no_obstacle() -> None:
    stack = VisitStack.from_array(np.zeros((3, 16, 16), np.float32))

    for kind in EXTRA_ANOMALIES:
        _, truth = add_extra_anomaly(stack, kind)
        assert truth.shape == (3, 1, 16, 16)


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'hole'; choose one of transient_circle, faint_disc"):
        add_extra_anomaly(HEALTHY, "hole")
