from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from napari_followup.evaluation.statistics import (
    areas,
    auroc_of_draws,
    average_precision,
    bootstrap_interval,
    dice,
    dice_by_visit,
    drawn,
    interval,
    kind_means,
    mean_of_kinds,
    means_of_draws,
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


KINDS = ["a", "a", "a", "b", "b"]


def test_as_many_patients_of_each_kind_are_drawn_as_there_are() -> None:
    counts = drawn(KINDS, draws=50)

    assert counts.shape == (51, 5)
    assert (counts[0] == 1).all()
    assert (counts[:, :3].sum(axis=1) == 3).all()
    assert (counts[:, 3:].sum(axis=1) == 2).all()
    assert counts.max() > 1


def test_the_same_kinds_and_seed_give_the_same_draws() -> None:
    np.testing.assert_array_equal(drawn(KINDS, seed=3), drawn(KINDS, seed=3))
    assert (drawn(KINDS, seed=3) != drawn(KINDS, seed=4)).any()


def test_means_weigh_every_value_and_leave_out_nan() -> None:
    counts = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 0.0]])

    found = means_of_draws([(1.0, 3.0, math.nan), (5.0,)], counts)

    assert found[:2] == pytest.approx([3.0, 2.0])
    assert math.isnan(found[2])


def test_kinds_count_alike_whatever_the_number_of_their_patients() -> None:
    found = kind_means(KINDS, [(1.0,), (1.0,), (1.0,), (0.0,), (0.5,)], np.ones((1, 5)))

    assert {kind: means[0] for kind, means in found.items()} == {"a": 1.0, "b": 0.25, "mean": 0.625}


def test_interval_holds_95_per_cent_of_the_draws_and_not_the_first_value() -> None:
    values = np.concatenate([[1e6], np.arange(1001.0)])

    assert interval(values) == pytest.approx((25.0, 975.0))
    assert all(math.isnan(end) for end in interval(np.array([1.0, math.nan])))


def test_area_under_the_roc_curve_is_that_of_the_patients_drawn() -> None:
    rng = np.random.default_rng(0)
    sick = [tuple(rng.integers(0, 9, 4) / 4.0) if n < 3 else () for n in range(6)]
    healthy = [() if n < 3 else tuple(rng.integers(0, 6, 3) / 4.0) for n in range(6)]
    counts = np.array([[1, 1, 1, 1, 1, 1], [2, 0, 1, 0, 3, 0]], float)

    found = auroc_of_draws(sick, healthy, counts)

    for count, area in zip(counts.astype(int), found, strict=True):
        ill = [s for times, scores in zip(count, sick, strict=True) for s in scores * times]
        well = [s for times, scores in zip(count, healthy, strict=True) for s in scores * times]
        labels = [1] * len(ill) + [0] * len(well)
        assert area == pytest.approx(roc_auc_score(labels, ill + well))


def test_area_is_unknown_without_a_group() -> None:
    assert math.isnan(auroc_of_draws([(1.0,)], [()], np.ones((1, 1)))[0])


def test_average_precision_from_counts_is_that_of_the_scores() -> None:
    rng = np.random.default_rng(1)
    inside, outside = rng.integers(2, 9, 30), rng.integers(0, 7, 80)
    thresholds = np.arange(8, -1, -1)
    above = [[(each >= t).sum() for t in thresholds] for each in (inside, outside)]

    (found,) = average_precision(*(np.array([counts], float) for counts in above))

    labels = np.repeat([1, 0], [30, 80])
    scores = np.concatenate([inside, outside])
    assert found == pytest.approx(average_precision_score(labels, scores))


def test_interval_holds_the_mean_and_shrinks_to_it_when_patients_are_alike() -> None:
    rng = np.random.default_rng(0)
    table = {"kind": [rng.uniform(0.4, 0.8, 10) for _ in range(20)]}
    low, high = bootstrap_interval(table)

    assert low < mean_of_kinds(table) < high
    alike = bootstrap_interval({"kind": [np.array([0.5, np.nan])] * 5})
    assert alike == pytest.approx((0.5, 0.5))


def test_interval_is_that_of_the_normal_law_for_many_patients() -> None:
    rng = np.random.default_rng(1)
    patients = rng.normal(0.5, 0.1, 400)
    low, high = bootstrap_interval({"kind": [np.array([p]) for p in patients]}, draws=4000)

    expected = 2 * 1.96 * patients.std() / math.sqrt(400)
    assert high - low == pytest.approx(expected, rel=0.05)


def test_no_patient_no_interval() -> None:
    assert all(math.isnan(end) for end in bootstrap_interval({}))


def test_interval_is_that_of_patients_drawn_one_by_one() -> None:
    rng = np.random.default_rng(2)
    table = {
        kind: [rng.uniform(size=3) for _ in range(count)] for kind, count in [("a", 4), ("b", 2)]
    }

    draw = np.random.default_rng(0)
    means = []
    for patients in table.values():
        chosen = draw.integers(len(patients), size=(1000, len(patients)))
        means.append([np.mean([patients[place] for place in places]) for places in chosen])
    expected = np.quantile(np.mean(means, axis=0), [0.025, 0.975])
    assert bootstrap_interval(table) == pytest.approx(tuple(expected), rel=1e-12)


def test_further_kinds_leave_the_draws_of_those_before_as_they_are() -> None:
    np.testing.assert_array_equal(drawn([*KINDS, "c", "c"])[:, :5], drawn(KINDS))
