from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, median_filter

from napari_followup.detection.stream import Maps, segment_maps
from napari_followup.methods.anofpdm import AnoFPDM
from napari_followup.models.bundle import HealthyScores, ModelBundle
from napari_followup.recipe.recipe import HealthyHysteresis, Own, Pixel, Recipe, Ssim
from napari_followup.series.stack import VisitStack
from napari_followup.training import choosing
from napari_followup.training.choosing import (
    PLANES,
    Trial,
    choose_recipe,
    refined,
    try_recipes,
    variations,
)
from napari_followup.training.examining import dices
from napari_followup.training.samples import healthy_samples
from napari_followup.training.settings import form_of

RECIPE = Recipe(threshold=HealthyHysteresis())


class Grain:
    """Stands in for `examined` with a model that knows the subject but for its grain."""

    def __init__(self, usual: np.ndarray) -> None:
        self.usual = usual

    def __call__(self, bundle: object, stack: VisitStack, **how: object) -> Grain:
        self.found = np.abs(np.asarray(stack.images)[:, 0] - self.usual)
        return Grain.of(self.found)

    @classmethod
    def of(cls, found: np.ndarray) -> Grain:
        made = cls(found)
        made.found = found
        return made

    def score(self, recipe: Recipe) -> np.ndarray:
        size = (1, 1, recipe.median, recipe.median)
        filtered = median_filter(self.found, size=size).astype(np.float32)
        return np.asarray(gaussian_filter(filtered, (0, 0, recipe.blur, recipe.blur)))

    def mask(self, recipe: Recipe, known: HealthyScores) -> np.ndarray:
        maps = Maps(score=self.score(recipe), pixel=self.found)
        return segment_maps(maps, recipe, known).mask


def grainy(strength: float) -> list[VisitStack]:
    images = np.zeros((6, 4, 40, 40), np.float32)
    images[:, :, 8:32, 8:32] = 0.5
    rng = np.random.default_rng(0)
    images += rng.normal(0, 0.001, images.shape)
    grain = rng.random(images.shape) < 0.05
    return VisitStack.from_cohort(images + np.float32(strength) * grain)


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = np.zeros((40, 40), np.float32)
    plain[8:32, 8:32] = 0.5
    monkeypatch.setattr(choosing, "examined", Grain(plain))


def test_grain_asks_for_a_filter(tiny_bundle: ModelBundle, usual: None) -> None:
    bundle = replace(tiny_bundle, own_recipe=RECIPE)

    chosen, tried = choose_recipe(bundle, grainy(0.4))

    own = chosen.recipe
    assert own.median > 1 or own.blur > 0
    assert replace(own, median=1, blur=0.0, score=RECIPE.score) == RECIPE
    assert json.loads(json.dumps(tried)) == tried
    assert [each["median"] for each in tried] == [1, 3, 5, 7, 1, 1, 1, 1, 1] * 2
    assert [each["blur"] for each in tried] == [0, 0, 0, 0, 0.5, 1, 1.5, 2, 3] * 2
    best = max(tried, key=lambda each: float(each["mdice_percent"]))
    assert (best["median"], best["blur"]) == (own.median, own.blur)
    assert best["mdice_percent"] > tried[0]["mdice_percent"] + 3


def test_a_recipe_stays_where_none_is_clearly_better(tiny_bundle: ModelBundle, usual: None) -> None:
    bundle = replace(tiny_bundle, own_recipe=RECIPE)

    chosen, tried = choose_recipe(bundle, grainy(0.0))

    assert chosen is bundle
    assert tried[0]["mdice_percent"] > 60


def test_another_recipe_can_be_varied(tiny_bundle: ModelBundle, usual: None) -> None:
    same, _ = choose_recipe(tiny_bundle, grainy(0.0), RECIPE)
    better, _ = choose_recipe(tiny_bundle, grainy(0.4), RECIPE)

    assert same.own_recipe is None
    assert replace(better.recipe, median=1, blur=0.0, score=RECIPE.score) == RECIPE


def test_trials_give_what_the_real_way_gives(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe, tiny_series: VisitStack
) -> None:
    recipes = [tiny_recipe, replace(tiny_recipe, median=3)]

    together = try_recipes(tiny_bundle, [tiny_series], recipes)
    alone = [try_recipes(tiny_bundle, [tiny_series], [recipe])[0] for recipe in recipes]

    assert together == alone
    assert [trial.recipe for trial in together] == recipes


