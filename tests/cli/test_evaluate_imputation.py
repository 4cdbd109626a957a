from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from napari_followup.cli.evaluate_imputation import PARTS
from napari_followup.models.files import ModelBundle, save_bundle
from napari_followup.synthetic import starmen

Run = Callable[..., int]


@pytest.fixture
def words(tiny_both: ModelBundle, recipe: Path, tmp_path: Path) -> list[object]:
    """Seven subjects of six visits, and a model that neither knows nor learned any of them."""
    stacks = starmen(7, visits=6, seed=8)
    cohort = tmp_path / "cohort.npz"
    np.savez(
        cohort,
        images=np.stack([stack.images[:, 0, 0] for stack in stacks]),
        ages=np.stack([stack.ages + 62 for stack in stacks]),
        split=np.array(["train"] * 2 + ["val"] * 5),
    )
    model = save_bundle(tiny_both, tmp_path / "both.safetensors")
    out = tmp_path / "out"
    return [cohort, "--split", "val", "--model", model, "--recipe", recipe, "--out", out]


@pytest.mark.parametrize("part", ["next", "ahead", "pairs", "anomalies"])
def test_a_part_is_printed_and_written(
    part: str, run: Run, words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("--subjects", 4, "--pairs", 2, "--subcode-subjects", 0)

    assert run("evaluate", "imputation", *words, "--part", part, *few) == 0

    out = tmp_path / "out"
    name = f"imputation_{part}"
    text = capsys.readouterr().out
    assert text.startswith("**")
    assert str(out / f"{name}.md") in text
    figures = json.loads((out / f"{name}.json").read_text("utf-8"))["figures"]
    with (out / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [row["name"] for row in figures]
    assert float(rows[0]["interval_low"]) <= float(rows[0]["psnr"])
    assert (out / f"{name}.png").exists() == (part == "pairs")


def test_references_are_plotted_with_a_column_a_kind(
    run: Run, words: list[object], tmp_path: Path
) -> None:
    more = ("--part", "references", "--patients", 1)
    assert run("evaluate", "imputation", *words, *more) == 0

    with (tmp_path / "out" / "imputation_references.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["observed"] for row in rows[:7]] == ["2", "2", "3", "3", "4", "4", "6"]
    assert "mdice_darker_line" in rows[-1]
    assert (tmp_path / "out" / "imputation_references.png").exists()


def test_speed_is_measured_on_the_first_subject(
    run: Run, words: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", "imputation", *words, "--part", "speed", "--device", "cpu") == 0

    text = capsys.readouterr().out
    assert "our default, network alone" in text
    assert "On cpu, " in text
    assert "preset thesis" not in text  # its planes are larger than this model's


def test_parts_are_those_of_the_help(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(PARTS) == ["next", "ahead", "pairs", "anomalies", "references", "speed"]
    assert run("evaluate", "imputation", "data", "--part", "guess") == 2
    assert "invalid choice: 'guess'" in capsys.readouterr().err


def test_a_model_without_a_tdm_is_refused(
    run: Run, words: list[object], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", "imputation", *words, "--model", model) == 2
    assert "has no tdm" in capsys.readouterr().err
