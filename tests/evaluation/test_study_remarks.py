from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from napari_followup.detection.segment import NEARLY, UNKNOWN
from napari_followup.evaluation.study import StudyRow
from napari_followup.evaluation.study_remarks import (
    against_baseline,
    budget_remark,
    threshold_remarks,
)

NAN = float("nan")


def test_a_model_that_beats_the_best_baseline_is_said_to(
    row: Callable[..., StudyRow], pca: StudyRow
) -> None:
    worse = replace(row("PCA(200)", 0.3, method="pca"), fingerprint="d")

    (said,) = against_baseline([row("one", 0.8), pca, worse])

    assert said.startswith("one beats the baseline: mDICE 80.0 against 60.0")
    assert "difference +20.0 (+20.0 to +20.0)" in said


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"best": 0.7}, "Its score would do, its threshold loses it"),
        ({"best": 0.4, "auprc": 0.7}, "ranks pixels as well, but not at one height"),
        ({"best": 0.4, "auprc": 0.4}, "Its score tells the pixels less well"),
        (
            {"best": 0.4, "auprc": 0.4, "residuals": (0.1, 0.05)},
            "takes less of the anomaly away: mean residual 0.1 against 0.2 inside",
        ),
        (
            {"best": 0.4, "auprc": 0.4, "residuals": (0.3, 0.3)},
            "changes more of what is healthy: mean residual 0.3 against 0.2 inside",
        ),
    ],
)
def test_why_a_model_does_not_beat_the_baseline_is_told_by_its_figures(
    settings: dict[str, float], reason: str, row: Callable[..., StudyRow], pca: StudyRow
) -> None:
    (said,) = against_baseline([row("one", 0.4, **settings), pca])

    assert "one does not beat the baseline" in said
    assert "It is behind on darker line." in said
    assert reason in said


def test_a_few_patients_are_not_enough_to_tell(row: Callable[..., StudyRow], pca: StudyRow) -> None:
    few = [replace(each, patients=each.patients[:3]) for each in (row("one", 0.4), pca)]

    (said,) = against_baseline(few)

    assert said.endswith("2 of a kind are too few patients to tell, give 5 or more.")


def test_no_reason_is_made_up_without_a_healthy_image(
    row: Callable[..., StudyRow], pca: StudyRow
) -> None:
    (said,) = against_baseline([row("one", 0.4, best=0.4, auprc=0.4, residuals=(NAN, NAN)), pca])

    assert said.endswith("pixel AUPRC 40.0 against 50.0.")


def test_equal_and_unknown_budgets_are_told(row: Callable[..., StudyRow], pca: StudyRow) -> None:
    one, other = row("one", 0.5), replace(row("other", 0.5), images_seen=320)
    silent = replace(row("silent", 0.5), images_seen=None)

    alike = replace(one, model="alike")
    assert "are equal for the 2 models that say it" in budget_remark([one, alike, pca])
    assert budget_remark([one]) == "Training images seen by the one model that says it: 11200."
    assert "are from 320 to 11200" in budget_remark([one, other, pca])
    assert budget_remark([silent]) == "These do not say how long they were trained: silent."


def test_thresholds_that_lack_the_right_healthy_scores_are_told(
    row: Callable[..., StudyRow],
) -> None:
    one, other = row("one", 0.5), replace(row("other", 0.5), drawn_from="")
    odd = "40 % of all pixels are marked"
    noted = [
        replace(each, figures=replace(each.figures, notes=(odd, note)))
        for each, note in ((one, NEARLY), (other, UNKNOWN), (row("third", 0.5), NEARLY))
    ]

    assert threshold_remarks([other]) == []
    assert threshold_remarks(noted) == [
        "Healthy scores behind the threshold are the model's own for: one, default recipe; third, "
        "default recipe.",
        f"other, default recipe: {UNKNOWN}.",
        f"one, default recipe; third, default recipe: {NEARLY}.",
    ]


def test_held_out_subjects_are_named_where_thresholds_are_of_them(
    row: Callable[..., StudyRow],
) -> None:
    one, other = row("one", 0.5), replace(row("other", 0.5), drawn_from="held out")

    (said,) = threshold_remarks([one, other])

    assert said.endswith(
        "for: one, default recipe. Where others need any, they are of the held-out subjects."
    )