def test_variations_keep_what_the_network_does() -> None:
    recipe = Recipe.default()

    found = variations(recipe)

    assert found[0] == recipe
    assert len(found) == len({json.dumps(each.as_dict()) for each in found}) == 18
    assert all(each.options == recipe.options for each in found)
    assert {each.score for each in found} == {Pixel(tolerance=2.0), Pixel()}
    assert len(variations(Recipe(score=Ssim(), median=9))) == 10
    assert variations(Recipe.temporal()) == [Recipe.temporal()]


def test_dice_is_of_visits_that_show_something() -> None:
    truth = np.zeros((3, 1, 2, 2), bool)
    truth[1, 0, 0] = truth[2, 0, 1, 1] = True
    mask = np.zeros_like(truth)
    mask[0] = True
    mask[1, 0, 0, 0] = True

    assert dices(mask, truth) == [2 / 3, 0.0]
    assert Trial(recipe=RECIPE, dice={}).mean == 0.0


KNOWN = HealthyScores(shares=(1.0,), heights=(0.0,), maxima=(1.0,))


@pytest.fixture
def stacks() -> list[VisitStack]:
    rng = np.random.default_rng(0)
    return [VisitStack.from_array(rng.random((4, 16, 16)), subject=f"{n}") for n in range(3)]


def test_a_model_learns_its_largest_difference_and_its_healthy_similarity(
    tiny_anofpdm: ModelBundle, stacks: list[VisitStack]
) -> None:
    found = refined(tiny_anofpdm, stacks, seed=1)

    assert found.config["largest_difference"] > 0
    assert found.fingerprint == tiny_anofpdm.fingerprint
    before = tiny_anofpdm.config
    changed = {name for name in before if found.config[name] != before[name]}
    assert "largest_difference" in changed
    assert changed <= {"largest_difference", "healthy_similarity"}
    assert refined(tiny_anofpdm, stacks, seed=1).config == found.config


def test_labels_of_the_users_own_are_taken_where_there_are_any(
    tiny_anofpdm: ModelBundle, stacks: list[VisitStack], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    measure = AnoFPDM.refined

    def record(self: AnoFPDM, planes: torch.Tensor, labels: torch.Tensor, *rest: object) -> object:
        seen.append((planes, labels))
        return measure(self, planes, labels, *rest)

    monkeypatch.setattr(AnoFPDM, "refined", record)
    refined(tiny_anofpdm, stacks, labels=[0, [0, 1, 1, 0], 0])
    all_healthy = refined(tiny_anofpdm, stacks, labels=[0, 0, 0])

    planes, labels = seen[0]
    assert labels.tolist() == [1] * 2 + [0] * 10
    form = form_of(tiny_anofpdm.build())
    known = healthy_samples(form, stacks)
    assert torch.equal(planes, known[[5, 6, 0, 1, 2, 3, 4, 7, 8, 9, 10, 11]])
    assert all_healthy.config["healthy_similarity"] is None


def test_healthy_scores_that_the_new_numbers_change_are_left_out(
    tiny_anofpdm: ModelBundle, stacks: list[VisitStack]
) -> None:
    plain, cut = Recipe(score=Own()), Recipe(score=Own(), options={"cut": (0.9, 0.98)})
    known = tiny_anofpdm.with_healthy(plain.score_key, KNOWN).with_healthy(cut.score_key, KNOWN)

    assert list(refined(known, stacks).healthy) == [plain.score_key]


def test_no_more_planes_are_looked_at_than_are_needed(
    tiny_anofpdm: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, seen = np.random.default_rng(0), []
    many = [VisitStack.from_array(rng.random((4, 16, 16)), subject=f"{n}") for n in range(40)]
    monkeypatch.setattr(
        AnoFPDM, "refined", lambda self, planes, *_: seen.append(planes) or self.config
    )

    refined(tiny_anofpdm, many)

    assert seen[0].shape == (PLANES, 1, 16, 16)


def test_other_methods_stay_as_they_are(tiny_bundle: ModelBundle, tiny_series: VisitStack) -> None:
    assert refined(tiny_bundle, [tiny_series]) is tiny_bundle
