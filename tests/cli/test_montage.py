from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_followup.cli.montage import write_montage
from napari_followup.detection.detect import detect
from napari_followup.models.files import ModelBundle
from napari_followup.recipe.recipe import Recipe
from napari_followup.series.stack import VisitStack


@pytest.mark.parametrize("has_truth", [True, False])
def test_a_montage_is_a_png_with_its_provenance(
    has_truth: bool,
    tmp_path: Path,
    tiny_series: VisitStack,
    tiny_bundle: ModelBundle,
    tiny_recipe: Recipe,
) -> None:
    from matplotlib.image import imread

    found = detect(tiny_series, tiny_bundle, tiny_recipe)
    if not has_truth:
        found = replace(found, healthy=None)

    path = write_montage(
        tmp_path / "m.png", found, found.mask if has_truth else None, {"seed": 12345}
    )

    height, width = imread(path).shape[:2]
    assert height > 100
    assert width > 100
    assert json.dumps({"seed": 12345}).encode() in path.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_missing_visits_leave_a_gap(
    tmp_path: Path, tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    images = np.array(tiny_series.images)
    images[1] = np.nan
    found = detect(tiny_series.with_images(images), tiny_bundle, tiny_recipe)

    assert write_montage(tmp_path / "m.png", found, None, {}).stat().st_size > 1000
