from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_followup.detection.prepare import Prepared, visits_of
from napari_followup.detection.stream import prepare
from napari_followup.models.bundle import ModelBundle
from napari_followup.series.stack import VisitStack

CPU = torch.device("cpu")


def map_back(prepared: Prepared, scores: torch.Tensor) -> np.ndarray:
    """Maps of all visits on the stack's grid, from those of the visits in use."""
    return prepared.spread(prepared.grid_back(scores))


def images_back(prepared: Prepared, images: torch.Tensor) -> np.ndarray:
    """Images of all visits in the stack's units, from those of the visits in use."""
    return prepared.spread(prepared.units_back(images))


def with_gap(series: VisitStack) -> VisitStack:
    images = series.images.copy()
    images[1] = np.nan
    return series.with_images(images)


def test_a_series_comes_in_the_models_range_and_goes_back_in_its_own(
    tiny_bundle: ModelBundle, tiny_series: VisitStack
) -> None:
    prepared = prepare(tiny_series, tiny_bundle, CPU)

    assert prepared.visits.images.shape == (4, 1, 1, 16, 16)
    assert prepared.visits.images.dtype == torch.float32
    assert prepared.visits.images.max() == 1.0
    assert prepared.visits.ages.tolist() == [60.0, 61.0, 62.5, 64.0]
    np.testing.assert_allclose(
        images_back(prepared, prepared.visits.images), tiny_series.images, atol=1e-4
    )
    assert prepared.notes == ()


def test_missing_visits_stay_out_and_come_back_as_nan(
    tiny_bundle: ModelBundle, tiny_series: VisitStack
) -> None:
    prepared = prepare(with_gap(tiny_series), tiny_bundle, CPU)

    maps = map_back(prepared, torch.ones(3, 1, 16, 16))

    assert prepared.visits.ages.tolist() == [60.0, 62.5, 64.0]
    assert prepared.observed.tolist() == [0, 2, 3]
    assert np.isnan(maps[1]).all()
    assert (maps[[0, 2, 3]] == 1).all()
    assert prepared.notes == ("missing visits were left out: 2",)


def test_other_sizes_are_resampled_there_and_back(tiny_bundle: ModelBundle) -> None:
    stack = VisitStack.from_array(np.random.rand(2, 3, 30, 20), axes="vzyx", ages=[1, 2])

    prepared = prepare(stack, tiny_bundle, CPU)

    assert prepared.visits.images.shape == (2, 1, 3, 16, 16)
    assert map_back(prepared, torch.zeros(2, 3, 16, 16)).shape == (2, 3, 30, 20)
    assert images_back(prepared, prepared.visits.images).shape == stack.shape
    assert "30 x 20 pixels were resampled to the model's 16 x 16" in prepared.notes[0]


def test_each_modality_has_a_scale_of_its_own(tiny_bundle: ModelBundle) -> None:
    images = np.stack([np.random.rand(16, 16), 1000 * np.random.rand(16, 16) - 500])
    stack = VisitStack.from_array(images[None, :, None], ages=[60.0])
    bundle = replace(tiny_bundle, config={**tiny_bundle.config, "modalities": 2})

    prepared = prepare(stack, bundle, CPU)

    assert prepared.visits.images.amax(dim=(0, 2, 3, 4)).tolist() == pytest.approx([1, 1], abs=0.1)
    np.testing.assert_allclose(
        images_back(prepared, prepared.visits.images), stack.images, rtol=1e-4, atol=1e-3
    )


def test_another_number_of_modalities_is_refused(tiny_bundle: ModelBundle) -> None:
    stack = VisitStack.from_array(np.random.rand(2, 3, 1, 16, 16), subject="p7")

    with pytest.raises(ValueError, match="'p7' has 3 modalities, model 'tiny' was trained on 1"):
        prepare(stack, tiny_bundle, CPU)
    with pytest.raises(
        ValueError, match=r"in Python stack\.with_images\(stack\.images\[:, :1\], mod"
    ):
        prepare(stack, tiny_bundle, CPU)
    prepare(
        stack.with_images(stack.images[:, :1], modalities=stack.modalities[:1]), tiny_bundle, CPU
    )
    two = replace(tiny_bundle, config={**tiny_bundle.config, "modalities": 4})
    with pytest.raises(ValueError, match="was trained on 4; give a file of as many, or choose"):
        prepare(stack, two, CPU)


