from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from napari_followup.cli.evaluate import PARTS
from napari_followup.models.bundle import ModelBundle
from napari_followup.models.files import save_bundle
from napari_followup.synthetic import starmen

Run = Callable[..., int]


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Eight subjects to evaluate on and four to learn from, three visits each."""
    stacks = starmen(12, visits=3, seed=8)
    path = tmp_path / "cohort.npz"
    np.savez(
        path,
        images=np.stack([stack.images[:, 0, 0] for stack in stacks]),
        ages=np.stack([stack.ages for stack in stacks]),
        split=np.array(["train"] * 4 + ["val"] * 8),
    )
    return path


@pytest.fixture
def words(cohort: Path, model: Path, recipe: Path, tmp_path: Path) -> list[object]:
    out = tmp_path / "out"
    return [cohort, "--split", "val", "--model", model, "--recipe", recipe, "--out", out]


def figures_of(path: Path) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in json.loads(path.read_text("utf-8"))["figures"]}


def test_detection_prints_and_writes_every_row(
    run: Run, words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ("default", "pca", "ceiling", "thesis")

    assert run("evaluate", "detection", *words, "--patients", 2, "--rows", *rows) == 0

    text = capsys.readouterr().out
    names = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")][2:]
    found = figures_of(tmp_path / "out" / "detection.json")
    assert names == list(found)
    assert names[0] == "default recipe"
    assert "ceiling of the published recipe" in names
    assert sum(name.startswith("PCA(") for name in names) == 2
    assert found["default recipe"]["patients"] == {
        "growing_circle": 2,
        "darker_circle": 2,
        "darker_line": 2,
        "healthy": 2,
    }
    page = (tmp_path / "out" / "detection.md").read_text("utf-8")
    assert "- command: napari-followup evaluate detection" in page
    assert "- model: tiny 1, " in page


def test_extra_anomalies_have_a_table_of_their_own(
    run: Run, words: list[object], tmp_path: Path
) -> None:
    assert (
        run("evaluate", "detection", *words, "--extra", "--patients", 1, "--rows", "default") == 0
    )

    (row,) = figures_of(tmp_path / "out" / "detection_extra.json").values()
    assert set(row["mdice"]) == {
        "transient_circle",
        "faint_disc",
        "erased_limb",
        "background_square",
        "local_blur",
    }


def test_generic_anomalies_are_for_images_that_are_no_starmen(
    run: Run, words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--generic", "--patients", 1, "--rows", "default", "thesis")
    assert run("evaluate", "detection", *words, *more) == 0

    (row,) = figures_of(tmp_path / "out" / "detection_generic.json").values()
    assert set(row["mdice"]) == {"darker_blob", "brighter_blob", "foreign_patch"}
    assert run("evaluate", "detection", *words, "--generic", "--extra") == 2
    assert "not allowed with argument" in capsys.readouterr().err


def test_rows_that_a_method_cannot_give_are_left_out_with_a_note(
    run: Run, words: list[object], tiny_tdm: ModelBundle, tmp_path: Path
) -> None:
    other = save_bundle(tiny_tdm, tmp_path / "tdm.safetensors")
    words[words.index("--model") + 1] = other
    words[words.index("--recipe") + 1] = "default"
    rows = ("--rows", "default", "published", "yen", "fam", "pca", "ceiling")

    assert run("evaluate", "detection", *words, "--patients", 1, *rows) == 0

    names = list(figures_of(tmp_path / "out" / "detection.json"))
    assert names[:2] == ["default recipe", "pixel distance + Yen"]
    assert [name.partition("(")[0] for name in names[2:]] == ["PCA", "PCA"]
    page = (tmp_path / "out" / "detection.md").read_text("utf-8")
    assert "published recipe: left out, method 'tdm' has none" in page
    assert "FAM + Yen, no fusion: left out, score Fam: " in page
    assert "ceiling of the default recipe: left out, score Temporal" in page


def test_data_without_a_training_split_have_no_learned_rows(
    run: Run, words: list[object], tmp_path: Path
) -> None:
    more = ("--patients", 1, "--rows", "default", "pca", "ceiling", "--training-split", "taught")

    assert run("evaluate", "detection", *words, *more) == 0

    assert list(figures_of(tmp_path / "out" / "detection.json")) == ["default recipe"]
    page = (tmp_path / "out" / "detection.md").read_text("utf-8")
    assert "pca and ceiling: left out, 'cohort.npz': split: got 'taught'" in page


def test_reconstruction_is_quoted_at_the_level_and_as_the_recipe_has_it(
    run: Run, words: list[object], tmp_path: Path
) -> None:
    assert run("evaluate", "reconstruction", *words, "--level", 5) == 0

    found = figures_of(tmp_path / "out" / "reconstruction.json")
    assert list(found)[:2] == ["level 5, one draw", "recipe itself"]
    assert found["level 5, one draw"]["images"] == 24


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--patients", "3"), "need more than 9 subjects, got 8"),
        (("--patients", "1", "--rows", "thesis"), "rows: nothing to measure"),
        (("--split", "test"), "split: got 'test'"),
    ],
)
def test_too_little_to_measure_is_the_users_error(
    more: tuple[str, ...],
    text: str,
    run: Run,
    words: list[object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("evaluate", "detection", *words, *more) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("question", ["detection", "reconstruction"])
def test_sick_series_are_refused(
    question: str,
    run: Run,
    words: list[object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sick = tmp_path / "sick.npz"
    assert run("synthesize", "--out", sick, "--kind", "darker_line", "--subjects", 2) == 0

    assert run("evaluate", question, sick, *words[3:]) == 2
    assert "'sick.npz': these series are marked as sick" in capsys.readouterr().err


def test_a_made_up_cohort_can_be_evaluated_by_its_split(
    run: Run, words: list[object], tmp_path: Path
) -> None:
    cohort = tmp_path / "made.npz"
    made = ("--subjects", 8, "--visits", 2, "--validation-share", 0.5)
    assert run("synthesize", "--out", cohort, *made) == 0

    more = ("--patients", 1, "--rows", "default")
    assert run("evaluate", "detection", cohort, *words[1:], *more) == 0


@pytest.fixture
def imputation_words(tiny_both: ModelBundle, recipe: Path, tmp_path: Path) -> list[object]:
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
    part: str,
    run: Run,
    imputation_words: list[object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    few = ("--subjects", 4, "--pairs", 2, "--subcode-subjects", 0)

    assert run("evaluate", "imputation", *imputation_words, "--part", part, *few) == 0

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
    run: Run, imputation_words: list[object], tmp_path: Path
) -> None:
    more = ("--part", "references", "--patients", 1)
    assert run("evaluate", "imputation", *imputation_words, *more) == 0

    with (tmp_path / "out" / "imputation_references.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["observed"] for row in rows[:7]] == ["2", "2", "3", "3", "4", "4", "6"]
    assert "mdice_darker_line" in rows[-1]
    assert (tmp_path / "out" / "imputation_references.png").exists()


def test_speed_is_measured_on_the_first_subject(
    run: Run, imputation_words: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run("evaluate", "imputation", *imputation_words, "--part", "speed", "--device", "cpu") == 0
    )

    text = capsys.readouterr().out
    assert "our default, network alone" in text
    assert "On cpu, " in text
    assert "preset thesis" not in text  # its planes are larger than this model's


def test_parts_are_those_of_the_help(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(PARTS) == ["next", "ahead", "pairs", "anomalies", "references", "speed"]
    assert run("evaluate", "imputation", "data", "--part", "guess") == 2
    assert "invalid choice: 'guess'" in capsys.readouterr().err


def test_a_model_without_a_tdm_is_refused(
    run: Run, imputation_words: list[object], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", "imputation", *imputation_words, "--model", model) == 2
    assert "has no tdm" in capsys.readouterr().err
