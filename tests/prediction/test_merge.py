from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_followup.detection.stream import prepare
from napari_followup.models.bundle import ModelBundle
from napari_followup.prediction.merge import Merging
from napari_followup.prediction.strategies import Found
from napari_followup.series.stack import VisitStack

CPU = torch.device("cpu")


def drawn(age: float, *values: float) -> Found:
    """One even image a draw, in the model's range."""
    images = torch.tensor(values)[:, None, None, None, None].expand(-1, 1, 1, 16, 16)
    return Found(age=age, drawn=images, base=torch.tensor([1.0, 0.0, 0.0, 0.0]))


def test_finished_visits_stand_by_age_and_others_are_left_out(
    tiny_series: VisitStack, tiny_tdm: ModelBundle
) -> None:
    prepared = prepare(tiny_series, tiny_tdm, CPU)
    merging = Merging(prepared, np.array([60.5, 63.0, 66.0]), with_spread=True)
    for age in (60.5, 63.0, 66.0):
        merging.put(drawn(age, 0.25, 0.75), slice(0, 1))
    assert not merging.finished

    merging.finish(66.0)
    merging.finish(60.5)
    found = merging.result({"strategy": "by hand"})

    assert found.stack.ages.tolist() == [60.0, 60.5, 61.0, 62.5, 64.0, 66.0]
    assert found.imputed.tolist() == [False, True, False, False, False, True]
    np.testing.assert_allclose(found.stack.images[[1, 5]], 40.0)  # half of the series' 80
    np.testing.assert_array_equal(found.stack.images[~found.imputed], tiny_series.images)
    np.testing.assert_allclose(found.spread[[1, 5]], 80 * np.std([0.25, 0.75], ddof=1), rtol=1e-5)
    assert np.isnan(found.spread[~found.imputed]).all()
    assert found.provenance["imputed_ages"] == [60.5, 66.0]


def test_a_visit_gives_way_to_one_that_is_finished_at_its_age(
    tiny_series: VisitStack, tiny_tdm: ModelBundle
) -> None:
    images = tiny_series.images.copy()
    images[1:3] = np.nan
    prepared = prepare(replace(tiny_series, images=images), tiny_tdm, CPU)
    merging = Merging(prepared, np.array([61.0, 62.5]), with_spread=False)
    merging.put(drawn(61.0, 1.0), slice(0, 1))
    merging.finish(61.0)

    found = merging.result({})

    assert found.stack.ages.tolist() == tiny_series.ages.tolist()
    np.testing.assert_allclose(found.stack.images[1], 80.0)
    assert np.isnan(found.stack.images[2]).all()
    assert found.imputed.tolist() == [False, True, False, False]
    assert found.spread is None


def test_nothing_is_finished_any_more_after_a_new_begin(
    tiny_series: VisitStack, tiny_tdm: ModelBundle
) -> None:
    merging = Merging(prepare(tiny_series, tiny_tdm, CPU), np.array([60.5]), with_spread=False)
    merging.finish(60.5)

    merging.begin()

    assert not merging.finished
    with pytest.raises(IndexError):
        merging.put(drawn(77.0, 1.0), slice(0, 1))
