from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_followup.evaluation.imputation import (
    BINS,
    DIRECTIONS,
    evaluate_ahead,
    evaluate_anomalies,
    evaluate_gaps,
    evaluate_middle,
    evaluate_next,
    gap_bin,
)
from napari_followup.evaluation.prediction import Series
from napari_followup.models.bundle import ModelBundle
from napari_followup.series.stack import VisitStack

AGES = (60.0, 61.0, 62.5, 64.0)
SERIES = Series(images=torch.zeros(4, 1, 16, 16), ages=torch.tensor(AGES), subject=0)


def known_of(direction: str, wanted: int) -> dict[int, tuple[int, ...]]:
    """All known visits by base, for one wanted visit."""
    pairs = [pair for pair in DIRECTIONS[direction](SERIES) if pair.wanted == wanted]
    return {pair.known[0]: pair.known for pair in pairs}


@pytest.mark.parametrize(
    ("gap", "name"), [(0.4, "0-1"), (1.0, "0-1"), (1.01, "1-2"), (12.0, "11-12"), (12.1, None)]
)
def test_the_upper_end_belongs_to_the_bin(gap: float, name: str | None) -> None:
    assert gap_bin(gap) == name


def test_forward_nothing_after_the_base_is_known() -> None:
    assert known_of("forward", 3) == {0: (0,), 1: (1, 0), 2: (2, 1, 0)}
    assert known_of("forward", 0) == {}


def test_backward_is_the_mirror_of_forward() -> None:
    assert known_of("backward", 0) == {1: (1, 2, 3), 2: (2, 3), 3: (3,)}
    assert known_of("backward", 3) == {}


def test_between_the_nearer_one_is_the_base_and_its_distance_the_gap() -> None:
    pairs = [pair for pair in DIRECTIONS["two-sided"](SERIES) if pair.wanted == 1]

    assert [(pair.gap, pair.known) for pair in pairs] == [(1.0, (0, 2, 3)), (1.0, (0, 3))]
    nearer_above = [p for p in DIRECTIONS["two-sided"](SERIES) if p.wanted == 2]
    assert [p.known for p in nearer_above] == [(3, 0), (1, 3, 0)]


def test_too_few_known_visits_count_for_one_alone() -> None:
    (alone,) = [p for p in DIRECTIONS["forward"](SERIES) if p.wanted == 1]

    assert alone.task("one") is not None
    assert alone.task("two") is None
    assert alone.task("all") is None


def test_figures_stand_by_direction_known_visits_and_gap(
    tiny_tdm: ModelBundle, tiny_series: VisitStack
) -> None:
    rows = evaluate_gaps([tiny_series], tiny_tdm, pairs=None, device="cpu")

    groups = list(dict.fromkeys(row.group for row in rows))
    wanted = ("one known", "two known", "all known", "copy")
    assert groups == [f"{way}, {what}" for way in DIRECTIONS for what in wanted]
    for way in ("forward", "backward"):
        assert sum(row.images for row in rows if row.group == f"{way}, one known") == 6
    assert sum(row.images for row in rows if row.group == "forward, two known") == 3
    for group in groups:
        names = [BINS.index(row.name) for row in rows if row.group == group]
        assert names == sorted(set(names))


def test_pairs_are_drawn_by_the_seed(tiny_tdm: ModelBundle, tiny_series: VisitStack) -> None:
    stacks = [tiny_series, tiny_series.with_images(np.asarray(tiny_series.images) ** 2)] * 3

    first, again, other = (
        evaluate_gaps(stacks, tiny_tdm, pairs=2, seed=seed) for seed in (0, 0, 1)
    )

    assert first == again
    assert first != other
    assert max(row.images for row in first) == 2


def test_a_model_that_goes_forward_only_is_measured_forward_only(
    tiny_tdm: ModelBundle, tiny_series: VisitStack
) -> None:
    forward = replace(tiny_tdm, config={**tiny_tdm.config, "backward": False})

    rows = evaluate_gaps([tiny_series], forward, pairs=1)

    assert {row.group.split(",")[0] for row in rows} == {"forward"}


def test_it_can_be_ended(tiny_tdm: ModelBundle, tiny_series: VisitStack) -> None:
    rows = evaluate_gaps([tiny_series], tiny_tdm, on_step=lambda done, total: False)

    assert {row.name for row in rows} == {"0-1"}


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


@pytest.fixture
def six() -> VisitStack:
    """Six visits of a square that brightens evenly, on a ground that holds the range."""
    images = np.zeros((6, 16, 16), np.float32)
    images[:, 4:12, 4:12] = np.arange(2.0, 8.0)[:, None, None]
    images[:, 0:2] = 10.0
    return VisitStack.from_array(images, ages=np.arange(60.0, 66.0), subject="six")


def test_visits_ahead_are_a_group_each_and_a_line_meets_what_is_even(
    tiny_tdm: ModelBundle, six: VisitStack
) -> None:
    rows = evaluate_ahead([six, six.select(range(4))], tiny_tdm, device="cpu")

    groups = list(dict.fromkeys(row.group for row in rows))
    assert groups == [
        "visit 5, 1 ahead of the first 4",
        "visit 6, 2 ahead of the first 4",
    ]
    last = {row.name: row for row in rows if row.group == groups[1]}
    assert list(last)[:3] == ["joint", "direct", "chain"]
    assert last["copy of the last known visit"].l1 == pytest.approx(0.2 * 64 / 256, rel=1e-2)
    assert last["line through the last two"].l1 == pytest.approx(0.0, abs=1e-4)
    assert {row.images for row in rows} == {1}


def test_the_middle_is_measured_with_every_strategy(
    tiny_both: ModelBundle, six: VisitStack
) -> None:
    told: list[tuple[int, int]] = []

    rows = evaluate_middle(
        [six, six], tiny_both, code_subjects=1, on_step=lambda *step: told.append(step)
    )

    images = {(row.group, row.name): row.images for row in rows}
    few = "middle visit, subjects with codes"
    assert images["middle visit", "joint"] == 2
    assert images[few, "lerp-slerp"] == images[few, "joint"] == images[few, "lerp-lerp"] == 1
    line = next(row for row in rows if row.name == "line between the neighbours")
    assert line.l1 == pytest.approx(0.0, abs=1e-4)
    assert told == [(1, 2), (2, 2)]


def test_without_an_sdm_no_codes_are_interpolated(tiny_tdm: ModelBundle, six: VisitStack) -> None:
    rows = evaluate_middle([six], tiny_tdm)

    assert not any(row.name.startswith("lerp") for row in rows)
