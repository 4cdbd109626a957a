from __future__ import annotations

import re

import numpy as np
import pytest

from napari_followup.prediction.gaps import (
    STRATEGIES,
    check_new_ages,
    coming_ages,
    missing_ages,
    typical_interval,
)
from napari_followup.series.stack import VisitStack


def series(*ages: float, missing: tuple[int, ...] = (), **settings: object) -> VisitStack:
    images = np.random.default_rng(0).random((len(ages), 4, 4))
    images[list(missing)] = np.nan
    return VisitStack.from_array(images, ages=ages, subject="ann", **settings)


def test_the_typical_interval_is_the_median_of_neighbours() -> None:
    assert typical_interval(series(60, 61, 62.5, 70)) == 1.5
    assert typical_interval(series(60, 61, 62.5, 70, missing=(1,))) == 1.5
    assert typical_interval(series(60, 60, 62)) == 2.0  # two scans of one day are no interval
    assert typical_interval(series(60)) == 1.0


def test_missing_visits_are_those_listed_and_those_a_long_interval_suggests() -> None:
    assert missing_ages(series(60, 61, 62)).tolist() == []
    assert missing_ages(series(60, 61, 62, missing=(1,))).tolist() == [61.0]
    assert missing_ages(series(60, 61, 64, 65)).tolist() == [62.0, 63.0]
    assert missing_ages(series(60, 61, 62, 63, 66, missing=(1,))).tolist() == [61.0, 64.0, 65.0]


def test_an_interval_is_divided_evenly_from_the_chosen_length_on() -> None:
    stack = series(60, 61, 62, 63.5)

    assert missing_ages(stack).tolist() == [62.75]
    assert missing_ages(stack, long=1.6).tolist() == []
    assert missing_ages(series(60, 61, 62, 63.4), long=1.2).tolist() == []  # nearer 1 than 2


def test_imputed_visits_are_not_missing() -> None:
    stack = series(60, 61, 62, is_observed=[True, False, True])

    assert missing_ages(stack).tolist() == []


def test_coming_ages_go_on_at_the_series_own_pace() -> None:
    stack = series(60, 62, 64)

    assert coming_ages(stack).tolist() == [66.0, 68.0, 70.0]
    assert coming_ages(stack, 2, 0.5).tolist() == [64.5, 65.0]
    assert coming_ages(series(60), 1).tolist() == [61.0]
    # the last visit that was seen, not the last one listed
    assert coming_ages(series(60, 62, 64, missing=(2,)), 1).tolist() == [64.0]


@pytest.mark.parametrize(
    ("visits", "interval"), [(0, None), (3, 0.0), (3, -1.0), (3, np.nan), (3, np.inf)]
)
def test_a_future_without_visits_or_interval_is_refused(
    visits: int, interval: float | None
) -> None:
    with pytest.raises(ValueError, match="visits must be 1 or more and interval positive, got"):
        coming_ages(series(60, 61), visits, interval)


def test_ages_to_impute_rise_and_stand_once() -> None:
    stack = series(60, 61, 62, 63, missing=(1,))

    assert check_new_ages(stack, [66, 60.5, 66.0, 59]).tolist() == [59.0, 60.5, 66.0]
    assert check_new_ages(stack, 61).tolist() == [61.0]  # type: ignore[arg-type]
    assert check_new_ages(stack, None).tolist() == [61.0]


def test_an_imputed_visit_may_be_imputed_again() -> None:
    stack = series(60, 61, 62, is_observed=[True, False, True])

    assert check_new_ages(stack, [61]).tolist() == [61.0]


@pytest.mark.parametrize(
    ("ages", "problem"),
    [
        (None, "'ann' misses no visit; say at which ages to impute, in years, as in ages=[61]"),
        ([], "ages: got []; give one or more finite numbers, in years"),
        ([61.5, np.nan], "give one or more finite numbers, in years"),
        ([61.5, np.inf], "give one or more finite numbers, in years"),
        ([[61.5]], "give one or more finite numbers, in years"),
        (["soon"], "ages: got ['soon']; give numbers, in years"),
        ([60.5, 61], "ages: 61 is already observed, visit 2 of 3 of 'ann'; leave it out"),
        ([62 + 1e-9], "ages: 62 is already observed, visit 3 of 3"),
    ],
)
def test_ages_that_cannot_be_imputed_are_refused(ages: object, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        check_new_ages(series(60, 61, 62), ages)  # type: ignore[arg-type]


def test_joint_imputation_is_the_first_of_the_strategies() -> None:
    assert STRATEGIES[0] == "joint"
    assert len(set(STRATEGIES)) == 6


def test_scans_repeated_within_days_do_not_make_the_usual_interval() -> None:
    stack = series(60, 60.01, 61, 61.01, 62, 62.01, 64)

    assert typical_interval(stack) == pytest.approx(0.99)
    assert missing_ages(stack).tolist() == pytest.approx([63.005])


def test_ages_that_are_all_but_the_same_are_one() -> None:
    assert check_new_ages(series(60, 62), [61, 61 + 1e-9]).tolist() == [61.0]
