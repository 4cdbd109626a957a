from __future__ import annotations

import math

import numpy as np
import pytest

from napari_followup.evaluation.statistics import (
    areas,
    dice,
    dice_by_visit,
    mean_of_kinds,
)


def test_dice_is_twice_the_shared_pixels_over_all() -> None:
    mask, truth = np.zeros((2, 8), bool)
    mask[:4], truth[2:8] = True, True

    assert dice(mask, truth) == pytest.approx(2 * 2 / (4 + 6))


def test_two_empty_masks_agree() -> None:
    assert dice(np.zeros(4, bool), np.zeros(4, bool)) == 1.0


def test_a_visit_without_anomaly_has_no_dice() -> None:
    truth = np.zeros((2, 1, 2, 2), bool)
    truth[1, 0, 0] = True

    found = dice_by_visit(np.ones_like(truth), truth)

    assert math.isnan(found[0])
    assert found[1] == pytest.approx(2 * 2 / (4 + 2))


def test_areas_count_pairs_in_the_right_order() -> None:
    roc, precision = areas(np.array([0.4, 0.8]), np.array([0.1, 0.5, 0.2]))

    assert roc == pytest.approx(5 / 6)  # of six pairs only 0.4 against 0.5 is wrong
    assert precision == pytest.approx((1 / 1 + 2 / 3) / 2)


def test_areas_of_one_group_are_no_numbers() -> None:
    assert all(math.isnan(area) for area in areas(np.array([1.0]), np.array([])))


def test_kinds_count_alike_however_many_visits_they_have() -> None:
    table = {"many": [np.array([0.0, 0.0, np.nan]), np.array([0.0])], "few": [np.array([1.0])]}

    assert mean_of_kinds(table) == 0.5


def test_the_mean_of_no_kind_is_no_number() -> None:
    assert math.isnan(mean_of_kinds({}))
