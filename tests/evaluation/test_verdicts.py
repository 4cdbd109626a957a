from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_followup.evaluation.cases import KINDS
from napari_followup.evaluation.patients import HEALTHY, Patient
from napari_followup.evaluation.rows import DetectionFigures
from napari_followup.evaluation.study import StudyRow
from napari_followup.evaluation.verdicts import difference, figures_of_claim, verdict

NAN = float("nan")
CLAIM = ("claim", "one is better", 0.0, "model")


def patient(kind: str, auprc: float, dice: float = 0.5) -> Patient:
    return Patient(
        kind=kind,
        dice=(dice, NAN),
        flagged=0.0,
        sick_scores=(),
        healthy_scores=(),
        residuals=(NAN, NAN),
        pixel_auprc=auprc,
    )


def row(name: str, shift: float = 0.0, seed: int = 0) -> StudyRow:
    """Ten patients a kind whose areas lie about 0.5 plus `shift`, and a healthy one."""
    noise = np.random.default_rng(seed).normal(0, 0.05, (3, 10))
    sick = [
        patient(kind, 0.5 + shift + each)
        for kind, values in zip(KINDS, noise, strict=True)
        for each in values
    ]
    figures = DetectionFigures(
        name=name,
        mdice={},
        mean_mdice=NAN,
        interval=(NAN, NAN),
        false_positives=NAN,
        auroc=NAN,
        auprc=NAN,
        pixel_auprc=NAN,
        l1_ratio=NAN,
    )
    return StudyRow(
        model="model",
        method="sdm",
        fingerprint="0",
        recipe={},
        drawn_from="",
        figures=figures,
        seconds=1.0,
        parameters=1,
        images_seen=None,
        patients=(patient(HEALTHY, NAN), *sick),
    )


@pytest.mark.parametrize(
    ("ends", "margin", "said"),
    [
        ((0.01, 0.05), 0.0, "confirmed"),
        ((-0.05, -0.01), 0.0, "not confirmed"),
        ((-0.01, 0.05), 0.0, "within the interval"),
        ((-0.01, 0.05), 0.02, "confirmed"),
        ((-0.05, -0.01), 0.02, "within the interval"),
        ((-0.05, -0.03), 0.02, "not confirmed"),
        ((0.0, 0.0), 0.0, "within the interval"),
        ((0.0, 0.0), 0.01, "confirmed"),
        ((-0.01, 0.05), 0.01, "confirmed"),
    ],
)
def test_the_whole_interval_decides(ends: tuple[float, float], margin: float, said: str) -> None:
    assert verdict(ends, margin) == said


def test_differences_are_paired_by_patient() -> None:
    same = difference(row("a", 0.01), [row("b")])
    apart = difference(row("a", 0.01, seed=1), [row("b")])

    assert same.value == pytest.approx(0.01)
    assert same.interval == pytest.approx((0.01, 0.01))
    assert apart.interval[1] - apart.interval[0] > 0.02


def test_dice_is_compared_over_visits_that_show_the_anomaly() -> None:
    found = difference(row("a"), [row("b")], "dice")

    assert (found.first, found.second, found.value) == (0.5, 0.5, 0.0)


def test_rows_of_other_patients_cannot_be_compared() -> None:
    short = row("b")
    with pytest.raises(ValueError, match="the same patients; measure them together"):
        difference(row("a"), [replace(short, patients=short.patients[:5])])


def test_a_claim_is_held_against_the_best_of_the_others() -> None:
    others = [row("low", -0.2), row("high", 0.1)]

    found = figures_of_claim(CLAIM, row("one"), others, "best")

    assert (found.second, found.verdict) == ("high", "not confirmed")
    assert found.difference == pytest.approx(-0.1)
    assert found.others["low"] == pytest.approx(found.first_auprc - 0.2)


def test_a_claim_may_be_held_against_their_mean() -> None:
    others = [row("low", -0.2), row("high", 0.1)]

    found = figures_of_claim(CLAIM, row("one"), others, "mean")

    assert (found.second, found.verdict) == ("mean of 2", "confirmed")
    assert found.difference == pytest.approx(0.05)


def test_a_margin_forgives_a_small_loss() -> None:
    strict, near = (
        figures_of_claim(("claim", "", margin, "model"), row("one"), [row("b", 0.01)], "best")
        for margin in (0.0, 0.02)
    )

    assert (strict.verdict, near.verdict) == ("not confirmed", "confirmed")


def test_a_handful_of_patients_decides_nothing() -> None:
    one, other = (
        replace(each, patients=each.patients[:1] + each.patients[1::10])
        for each in (row("one", 0.2), row("other"))
    )

    found = figures_of_claim(CLAIM, one, [other], "best")

    assert found.verdict == "too few patients"
    assert not difference(one, [other]).is_sure
    assert difference(row("one"), [row("other")]).is_sure
