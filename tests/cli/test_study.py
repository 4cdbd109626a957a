from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from napari_followup.methods import method_class
from napari_followup.models.bundle import ModelBundle
from napari_followup.models.files import save_bundle
from napari_followup.recipe.recipe import Own, Pixel, Quantile, Recipe
from napari_followup.synthetic import starmen

Run = Callable[..., int]
SMALL = ("--patients", 1, "--healthy", 1, "--device", "cpu")


def untrained(folder: Path, name: str, method: str, score: object, **settings: object) -> Path:
    import torch

    torch.manual_seed(0)
    kind = method_class(method)
    model = kind(kind.config_type(image_size=(16, 16), channels=(8, 16), **settings))
    bundle = ModelBundle(
        name=name,
        method=method,
        config=asdict(model.config),
        weights=model.state_dict(),
        card={"plan": {"batch": 4}, "losses": {"all": {"batches": 5}}},
        own_recipe=Recipe(score=score, threshold=Quantile()),
    )
    return save_bundle(bundle, folder / f"{name}.safetensors")


@pytest.fixture
def disyre(tmp_path: Path) -> Path:
    settings = {"blocks": 1, "attention": (1,), "unshuffle": 2, "condition_features": 16}
    return untrained(tmp_path, "starmen-disyre", "disyre", Own(), **settings)


