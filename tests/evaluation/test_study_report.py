from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from napari_followup.detection.segment import NEARLY, UNKNOWN
from napari_followup.evaluation.study import StudyRow
from napari_followup.evaluation.study_report import (
    against_baseline,
    budget_remark,
    claims_text,
    csv_rows,
    json_rows,
    study_table,
    study_text,
    threshold_remarks,
)
from napari_followup.evaluation.verdicts import ClaimFigures

NAN = float("nan")


def test_a_line_of_the_table_says_what_the_issue_asks_for(row: Callable[..., StudyRow]) -> None:
    head, _, line = study_table([replace(row("one", 0.5), images_seen=None)]).splitlines()

    cells = [cell.strip() for cell in line.strip("|").split("|")]
    names = [cell.strip() for cell in head.strip("|").split("|")]
    assert dict(zip(names, cells, strict=True)) == {
        "model": "one",
        "recipe": "default recipe",
        "mDICE darker line": "50.0",
        "mDICE mean": "50.0",
        "95 %": "50.0 to 50.0",
        "healthy FP": "0.0120",
        "[Dice]": "50.0",
        "pixel AUPRC": "50.0",
        "AUROC": "90.0",
        "l1-ratio": "2.0",
        "s/patient": "1.23",
        "parameters": "2.43 M",
        "training images": "–",
    }


def test_the_text_holds_table_subjects_and_remarks(
    row: Callable[..., StudyRow], pca: StudyRow
) -> None:
    figures = replace(pca.figures, notes=(UNKNOWN,))
    baseline = replace(pca, figures=figures, drawn_from="")

    text = study_text([row("one", 0.8), baseline], ["a row was left out"], "Subjects: squares.")

    for part in (
        "| one ",
        "Subjects: squares.",
        "* one beats",
        "* a row was left out",
        "* PCA(200), default recipe: the model knows no healthy scores",
        "[Dice] is",
    ):
        assert part in text


def test_rows_without_the_models_own_healthy_scores_are_marked(
    row: Callable[..., StudyRow], pca: StudyRow
) -> None:
    own = row("one", 0.8)
    lent = replace(own, model="two", drawn_from="held out")
    near = replace(own, model="three", figures=replace(own.figures, notes=(NEARLY,)))

    marked = study_text([own, lent, near, pca], [], "")
    plain = study_text([own, pca], [], "")

    lines = [line.split("|")[2].strip() for line in marked.splitlines()[2:6]]
    assert lines == ["default recipe", "default recipe *", "default recipe *", "default recipe"]
    assert "Rows with * need healthy scores that the model does not hold" in marked
    assert "*" not in plain.split("* one beats")[0]


def test_claims_show_every_single_figure_and_the_verdict() -> None:
    claim = ClaimFigures(
        name="sigmas",
        text="all are better than one",
        model="m",
        first="all",
        second="mean of 2",
        first_auprc=0.5,
        second_auprc=0.4,
        difference=0.1,
        interval=(0.05, 0.15),
        margin=0.0,
        verdict="confirmed",
        others={"sigma 1": 0.3, "sigma 2": 0.5},
    )

    text = claims_text([claim], ["another was not asked"], "Subjects: squares.")

    cells = [cell.strip() for cell in text.splitlines()[2].strip("|").split("|")]
    assert cells == [
        "all are better than one",
        "m",
        "all: 50.0",
        "mean of 2: 40.0",
        "+10.0",
        "5.0 to 15.0",
        "–",
        "confirmed",
    ]
    near = claims_text([replace(claim, margin=0.01)], [], "").splitlines()
    assert [line.split("|")[7].strip() for line in (near[0], near[2])] == ["margin", "1.0"]
    assert "* sigmas, m: all 50.0; sigma 1 30.0, sigma 2 50.0" in text
    assert "* another was not asked" in text


def test_files_hold_plain_figures_without_the_single_patients(pca: StudyRow) -> None:
    (plain,) = json_rows([pca])
    (flat,) = csv_rows([pca])

    assert plain["patients"] == {}  # how many there were of each kind
    assert (plain["row"], plain["intervals"]["auroc"]) == ("default recipe", (0.8, 0.95))
    assert json.loads(json.dumps(plain))["recipe"] == {"median": 1}
    assert (flat["mdice_darker_line"], flat["healthy_scores"]) == (0.6, "model")
    assert all(isinstance(value, str | int | float) for value in flat.values())


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
        ({"best": 0.7}, "Its score is good enough, its threshold is not"),
        ({"best": 0.4, "auprc": 0.7}, "ranks pixels as well, but not with one threshold"),
        ({"best": 0.4, "auprc": 0.4}, "Its score separates the pixels less well"),
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

    assert said.endswith("2 of a kind are too few patients, give 5 or more.")


def test_no_reason_is_made_up_without_a_healthy_image(
    row: Callable[..., StudyRow], pca: StudyRow
) -> None:
    (said,) = against_baseline([row("one", 0.4, best=0.4, auprc=0.4, residuals=(NAN, NAN)), pca])

    assert said.endswith("pixel AUPRC 40.0 against 50.0.")


def test_equal_and_unknown_budgets_are_told(row: Callable[..., StudyRow], pca: StudyRow) -> None:
    one, other = row("one", 0.5), replace(row("other", 0.5), images_seen=320)
    silent = replace(row("silent", 0.5), images_seen=None)

    alike = replace(one, model="alike")
    assert "are equal for the 2 models that record it" in budget_remark([one, alike, pca])
    assert budget_remark([one]) == "Training images seen by the one model that records it: 11200."
    assert "are from 320 to 11200" in budget_remark([one, other, pca])
    assert budget_remark([silent]) == "These do not record how long they were trained: silent."


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