def test_a_single_visit_and_made_up_ages_are_worth_a_note(tiny_bundle: ModelBundle) -> None:
    notes = prepare(VisitStack.from_array(np.random.rand(1, 16, 16)), tiny_bundle, CPU).notes

    assert notes == (
        "no ages given: visits were taken as one year apart",
        "a single visit: nothing to fuse over time",
    )


def test_other_images_of_the_series_take_its_scale(
    tiny_bundle: ModelBundle, tiny_series: VisitStack
) -> None:
    prepared = prepare(tiny_series, tiny_bundle, CPU)

    other = visits_of(tiny_series, tiny_series.images / 2, prepared.scalings, (16, 16), CPU)

    torch.testing.assert_close(other.images, prepared.visits.images / 2)


def half_imputed(series: VisitStack) -> VisitStack:
    """Visit 2 is imputed, and far brighter than all others; visit 3 is missing."""
    images = series.images.copy()
    images[1] *= 10
    images[2] = np.nan
    return replace(series, images=images, is_observed=np.array([True, False, True, True]))


def test_imputed_visits_are_left_out_unless_asked_for(
    tiny_bundle: ModelBundle, tiny_series: VisitStack
) -> None:
    prepared = prepare(half_imputed(tiny_series), tiny_bundle, CPU)

    assert prepared.visits.ages.tolist() == [60.0, 64.0]
    assert prepared.in_use.tolist() == [True, False, False, True]
    assert prepared.notes == (
        "missing visits were left out: 3",
        "imputed visits were left out: 2",
    )


def test_imputed_visits_are_used_but_set_no_scale_and_get_no_maps(
    tiny_bundle: ModelBundle, tiny_series: VisitStack
) -> None:
    series = half_imputed(tiny_series)

    prepared = prepare(series, tiny_bundle, CPU, with_imputed=True)
    maps = map_back(prepared, torch.arange(1.0, 4.0)[:, None, None, None].expand(3, 1, 16, 16))
    images = images_back(prepared, prepared.visits.images)

    assert prepared.visits.ages.tolist() == [60.0, 61.0, 64.0]
    assert prepared.in_use.tolist() == [True, True, False, True]
    assert prepared.scalings == prepare(series, tiny_bundle, CPU).scalings
    assert prepared.visits.images[1].max() == pytest.approx(10.0)
    assert np.isnan(maps[1:3]).all()
    assert (maps[0] == 1).all()
    assert (maps[3] == 3).all()
    assert np.isnan(images[1:3]).all()
    np.testing.assert_allclose(images[[0, 3]], tiny_series.images[[0, 3]], atol=1e-3)
    assert "imputed visits served as references only: 2" in prepared.notes


def test_a_series_without_imputed_visits_has_no_such_references(
    tiny_bundle: ModelBundle, tiny_series: VisitStack
) -> None:
    notes = prepare(with_gap(tiny_series), tiny_bundle, CPU, with_imputed=True).notes

    assert "no imputed visit to take as a reference: impute visits first" in notes


def test_any_number_of_images_goes_back_to_the_series_units(
    tiny_bundle: ModelBundle, tiny_series: VisitStack
) -> None:
    prepared = prepare(with_gap(tiny_series), tiny_bundle, CPU)

    back = prepared.units_back(torch.full((7, 1, 1, 16, 16), 0.5))

    assert back.shape == (7, 1, 1, 16, 16)
    np.testing.assert_allclose(back, 40.0, rtol=1e-5)


def test_a_map_with_planes_of_nan_is_no_series_for_a_model(tiny_bundle: ModelBundle) -> None:
    images = np.random.default_rng(0).random((2, 3, 16, 16))
    images[:, 0] = np.nan
    stack = VisitStack.from_array(images, provenance={"layer": {"result": "score"}})

    with pytest.raises(ValueError, match="'subject' is a saved map, partly NaN; give the series"):
        prepare(stack, tiny_bundle, CPU)