@pytest.fixture
def erasing(tmp_path: Path) -> str:
    settings = {"dimensions": 2, "code_features": 8}
    one = untrained(tmp_path, "erasing", "vae3d", Pixel(), **settings)
    other = untrained(tmp_path, "plain", "vae3d", Pixel(), erasing_chance=0.0, **settings)
    return f"erasing={one},{other}"


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Six subjects to measure on and four to learn from, three visits each."""
    stacks = starmen(10, visits=3, seed=8)
    path = tmp_path / "cohort.npz"
    np.savez(
        path,
        images=np.stack([stack.images[:, 0, 0] for stack in stacks]),
        ages=np.stack([stack.ages for stack in stacks]),
        split=np.array(["train"] * 4 + ["val"] * 6),
    )
    return path


def test_one_command_measures_every_model_and_the_baseline(
    run: Run, cohort: Path, disyre: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ("study", "starmen", cohort, "--models", disyre, "--out", out, *SMALL, "--held-out", 2)
    words += ("--published",)

    assert run(*words) == 0

    said = capsys.readouterr()
    rows = list(csv.DictReader((out / "study.csv").read_text("utf-8").splitlines()))
    assert [(row["model"], row["recipe"]) for row in rows[:4]] == [
        ("starmen-disyre", "default recipe, without LAFM"),
        ("starmen-disyre", "its score, with LAFM"),
        ("starmen-disyre", "published recipe"),
        ("PCA(11)", "default recipe"),
    ]
    assert rows[0]["images_seen"] == "20"
    assert rows[2]["healthy_scores"] == "held out"
    assert "baseline: mDICE" in said.out
    assert "cohort.npz, split val; 2 subjects for thresholds" in said.err
    assert "patient 12 of 12, about 0:00 left" in said.err
    kept = json.loads((out / "study.json").read_text("utf-8"))
    assert len(kept["figures"]) == len(rows)
    assert kept["figures"][0]["fingerprint"] in kept["provenance"]["models"]

    before = (out / "study.csv").read_text("utf-8")
    assert run(*words) == 0
    assert "patient" not in capsys.readouterr().err.replace("subjects", "")
    assert (out / "study.csv").read_text("utf-8") == before


def test_claims_and_pairs_have_a_table_of_their_own(
    run: Run, cohort: Path, disyre: Path, erasing: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = (cohort, "--models", disyre, "--out", out, *SMALL, "--held-out", 0)

    more = ("--claims", "--pair", erasing)
    assert run("study", "starmen", *words, *more) == 0

    found = json.loads((out / "claims.json").read_text("utf-8"))["figures"]
    assert [(each["name"], each["model"]) for each in found] == [
        ("chain", "starmen-disyre"),
        ("erasing", "erasing, plain"),
    ]
    assert all(each["verdict"] for each in found)
    assert "published" not in (out / "study.csv").read_text("utf-8")
    assert "not asked, no model of andi" in (out / "claims.md").read_text("utf-8")


def test_a_cohort_without_splits_is_halved_by_subject(
    run: Run, cohort: Path, disyre: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = tmp_path / "plain.npz"
    with np.load(cohort) as data:
        np.savez(plain, images=data["images"], ages=data["ages"])
    words = ("--models", disyre, "--out", tmp_path / "out", *SMALL, "--held-out", 0)

    assert run("study", "starmen", plain, *words) == 0
    assert "plain.npz, 5 of 10 series drawn to measure on; 0 subjects" in capsys.readouterr().err
    assert run("study", "starmen", plain, *words, "--split", "val") == 2
    assert "has no 'split'" in capsys.readouterr().err


def test_subjects_are_generated_when_none_are_given(
    run: Run, disyre: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_followup.cli.study.MADE_TRAINING", 3)
    out = tmp_path / "out"

    assert run("study", "starmen", "--models", disyre, "--out", out, *SMALL, "--held-out", 1) == 0

    page = (out / "study.md").read_text("utf-8")
    assert "generated by napari_followup.synthetic.starmen(subjects=8, seed=20000)" in page


def test_thresholds_from_training_subjects_are_told(
    run: Run, cohort: Path, disyre: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = (cohort, "--models", disyre, "--out", out, *SMALL, "--healthy", 3, "--held-out", 5)

    assert run("study", "starmen", *words) == 0

    page = (out / "study.md").read_text("utf-8")
    assert "thresholds from subjects that models may have been trained on" in page
    assert "2 other healthy subjects for thresholds" in page
    assert "PCA(5)" in page


def test_held_out_subjects_are_used_however_few(
    run: Run, cohort: Path, disyre: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = (cohort, "--models", disyre, "--out", out, *SMALL, "--healthy", 2, "--held-out", 5)

    assert run("study", "starmen", *words) == 0

    page = (out / "study.md").read_text("utf-8")
    assert "1 other healthy subject for thresholds" in page
    assert "may have been trained on" not in page
    assert "PCA(11)" in page


def test_without_held_out_subjects_thresholds_are_nobodys(
    run: Run, cohort: Path, disyre: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = (cohort, "--models", disyre, "--out", out, *SMALL, "--held-out", 0)

    assert run("study", "starmen", *words) == 0

    rows = csv.DictReader((out / "study.csv").read_text("utf-8").splitlines())
    assert {row["healthy_scores"] for row in rows} == {""}
    page = (out / "study.md").read_text("utf-8")
    assert "PCA(11), its score, with LAFM: the model knows no healthy scores" in page
    assert "may have been trained on" not in page


def test_a_name_that_is_listed_twice_is_one_model(
    run: Run, cohort: Path, disyre: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_FOLLOWUP_MODELS", str(disyre.parent))
    for listed in ("embedded", "installed"):
        monkeypatch.setattr(
            f"napari_followup.models.catalogue.{listed}", lambda: ["starmen-disyre"]
        )
    monkeypatch.setattr("napari_followup.models.catalogue.embedded_path", lambda name: None)
    out = tmp_path / "out"

    assert run("study", "starmen", cohort, "--out", out, *SMALL) == 0


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--models", "nothing-like-it"), "no model 'nothing-like-it'"),
        (("--pair", "erasing=one"), "pair: got 'erasing=one'; give CLAIM=FIRST,SECOND"),
        (("--patients", "3"), "need more than 9 subjects, got 6"),
    ],
)
def test_what_cannot_be_measured_is_told_in_one_line(
    more: tuple[str, ...],
    text: str,
    run: Run,
    cohort: Path,
    disyre: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = (cohort, "--models", disyre, "--out", tmp_path / "out", *SMALL)

    assert run("study", "starmen", *words, *more) == 2
    assert text in capsys.readouterr().err


def test_two_models_of_one_name_are_refused(
    run: Run, cohort: Path, disyre: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (cohort, "--models", disyre, disyre, "--out", tmp_path / "out", *SMALL)

    assert run("study", "starmen", *words) == 2
    assert "has the name of another, 'starmen-disyre'" in capsys.readouterr().err
