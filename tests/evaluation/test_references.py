from __future__ import annotations

import numpy as np
import pytest

from napari_followup.evaluation.patients import Case
from napari_followup.evaluation.references import evaluate_references, fusion_recipes, hidden
from napari_followup.models.bundle import ModelBundle
from napari_followup.recipe.recipe import Lafm, Recipe, Yen
from napari_followup.series.stack import VisitStack


@pytest.fixture
def case(tiny_series: VisitStack) -> Case:
    truth = np.zeros((4, 1, 16, 16), bool)
    truth[1:, :, 4:6, 4:6] = True
    return Case(kind="hole", stack=tiny_series, healthy=tiny_series, truth=truth, number=0)


def test_so_many_visits_stay_observed_the_same_ones_by_seed(tiny_series: VisitStack) -> None:
    few, again, other = (hidden(tiny_series, 2, seed) for seed in (0, 0, 1))

    assert few.is_observed.sum() == 2
    assert few.is_missing.sum() == 2
    assert few.is_observed.tolist() == again.is_observed.tolist() != other.is_observed.tolist()
    np.testing.assert_array_equal(few.images[few.is_observed], tiny_series.images[few.is_observed])
    assert hidden(tiny_series, 4, 0) is tiny_series


def test_recipes_differ_in_fusion_and_threshold_only() -> None:
    default = Recipe.default()

    on_trial, published = fusion_recipes(default).values()

    assert on_trial is default
    assert (published.fusion, published.threshold) == (Lafm(), Yen())
    assert (published.score, published.options) == (default.score, default.options)


def test_each_number_of_visits_is_measured_without_and_with_imputed_ones(
    tiny_both: ModelBundle, tiny_recipe: Recipe, case: Case
) -> None:
    rows = evaluate_references(
        [case, case], tiny_both, {"tiny": tiny_recipe}, observed=(2, 3), device="cpu"
    )

    keys = [(row.observed, row.with_imputed) for row in rows]
    assert keys == [(2, False), (2, True), (3, False), (3, True), (4, False)]
    assert [set(row.mdice) for row in rows] == [{"hole"}] * 5
    assert rows[-1].images == 6  # the truth of the first visit is empty
    assert all(0 <= row.mean_mdice <= 1 for row in rows)


def test_it_can_be_ended(tiny_both: ModelBundle, tiny_recipe: Recipe, case: Case) -> None:
    rows = evaluate_references(
        [case, case],
        tiny_both,
        {"tiny": tiny_recipe},
        observed=(),
        on_step=lambda done, total: False,
    )

    assert [row.images for row in rows] == [3]
