from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from napari_followup.series.stack import VisitStack
from napari_followup.synthetic import phantoms


@pytest.fixture(scope="module")
def heads() -> list[VisitStack]:
    return phantoms(6, visits=8, seed=3, noise=0.0)


def planes(stack: VisitStack) -> np.ndarray:
    """Images (visit, y, x) of a planar series."""
    return np.asarray(stack.images)[:, 0, 0]


def fluid(stack: VisitStack) -> np.ndarray:
    """Area of dark fluid in the middle of the head, (visit,), in pixels."""
    return np.clip((0.7 - planes(stack)[:, 18:46, 22:42]) / 0.56, 0, 1).sum(axis=(1, 2))


def test_stacks_are_named_planar_series_in_mm() -> None:
    stacks = phantoms(2, visits=4, seed=1)

    assert [stack.subject for stack in stacks] == ["phantom-0000", "phantom-0001"]
    assert stacks[0].shape == (4, 1, 1, 64, 64)
    assert stacks[0].images.dtype == np.float32
    assert stacks[0].spacing == pytest.approx((5.0, 3.125, 3.125))
    assert stacks[0].unit == "mm"
    assert stacks[0].ages_known


def test_ages_are_those_of_adults_about_a_year_apart() -> None:
    ages = np.array([stack.ages for stack in phantoms(40, visits=5, size=(16, 16))])

    gaps = np.diff(ages)
    assert ages[:, 0].min() >= 55
    assert ages[:, 0].max() <= 75
    assert gaps.mean() == pytest.approx(1.0, abs=0.1)
    assert gaps.std() > 0.2  # irregular
    assert gaps.min() > 0.45


def test_seed_decides_and_a_larger_cohort_begins_with_the_smaller() -> None:
    first, again, other = (phantoms(1, visits=2, seed=seed)[0] for seed in (0, 0, 1))
    of_three = phantoms(3, visits=2, seed=0)[0]

    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.images, of_three.images)
    assert np.abs(first.images - other.images).max() > 0.3


def test_ventricles_widen_at_each_subjects_own_pace(heads: list[VisitStack]) -> None:
    growth = [np.polyfit(stack.ages, fluid(stack), 1)[0] for stack in heads]

    assert min(growth) > 0
    assert max(growth) > 1.5 * min(growth)


def test_nothing_but_the_ventricles_changes_between_visits(heads: list[VisitStack]) -> None:
    for stack in heads:
        ratio = planes(stack)[-1] / np.maximum(planes(stack)[0], 1e-6)
        shell = planes(stack)[0] > 0.3
        shell[16:50, 16:48] = False  # the middle, where the ventricles are
        middle = np.abs(planes(stack)[-1] - planes(stack)[0])[18:46, 22:42]

        assert np.abs(np.gradient(ratio)[0][shell]).mean() < 0.01  # a smooth field, no shape
        assert middle.max() > 0.15


def test_white_matter_grey_matter_and_fluid_differ(heads: list[VisitStack]) -> None:
    stack = heads[0]
    image = planes(stack)[0]

    assert image[0].max() < 0.01  # air
    assert np.median(image[24:40, 12:52]) > 0.6
    assert 0.05 < np.mean((image > 0.35) & (image < 0.65)) < 0.35  # the cortex
    assert fluid(stack)[0] > 20


def test_folds_are_a_subjects_own(heads: list[VisitStack]) -> None:
    first, last, other = planes(heads[0])[0], planes(heads[0])[-1], planes(heads[1])[0]

    assert np.corrcoef(first.ravel(), last.ravel())[0, 1] > 0.98
    assert np.corrcoef(first.ravel(), other.ravel())[0, 1] < 0.95


def test_noise_stays_in_range_and_is_that_of_a_magnitude() -> None:
    (clean,), (noisy,) = (phantoms(1, visits=4, seed=2, noise=noise) for noise in (0.0, 0.05))

    assert noisy.images.min() >= 0
    assert noisy.images.max() <= 1
    air, tissue = planes(clean) < 1e-3, (planes(clean) > 0.4) & (planes(clean) < 0.7)
    assert planes(noisy)[air].mean() == pytest.approx(0.05 * np.sqrt(np.pi / 2), rel=0.05)
    assert (planes(noisy) - planes(clean))[tissue].std() == pytest.approx(0.05, rel=0.1)


def test_volumes_show_the_head_from_below_to_above() -> None:
    (stack,) = phantoms(1, visits=2, size=(48, 40), depth=6)

    image = np.asarray(stack.images)[0, 0]
    head = (image > 0.3).sum(axis=(1, 2))
    assert stack.shape == (2, 1, 6, 48, 40)
    assert stack.spacing == pytest.approx((16.0, 4.25, 4.25))
    assert head[2:4].min() > head[[0, 5]].max()
    assert np.corrcoef(image[2].ravel(), image[3].ravel())[0, 1] < 0.99


def test_a_larger_image_shows_the_same_head_in_finer_pixels() -> None:
    (stack,) = phantoms(1, visits=1, size=(128, 96))

    assert stack.spacing[1:] == pytest.approx((170 / 96, 170 / 96))
    assert (np.asarray(stack.images)[0, 0, 0, :, [0, -1]] < 0.2).all()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"subjects": 0}, "subjects: got 0; phantoms need 1 or more"),
        ({"visits": 0}, "visits: got 0; phantoms need 1 or more"),
        ({"depth": 0}, "depth: got 0; phantoms need 1 or more"),
        ({"size": (8, 64)}, "rows of size: got 8; phantoms need 16 or more"),
        ({"size": (64, 0)}, "columns of size: got 0"),
        ({"noise": -1.0}, "0 or more, got -1"),
        ({"noise": float("nan")}, "0 or more, got nan"),
    ],
)
def test_unfit_settings_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        phantoms(**settings)


def test_an_image_takes_less_than_five_milliseconds() -> None:
    start = time.process_time()
    phantoms(10, visits=10)

    assert time.process_time() - start < 0.5
