from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from napari_followup.evaluation.imputation import BINS
from napari_followup.evaluation.imputation_report import (
    THESIS_GAPS,
    THESIS_NEXT,
    gap_tables,
    group_tables,
    plot_gaps,
    plot_references,
    reference_table,
    speed_table,
)
from napari_followup.evaluation.prediction import ImputationFigures
from napari_followup.evaluation.references import ReferenceFigures
from napari_followup.evaluation.speed import SpeedFigures

ROW = ImputationFigures(
    group="darker_line",
    name="model",
    images=9,
    psnr=30.123,
    l1=0.0123,
    l2=0.0004,
    ssim=0.9,
    ms_ssim=0.99,
    interval=(29.0, 31.0),
)
FEW = ReferenceFigures(
    name="recipe",
    observed=2,
    with_imputed=True,
    mdice={"darker_line": 0.5},
    mean_mdice=0.5,
    interval=(0.4, 0.6),
    images=7,
)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_group_has_a_table_with_the_thesis_below() -> None:
    lines = group_tables([ROW, replace(ROW, group="other")], THESIS_NEXT).splitlines()

    assert lines[0] == "**darker line**"
    assert cells(lines[4]) == "model 9 30.12 29.00_to_31.00 12.30 0.40 90.00 99.00".replace(
        " ", "|"
    ).replace("_", " ").split("|")
    assert cells(lines[5]) == ["thesis", "–", "31.73", "–", "11.60", "0.71", "75.82", "98.90"]
    assert lines[7] == "**other**"
    assert len(lines) == 12  # without a row of the thesis


def test_the_thesis_stands_beside_forward_from_one_visit_alone() -> None:
    rows = [replace(ROW, group=f"forward, {n} known", name="4-5") for n in ("one", "two")]

    one, two = gap_tables(rows).split("\n\n**forward, two known**")

    assert cells(one.splitlines()[-1])[7:] == ["31.84", "12.45", "0.77", "83.23", "98.83"]
    assert "thesis" not in two


def test_the_thesis_has_a_row_a_gap() -> None:
    assert tuple(THESIS_GAPS) == BINS
    assert THESIS_GAPS["11-12"].psnr == 26.884


def test_dice_stand_in_per_cent() -> None:
    line = reference_table([FEW]).splitlines()[-1]

    assert cells(line) == ["recipe", "2", "yes", "50.0", "50.0", "40.0 to 60.0", "7"]


def test_seconds_stand_in_milliseconds() -> None:
    row = SpeedFigures(name="ours", calls=1, seconds=0.0125, ratio=1.0)

    assert cells(speed_table([row]).splitlines()[-1]) == ["ours", "1", "12.5", "1.0"]


def test_plots_are_pictures(tmp_path: Path) -> None:
    gaps = [
        replace(ROW, group=f"{way}, one known", name=name)
        for way in ("forward", "backward")
        for name in BINS[:3]
    ]
    few = [FEW, replace(FEW, with_imputed=False), replace(FEW, name="other")]

    for path in (plot_gaps(gaps, tmp_path / "a.png"), plot_references(few, tmp_path / "b.png")):
        assert path.read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 2
