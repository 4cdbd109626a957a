from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from napari_followup.evaluation.curves import curves
from napari_followup.evaluation.patients import Pixels
from napari_followup.evaluation.statistics import dice

RNG = np.random.default_rng(5)


def patient(size: int = 40, shift: float = 1.0) -> Pixels:
    """Two visits, the second of which shows nothing."""
    inside, outside = RNG.normal(shift, 1, size), RNG.normal(0, 1, 400)
    nothing = inside[:0]
    return [(inside, outside), (nothing, RNG.normal(0, 1, 400))]


def test_the_best_of_all_thresholds_is_found() -> None:
    pixels = [patient(shift=2.0), patient(shift=3.0)]

    found = curves(["a", "b"], pixels).best_dice()

    visits = [visits[0] for visits in pixels]
    heights = np.concatenate([np.concatenate(visit) for visit in visits])
    tried = []
    for height in heights:
        masks = [np.concatenate(visit) >= height for visit in visits]
        truths = [np.repeat([True, False], [v[0].size, v[1].size]) for v in visits]
        tried.append(np.mean([dice(m, t) for m, t in zip(masks, truths, strict=True)]))
    assert np.mean([found[0][0], found[1][0]]) == pytest.approx(max(tried), abs=0.02)
    assert math.isnan(found[0][1])


def test_one_threshold_must_serve_all_patients() -> None:
    low = [(np.full(10, 1.0), np.zeros(90))]
    high = [(np.full(10, 3.0), np.full(90, 2.0))]

    alone = curves(["a"], [low]).best_dice()[0][0]
    first, second = curves(["a", "b"], [low, high]).best_dice()

    assert alone == 1.0
    assert min(first[0], second[0]) < 1.0


def test_area_of_the_patients_drawn_is_that_of_their_pixels_together() -> None:
    pixels = [patient(), patient(), patient()]
    counts = np.array([[1.0, 1.0, 1.0], [0.0, 2.0, 1.0]])

    found = curves(["a"] * 3, pixels).pixel_auprc(counts)

    for count, area in zip(counts.astype(int), found, strict=True):
        parts = [v for times, visits in zip(count, pixels, strict=True) for v in visits * times]
        inside, outside = (np.concatenate(part) for part in zip(*parts, strict=True))
        labels = np.repeat([1, 0], [inside.size, outside.size])
        expected = average_precision_score(labels, np.concatenate([inside, outside]))
        assert area == pytest.approx(expected, abs=0.01)


def test_without_sick_patients_there_is_nothing_to_know() -> None:
    empty = curves([], [])

    assert empty.best_dice() == []
    assert math.isnan(empty.pixel_auprc(np.ones((1, 0)))[0])
