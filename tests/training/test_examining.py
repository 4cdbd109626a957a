from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch

import napari_followup as nf
from napari_followup.methods.method import Evidence
from napari_followup.methods.sdm import SDM, SDMConfig
from napari_followup.methods.tdm import TDM, TDMConfig
from napari_followup.models.bundle import ModelBundle
from napari_followup.recipe.recipe import Recipe
from napari_followup.series.stack import VisitStack
from napari_followup.training.examining import example_maker, scored, thinned


def test_series_are_scored_as_the_door_scores_them(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe, tiny_series: VisitStack
) -> None:
    maps = scored(tiny_bundle, tiny_series, tiny_recipe, seed=3).maps

    found = nf.detect(tiny_series, tiny_bundle, tiny_recipe, device="cpu", seed=3)
    np.testing.assert_allclose(maps["final"], found.score, rtol=1e-5)


def test_few_visits_and_planes_stand_for_many() -> None:
    images = np.random.rand(20, 1, 30, 4, 4)
    images[3] = np.nan
    stack = VisitStack.from_array(images)

    few = thinned(stack)

    assert few.shape == (6, 1, 9, 4, 4)
    assert few.is_observed.all()
    assert (few.ages[0], few.ages[-1]) == (0.0, 19.0)
    np.testing.assert_array_equal(few.images[0], images[0, :, 10:19])
    assert thinned(stack, whole=True).shape == (6, 1, 30, 4, 4)


def test_a_small_series_stays_as_it_is(tiny_series: VisitStack) -> None:
    np.testing.assert_array_equal(thinned(tiny_series).images, tiny_series.images)


@pytest.fixture
def model(tiny_bundle: ModelBundle) -> SDM:
    """With as many steps as the default recipe asks for."""
    torch.manual_seed(0)
    return SDM(replace(SDMConfig(**tiny_bundle.config), steps=1000)).eval()


@pytest.fixture
def stack() -> VisitStack:
    return VisitStack.from_array(np.random.default_rng(0).random((6, 5, 16, 16)))


def test_an_example_shows_a_subject_and_what_the_model_makes_of_it(
    model: SDM, stack: VisitStack
) -> None:
    make = example_maker("sdm", model, stack)
    before = torch.random.get_rng_state()

    example, again = make(), make()

    assert example is not None
    assert again is not None
    assert example.given.shape == example.healthy.shape == (4, 1, 16, 16)
    middle = np.asarray(stack.images)[0, 0, 2]
    assert np.corrcoef(example.given[0, 0].ravel(), middle.ravel())[0, 1] > 0.999
    assert not np.allclose(example.given, example.healthy)
    np.testing.assert_array_equal(example.healthy, again.healthy)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_method_without_healthy_images_has_no_example(
    model: SDM, stack: VisitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def examine(visits: Any, *args: object) -> Evidence:
        return Evidence(score=visits.images[:, 0])

    monkeypatch.setattr(model, "examine", examine)

    assert example_maker("sdm", model, stack)() is None


def test_a_series_that_cannot_be_examined_has_no_example(
    tiny_tdm: ModelBundle, stack: VisitStack
) -> None:
    model = TDM(TDMConfig(**asdict(TDMConfig(**tiny_tdm.config)))).eval()

    assert example_maker("tdm", model, stack.select([0]))() is None
    assert example_maker("tdm", model, stack)() is not None
