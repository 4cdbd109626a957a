from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from napari_followup.evaluation.reconstruction import ReconstructionFigures
from napari_followup.evaluation.report import (
    detection_table,
    reconstruction_table,
    replacing,
    table,
    write_report,
)
from napari_followup.evaluation.rows import THESIS, DetectionFigures

ROW = DetectionFigures(
    name="row",
    mdice={"growing_circle": 0.5, "darker_line": 0.25},
    mean_mdice=0.375,
    interval=(0.3, 0.45),
    false_positives=0.00012,
    auroc=0.99,
    auprc=0.98,
    pixel_auprc=math.nan,
    l1_ratio=42.0,
    patients={"growing_circle": 1},
)


def test_columns_line_up_with_numbers_to_the_right() -> None:
    assert table(["", "n"], [["long name", "1"], ["x", "100"]]).splitlines() == [
        "|           |   n |",
        "| --------- | --: |",
        "| long name |   1 |",
        "| x         | 100 |",
    ]


def test_detection_is_told_in_per_cent_and_what_is_missing_by_a_dash() -> None:
    line = detection_table([ROW]).splitlines()[-1]

    cells = [cell.strip() for cell in line.strip("|").split("|")]
    expected = [
        "row",
        "50.0",
        "25.0",
        "37.5",
        "30.0 to 45.0",
        "0.0120",
        "99.0",
        "98.0",
        "–",
        "42.0",
    ]
    assert cells == expected


def test_rows_of_other_kinds_leave_cells_empty() -> None:
    lines = detection_table([ROW, THESIS]).splitlines()

    assert "mDICE darker circle" in lines[0]
    assert lines[2].count("–") == 2
    assert "86.1" in lines[3]


def test_reconstruction_is_told_in_thousandths_decibel_and_per_cent() -> None:
    figures = ReconstructionFigures(
        name="x", l1=0.0126, l2=0.0007, psnr=34.0, ssim=0.951, ms_ssim=0.99, images=3
    )

    line = reconstruction_table([figures]).splitlines()[-1]

    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["x", "12.60", "0.70", "34.00", "95.10", "99.00"]


def test_both_files_say_what_made_them(tmp_path: Path) -> None:
    said = {"command": "napari-followup evaluate detection x.npz", "seed": 3}

    page, data = write_report(tmp_path / "new", "detection", "Detection", "text", [ROW], said)

    assert "# Detection" in page.read_text("utf-8")
    assert "- command: napari-followup evaluate detection x.npz" in page.read_text("utf-8")
    values = json.loads(data.read_text("utf-8"), parse_constant=pytest.fail)  # no NaN in it
    assert values["provenance"] == said
    assert values["figures"][0]["mdice"]["growing_circle"] == 0.5
    assert values["figures"][0]["pixel_auprc"] is None


def test_a_file_is_replaced_only_when_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as draft:
            draft.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
