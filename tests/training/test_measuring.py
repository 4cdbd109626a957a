from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from napari_followup.detection.detect import detect
from napari_followup.detection.segment import in_region
from napari_followup.detection.stream import Maps, segment_maps
from napari_followup.models.bundle import HealthyScores, ModelBundle
from napari_followup.recipe.recipe import HealthyHysteresis, Recipe
from napari_followup.series.results import Cancelled
from napari_followup.series.stack import VisitStack
from napari_followup.synthetic.generic import GENERIC_ANOMALIES
from napari_followup.training import measuring
from napari_followup.training.cohort import Learner, cohort_of
from napari_followup.training.measuring import healthy_scores, measured, outlying, what_it_sees
from napari_followup.training.plan import TrainingPlan


def test_a_bundle_learns_the_scores_of_one_recipe_and_stays_what_it_was(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe, tiny_series: VisitStack
) -> None:
    found = healthy_scores(tiny_bundle, [tiny_series, tiny_series], tiny_recipe)

    assert list(found.healthy) == [tiny_recipe.score_key]
    assert len(found.healthy[tiny_recipe.score_key].maxima) == 2
    assert tiny_bundle.healthy == {}
    again = healthy_scores(tiny_bundle, [tiny_series, tiny_series], tiny_recipe)
    assert again.healthy == found.healthy


def test_scores_of_a_part_are_kept_by_the_part(
    tiny_both: ModelBundle, tiny_series: VisitStack
) -> None:
    recipe = Recipe.temporal()

    found = healthy_scores(tiny_both, [tiny_series, tiny_series], recipe)

    assert list(found.part("tdm").healthy) == [recipe.score_key]
    assert found.healthy == {}
    assert found.fingerprint == tiny_both.fingerprint


def test_a_rim_that_is_not_marked_draws_no_line(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe, tiny_series: VisitStack
) -> None:
    narrow = replace(tiny_recipe, erosion=1)

    whole, found = (
        healthy_scores(tiny_bundle, [tiny_series], recipe).healthy[recipe.score_key]
        for recipe in (tiny_recipe, narrow)
    )

    scores = detect(tiny_series, tiny_bundle, narrow, device="cpu").score
    inside = in_region(scores, tiny_series, 1)
    assert inside.size < scores.size
    assert found.maxima == pytest.approx([float(np.nanmax(inside))])
    assert found != whole


class Seen:
    """Stands in for the scores of a model that sees what differs from `usual`, and how far."""

    def __init__(self, usual: np.ndarray, *, blind: bool = False) -> None:
        self.usual, self.blind = usual, blind

    def __call__(self, bundle: object, stack: VisitStack, *args: object, **more: object) -> object:
        found = np.abs(np.asarray(stack.images)[:, 0] - self.usual)
        score = (0 * found if self.blind else found).astype(np.float32)
        maps = {"pixel": score, "final": score}

        def mask(recipe: Recipe, known: HealthyScores, exact: bool) -> np.ndarray:
            return segment_maps(Maps(score=score, pixel=score), recipe, known, exact).mask

        return SimpleNamespace(maps=maps, mask=mask)


@pytest.fixture
def healthy() -> list[VisitStack]:
    """Three subjects with a bright square."""
    images = np.zeros((3, 4, 32, 32), np.float32)
    images[:, :, 8:24, 8:24] = 0.5
    images += np.random.default_rng(0).normal(0, 0.001, images.shape)
    return VisitStack.from_cohort(images)


@pytest.mark.parametrize("blind", [False, True])
def test_figures_tell_a_model_that_sees_from_one_that_does_not(
    tiny_bundle: ModelBundle,
    healthy: list[VisitStack],
    monkeypatch: pytest.MonkeyPatch,
    blind: bool,
) -> None:
    usual = np.zeros((32, 32), np.float32)
    usual[8:24, 8:24] = 0.5
    monkeypatch.setattr(measuring, "examined", Seen(usual, blind=blind))
    recipe = Recipe(threshold=HealthyHysteresis())
    noise = [np.abs(np.random.default_rng(n).normal(0, 0.001, (4, 1, 32, 32))) for n in range(3)]
    known = tiny_bundle.with_healthy(recipe.score_key, HealthyScores.of(noise))

    found = what_it_sees(known, healthy, recipe)

    assert json.loads(json.dumps(found)) == found
    assert found["subjects"] == 3
    assert found["false_positives_percent"] < 1
    assert set(found["mdice_percent"]) == set(GENERIC_ANOMALIES)
    for value in found["mdice_percent"].values():
        assert value == 0.0 if blind else value > 60


def test_a_trained_model_is_measured_from_end_to_end(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe, tiny_series: VisitStack
) -> None:
    known = healthy_scores(tiny_bundle, [tiny_series], tiny_recipe)

    found = what_it_sees(known, [tiny_series], tiny_recipe)

    assert 0 <= found["false_positives_percent"] <= 100
    assert all(0 <= value <= 100 for value in found["mdice_percent"].values())


def test_subjects_far_from_the_others_are_named_the_worst_first(
    tiny_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(0).normal(0, 1, (30, 2, 16, 16)).astype(np.float32)
    images[7] *= 5
    images[20] *= 9
    stacks = VisitStack.from_cohort(images)
    monkeypatch.setattr(measuring, "scored", Seen(np.zeros((16, 16), np.float32)))

    assert outlying(tiny_bundle, stacks, Recipe()) == ["subject-0020", "subject-0007"]
    assert outlying(tiny_bundle, stacks[8:19], Recipe()) == []


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
