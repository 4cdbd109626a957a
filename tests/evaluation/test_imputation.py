from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from napari_followup.evaluation.imputation import evaluate_anomalies, evaluate_next
from napari_followup.models.files import ModelBundle
from napari_followup.series.stack import VisitStack


def test_next_visits_are_measured_beside_copying_and_the_line(
    tiny_tdm: ModelBundle, tiny_series: VisitStack
) -> None:
    rows = evaluate_next([tiny_series] * 2, tiny_tdm, device="cpu")

    found = {(row.group, row.name): row for row in rows}
    whole, late = "next visit", "next visit, from the third on"
    assert [row.images for row in rows if row.group == whole] == [6, 6, 6]
    assert [row.images for row in rows if row.group == late] == [4, 4, 4, 4]
    copy = found[whole, "copy of the previous visit"]
    assert copy.l1 == pytest.approx(4 / 256 * 20 / 80, rel=1e-3)  # a corner of 2 x 2 falls by 20
    assert copy.interval == pytest.approx((copy.psnr, copy.psnr))  # the subjects are alike
    line = found[late, "line through two visits"]
    assert line.l1 < found[late, copy.name].l1
    assert all(math.isfinite(row.psnr) for row in rows)


def test_a_part_of_a_bundle_is_measured_as_it_is_alone(
    tiny_tdm: ModelBundle, tiny_both: ModelBundle, tiny_series: VisitStack
) -> None:
    alone, joined = (evaluate_next([tiny_series], each) for each in (tiny_tdm, tiny_both))

    assert [row.psnr for row in alone] == [row.psnr for row in joined]


def test_single_visits_cannot_be_predicted(tiny_tdm: ModelBundle, tiny_series: VisitStack) -> None:
    with pytest.raises(ValueError, match="no series has two observed visits"):
        evaluate_next([tiny_series.select(0)], tiny_tdm)


def test_a_model_without_a_tdm_is_refused(
    tiny_bundle: ModelBundle, tiny_series: VisitStack
) -> None:
    with pytest.raises(ValueError, match="has no tdm"):
        evaluate_next([tiny_series], tiny_bundle)


def test_every_kind_of_series_is_a_group(tiny_tdm: ModelBundle, tiny_series: VisitStack) -> None:
    sick = tiny_series.with_images(np.asarray(tiny_series.images)[::-1].copy())

    rows = evaluate_anomalies({"healthy": [tiny_series], "sick": [sick], "none": []}, tiny_tdm)

    assert [row.group for row in rows] == ["healthy", "healthy", "sick", "sick"]
    assert [row.images for row in rows] == [3] * 4


def test_a_model_that_goes_forward_only_is_measured_too(
    tiny_tdm: ModelBundle, tiny_series: VisitStack
) -> None:
    forward = replace(tiny_tdm, config={**tiny_tdm.config, "backward": False})

    assert evaluate_next([tiny_series], forward)[0].images == 3
