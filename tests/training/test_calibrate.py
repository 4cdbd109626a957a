from __future__ import annotations

import numpy as np
import pytest

from napari_followup.bundle import ModelBundle
from napari_followup.recipe import Recipe
from napari_followup.stack import VisitStack
from napari_followup.training.calibrate import healthy_scores, summary_of


def test_summary_is_the_upper_tail_of_all_subjects_together() -> None:
    scores = np.random.default_rng(0).permutation(np.arange(10_000, dtype=np.float32))

    found = summary_of([scores[:4000], scores[4000:]])

    assert found.subjects == 2
    assert found.height(0.0) == 0
    assert found.height(0.9) == pytest.approx(9000, abs=60)
    assert found.height(0.999) == pytest.approx(9989, abs=2)
    assert found.shares[-1] * 10_000 >= 1  # no height that no pixel was seen above


def test_a_bundle_learns_the_scores_of_one_recipe_and_stays_what_it_was(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe, tiny_series: VisitStack
) -> None:
    found = healthy_scores(tiny_bundle, [tiny_series, tiny_series], tiny_recipe)

    assert list(found.healthy) == [tiny_recipe.score_key]
    assert found.healthy[tiny_recipe.score_key].subjects == 2
    assert tiny_bundle.healthy == {}
    again = healthy_scores(tiny_bundle, [tiny_series, tiny_series], tiny_recipe)
    assert again.healthy == found.healthy
