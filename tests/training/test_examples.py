from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch

from napari_followup.methods.method import Evidence
from napari_followup.methods.sdm import SDM, SDMConfig
from napari_followup.methods.tdm import TDM, TDMConfig
from napari_followup.models.files import ModelBundle
from napari_followup.series.stack import VisitStack
from napari_followup.training.examples import example_maker


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
