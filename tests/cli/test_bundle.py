from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from napari_followup.cli.options import recipe_named
from napari_followup.models.files import ModelBundle, load_bundle, save_bundle

Run = Callable[..., int]


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
    scores = found.healthy[recipe_named(str(recipe), found).score_key]
    assert len(scores.maxima) == 1
    assert not load_bundle(model).healthy
    assert found.fingerprint == load_bundle(model).fingerprint
    said = capsys.readouterr().out
    assert f"above {scores.height(0.9999):.3g}" in said
    assert "the line of 1 healthy subject is a guess: subjects differ; give 5 or more" in said


def test_calibrate_makes_a_recipe_the_models_own(
    run: Run, model: Path, recipe: Path, series: Path, tmp_path: Path
) -> None:
    out = tmp_path / "own.safetensors"

    assert run("bundle", "calibrate", model, series, "--recipe", recipe, "--own", "--out", out) == 0

    assert load_bundle(out).recipe == recipe_named(str(recipe), load_bundle(model))
    assert load_bundle(model).own_recipe is None


def test_calibrate_chooses_a_recipe(
    run: Run,
    model: Path,
    recipe: Path,
    series: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "chosen.safetensors"

    assert (
        run("bundle", "calibrate", model, series, "--recipe", recipe, "--choose", "--out", out) == 0
    )

    found, lines = load_bundle(out), capsys.readouterr().out.splitlines()
    given = recipe_named(str(recipe), load_bundle(model))
    assert [line.startswith("mDICE ") for line in lines[:18]] == [True] * 18
    assert len(found.card["recipes_tried"]) == 18
    assert "mdice_percent" in found.card["sees"]
    best = max(found.card["recipes_tried"], key=lambda each: float(each["mdice_percent"]))
    is_better = best["mdice_percent"] > found.card["recipes_tried"][0]["mdice_percent"] + 3
    assert is_better == (found.own_recipe is not None)
    assert is_better != (lines[18] == "none is clearly better; the model keeps its recipe")
    assert (found.recipe if is_better else given).score_key in found.healthy


def test_calibrate_wants_a_name_that_load_bundle_takes(
    run: Run, model: Path, series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("bundle", "calibrate", model, series, "--out", tmp_path / "x.pt") == 2
    assert "end the name in .safetensors" in capsys.readouterr().err


@pytest.fixture
def part(tiny_tdm: ModelBundle, tmp_path: Path) -> Path:
    return save_bundle(tiny_tdm, tmp_path / "models" / "tdm.safetensors")


def test_join_puts_two_models_into_one_file(
    run: Run, model: Path, part: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "both.safetensors"

    assert run("bundle", "join", model, part, "--out", out) == 0

    found = load_bundle(out)
    assert found.fingerprint == load_bundle(model).fingerprint
    assert found.part("tdm").fingerprint == load_bundle(part).fingerprint
    assert f"{out}: tiny (sdm, " in capsys.readouterr().out

    assert run("bundle", "join", out, part, "--out", out) == 0
    assert "in the place of" in capsys.readouterr().out


def test_show_tells_of_parts_too(
    run: Run, tiny_both: ModelBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = save_bundle(tiny_both, tmp_path / "both.safetensors")

    assert run("bundle", "show", both) == 0

    lines = capsys.readouterr().out.splitlines()
    start = lines.index("with a part, tdm:")
    assert lines[start + 1 : start + 3] == ["  name: tiny-tdm", "  method: tdm"]


def test_models_of_one_method_are_not_joined(
    run: Run, model: Path, part: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.safetensors"

    assert run("bundle", "join", model, model, "--out", out) == 2
    assert "give models of different methods" in capsys.readouterr().err
    assert run("bundle", "join", model, part, "--out", tmp_path / "x.pt") == 2
    assert "end the name in .safetensors" in capsys.readouterr().err
    assert run("bundle", "join", model, tmp_path / "ghost", "--out", out) == 2
    assert "no model" in capsys.readouterr().err
    assert not out.exists()


def test_a_model_whose_weights_do_not_fit_is_not_joined(
    run: Run,
    model: Path,
    tiny_tdm: ModelBundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong = replace(tiny_tdm, config={**tiny_tdm.config, "condition_features": 32})
    part = save_bundle(wrong, tmp_path / "wrong.safetensors")

    assert run("bundle", "join", model, part, "--out", tmp_path / "out.safetensors") == 2
    assert "its weights do not fit its configuration" in capsys.readouterr().err


def test_models_of_other_images_are_not_joined(
    run: Run,
    model: Path,
    tiny_tdm: ModelBundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = replace(tiny_tdm, config={**tiny_tdm.config, "modalities": 2})
    part = save_bundle(other, tmp_path / "other.safetensors")

    assert run("bundle", "join", model, part, "--out", tmp_path / "out.safetensors") == 2
    assert "modalities: 'tiny-tdm' takes 2 and 'tiny' 1" in capsys.readouterr().err


def test_the_temporal_recipe_is_calibrated_in_the_part_it_uses(
    run: Run, tiny_both: ModelBundle, series: Path, tmp_path: Path
) -> None:
    both = save_bundle(tiny_both, tmp_path / "both.safetensors")
    out = tmp_path / "calibrated.safetensors"

    assert run("bundle", "calibrate", both, series, "--recipe", "temporal", "--out", out) == 0

    found = load_bundle(out)
    assert not found.healthy
    assert list(found.part("tdm").healthy) == [recipe_named("temporal", found).score_key]


def test_join_takes_the_names_of_installed_models(
    run: Run, model: Path, tiny_tdm: ModelBundle, model_folder: Path, tmp_path: Path
) -> None:
    save_bundle(tiny_tdm, model_folder / "mine.safetensors")
    out = tmp_path / "out.safetensors"

    assert run("bundle", "join", model, "mine", "--out", out) == 0
    assert list(load_bundle(out).parts) == ["tdm"]


def test_calibrate_measures_what_only_trained_weights_can_tell(
    run: Run,
    tiny_anofpdm: ModelBundle,
    series: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, out = (
        save_bundle(tiny_anofpdm, tmp_path / "model.safetensors"),
        tmp_path / "x.safetensors",
    )

    assert run("bundle", "calibrate", model, series, "--out", out) == 0

    found = load_bundle(out).config["largest_difference"]
    assert found > 0
    assert f"measured: largest_difference {found}, healthy_similarity" in capsys.readouterr().out
