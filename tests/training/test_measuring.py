from __future__ import annotations

import json
from dataclasses import replace

import pytest

from napari_followup.models.files import ModelBundle
from napari_followup.recipe.recipe import Recipe
from napari_followup.series.results import Cancelled
from napari_followup.series.stack import VisitStack
from napari_followup.training.cohort import Learner, cohort_of
from napari_followup.training.measuring import measured
from napari_followup.training.plan import TrainingPlan


def test_a_model_is_measured_step_by_step(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe, cohort: list[VisitStack]
) -> None:
    subjects = cohort_of(cohort, Learner.of(tiny_bundle.build()), TrainingPlan(steps=1), None)
    told: list[float] = []

    bundle, found = measured(replace(tiny_bundle, own_recipe=tiny_recipe), subjects, told.append)

    assert told == [0.0, 0.25, 0.5, 0.75]
    assert bundle.recipe.score_key in bundle.healthy
    assert set(found) == {"recipes_tried", "sees", "outlying_subjects", "notes"}
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("step", [0.0, 0.5])
def test_measuring_can_be_stopped(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe, cohort: list[VisitStack], step: float
) -> None:
    subjects = cohort_of(cohort, Learner.of(tiny_bundle.build()), TrainingPlan(steps=1), None)

    def before(progress: float) -> None:
        if progress == step:
            raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        measured(replace(tiny_bundle, own_recipe=tiny_recipe), subjects, before)


def test_what_only_trained_weights_can_tell_is_measured_first(
    tiny_anofpdm: ModelBundle, cohort: list[VisitStack]
) -> None:
    subjects = cohort_of(cohort, Learner.of(tiny_anofpdm.build()), TrainingPlan(steps=1), None)

    bundle, _ = measured(tiny_anofpdm, subjects, lambda share: None)

    assert bundle.config["largest_difference"] > 0
    assert bundle.recipe.score_key in bundle.healthy
