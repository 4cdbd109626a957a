from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from napari_followup.models.files import ModelBundle, save_bundle
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
