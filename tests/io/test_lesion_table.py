from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from napari_followup.io import write_table
from napari_followup.io.lesion_table import lesion_rows, lesion_size
from napari_followup.io.table import read_table
from napari_followup.series.results import Detection
from napari_followup.series.stack import VisitStack


def found(z: int, **settings: object) -> Detection:
    """Two lesions of 3 and 1 voxels at the first visit, which touch at no corner."""
    mask = np.zeros((2, z, 6, 6), bool)
    mask[0, 0, 0, 0] = mask[0, 0, 1, 1] = mask[0, 0, 1, 2] = mask[0, 0, 5, 5] = True
    stack = VisitStack.from_array(np.zeros((2, z, 6, 6)), axes="vzyx", **settings)  # type: ignore[arg-type]
    score = mask.astype(np.float32)
    return Detection(
        stack=stack,
        mask=mask,
        score=score,
        scores={},
        healthy=None,
        image_score=np.array([0.5, math.nan], np.float32),
        threshold=0.5,
    )


def test_planes_have_areas_and_parts_that_touch_at_a_corner_are_one() -> None:
    rows = lesion_rows(found(1, ages=[61, 62], spacing=(9, 2, 0.5), subject="anna"))

    assert rows[0] == {
        "subject": "anna",
        "visit": 1,
        "age": 61.0,
        "observed": True,
        "image_score": 0.5,
        "components": 2,
        "voxels": 4,
        "area_mm2": 4.0,
    }
    assert (rows[1]["components"], rows[1]["area_mm2"]) == (0, 0.0)


def test_volumes_have_volumes() -> None:
    rows = lesion_rows(found(2, spacing=(3, 2, 0.5)))

    assert rows[0]["volume_mm3"] == pytest.approx(12.0)
    assert rows[0]["age"] == ""


def test_without_a_unit_there_are_only_voxels(tmp_path: Path) -> None:
    rows = lesion_rows(found(1))

    assert not {"area_mm2", "volume_mm3"} & set(rows[0])
    table = read_table(write_table(tmp_path / "a.csv", rows))
    assert [row.cells["voxels"] for row in table] == ["4", "0"]


def test_sizes_are_areas_volumes_or_counts() -> None:
    spacing = (9, 2, 0.5)

    assert lesion_size(found(1, spacing=spacing).stack, 3) == (3.0, "mm²")
    assert lesion_size(found(2, spacing=spacing).stack, 3) == (27.0, "mm³")
    assert lesion_size(found(1, spacing=spacing, unit="pixel").stack, 3) == (3.0, "pixels")
    assert lesion_size(found(2).stack, 3) == (3.0, "voxels")
