from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from napari_followup.bundle import load_bundle
from napari_followup.catalogue import embedded
from napari_followup.cli.options import recipe_named

Run = Callable[..., int]


def test_list_names_every_embedded_model(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("bundle", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == (embedded() or ["no"])


def test_show_tells_what_a_model_says_of_itself(
    run: Run, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("bundle", "show", model) == 0
    text = capsys.readouterr().out
    assert f"fingerprint: {load_bundle(model).fingerprint}" in text
    assert "image size: 16 x 16" in text
    assert "about: untrained" in text
    assert "healthy scores for 0 recipes" in text


def test_calibrate_adds_healthy_scores_for_one_more_recipe(
    run: Run,
    model: Path,
    recipe: Path,
    series: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "calibrated.safetensors"

    assert run("bundle", "calibrate", model, series, "--recipe", recipe, "--out", out) == 0

    found = load_bundle(out)
    scores = found.healthy[recipe_named(str(recipe)).score_key]
    assert len(scores.maxima) == 1
    assert not load_bundle(model).healthy
    assert found.fingerprint == load_bundle(model).fingerprint
    assert f"above {scores.height(0.9999):.4f}" in capsys.readouterr().out


def test_calibrate_wants_a_name_that_load_bundle_takes(
    run: Run, model: Path, series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("bundle", "calibrate", model, series, "--out", tmp_path / "x.pt") == 2
    assert "end the name in .safetensors" in capsys.readouterr().err
