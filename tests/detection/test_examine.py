from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import napari_followup as nf
from napari_followup.detection.examine import lent_features
from napari_followup.models.files import ModelBundle
from napari_followup.recipe.recipe import Fam, Pixel, Recipe, Yen
from napari_followup.series.stack import VisitStack


def test_an_sdm_beside_a_model_lends_its_features_in_its_own_range(
    tiny_anofpdm: ModelBundle, tiny_bundle: ModelBundle
) -> None:
    planes = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    joined = tiny_anofpdm.with_part(tiny_bundle)

    features = lent_features(joined)

    assert (joined.value_range, tiny_bundle.value_range) == ((-1, 1), (0, 1))
    assert features is not None
    expected = tiny_bundle.build().examine_features((planes + 1) / 2, (2, 3))
    for found, wanted in zip(features(planes, (2, 3)), expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_without_an_sdm_there_are_no_features_to_lend(tiny_anofpdm: ModelBundle) -> None:
    assert lent_features(tiny_anofpdm) is None


def test_fam_compares_the_healthy_images_of_any_method_by_lent_features(
    tiny_anofpdm: ModelBundle, tiny_bundle: ModelBundle, tiny_series: VisitStack
) -> None:
    joined = tiny_anofpdm.with_part(tiny_bundle)
    recipe = Recipe(
        options={"last_step": 16, "stride": 5}, score=Fam(), threshold=Yen(pixel_too=False)
    )

    found = nf.detect(tiny_series, joined, recipe)

    plain = nf.detect(tiny_series, tiny_anofpdm, replace(recipe, score=Pixel()))
    assert found.healthy is not None
    assert plain.healthy is not None
    assert (found.healthy == plain.healthy).all()
    assert found.scores["feature"].max() > 0
    assert found.provenance["features_of"] == f"tiny {tiny_bundle.fingerprint}"
    assert "features_of" not in plain.provenance
    with pytest.raises(ValueError, match="gives no features to compare images by"):
        nf.detect(tiny_series, tiny_anofpdm, recipe)
