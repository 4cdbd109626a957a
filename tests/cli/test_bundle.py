from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from napari_followup.cli.options import recipe_named
from napari_followup.models.bundle import HealthyScores, ModelBundle
from napari_followup.models.catalogue import embedded
from napari_followup.models.files import load_bundle, save_bundle
from napari_followup.models.folder import file_hash

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
    assert f"above {scores.pixel_quantile(0.9999):.3g}" in said
    assert "a threshold from 1 healthy subject is uncertain; give 5 or more" in said


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
    assert "which replaces" in capsys.readouterr().out


def test_show_tells_of_parts_too(
    run: Run, tiny_both: ModelBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = save_bundle(tiny_both, tmp_path / "both.safetensors")

    assert run("bundle", "show", both) == 0

    lines = capsys.readouterr().out.splitlines()
    start = lines.index("part tdm:")
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


Capture = pytest.CaptureFixture[str]

CARD: dict[str, Any] = {
    "about": "twelve heads of " + "a long description " * 8,
    "licence": "CC-BY-4.0",
    "plan": {"steps": None, "ema_decay": 0.9990000001, "stages": ["a", "b"]},
    "legs": [{"steps": 3}, {"steps": 4}],
    "augmented": True,
    "an_unknown_key": {"deeper": {"deepest": 1}},
    "nothing": [],
}


@pytest.fixture
def known(tiny_both: ModelBundle, tmp_path: Path) -> Path:
    """A model with a card, healthy scores and a part."""
    scores = HealthyScores(shares=(1.0, 0.001), heights=(0.0, 9e-05), maxima=(9e-05, 9.5e-05))
    bundle = replace(tiny_both.with_healthy("its recipe", scores), card=CARD)
    return save_bundle(bundle, tmp_path / "known.safetensors")


def test_list_names_embedded_and_installed_models_with_what_they_are(
    run: Run, known: Path, model_folder: Path, capsys: Capture
) -> None:
    model_folder.mkdir()
    shutil.copyfile(known, model_folder / "mine.safetensors")
    (model_folder / "broken.safetensors").write_bytes(b"12345678")
    shutil.copyfile(known, model_folder / f"{embedded()[0]}.safetensors")  # nobody can load it

    assert run("bundle", "list") == 0

    head, *rows, folder, offline = capsys.readouterr().out.splitlines()
    found = {row.split()[0]: row for row in rows}
    assert head.split()[:3] == ["name", "where", "method"]
    assert list(found) == [*embedded(), "broken", "mine"]
    assert "embedded  sdm+tdm" in found["starmen"]
    assert "64 x 64" in found["starmen"]
    assert "folder" in found["mine"]
    assert "16 x 16  CC-BY-4.0" in found["mine"]
    assert found["mine"].endswith(" …")
    assert "cannot be read: broken.safetensors: not a readable" in found["broken"]
    assert folder == f"model folder: {model_folder}"
    assert "offline" in offline


def test_list_of_an_installation_without_models_says_so(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("napari_followup.models.catalogue.FOLDER", tmp_path / "none")

    assert run("bundle", "list") == 0
    assert capsys.readouterr().out.startswith("no models are installed")


def test_show_prints_the_card_whatever_it_holds(run: Run, known: Path, capsys: Capture) -> None:
    assert run("bundle", "show", known) == 0

    lines = capsys.readouterr().out.splitlines()
    assert f"fingerprint: {load_bundle(known).fingerprint}" in lines
    assert "image size: 16 x 16" in lines
    assert "licence: CC-BY-4.0" in lines
    place = lines.index("plan:")
    assert lines[place + 1 : place + 4] == ["  steps: none", "  ema decay: 0.999", "  stages: a, b"]
    assert lines[place + 4 : place + 6] == ["legs 1:", "  steps: 3"]
    assert "augmented: yes" in lines
    assert lines[lines.index("an unknown key:") + 1 :][:2] == ["  deeper:", "    deepest: 1"]
    assert "nothing: none" in lines
    place = lines.index("healthy scores for 1 recipe:")
    assert "1 pixel in 10 000 above 9e-05, 1 subject in 10 above 9.45e-05" in lines[place + 1]
    assert "part tdm:" in lines
    assert "  name: tiny-tdm" in lines
    assert max(map(len, lines)) < 130


def test_a_long_text_is_wrapped_and_stays_whole(run: Run, known: Path, capsys: Capture) -> None:
    assert run("bundle", "show", known) == 0

    text = capsys.readouterr().out
    assert f"about: {CARD['about'].strip()}" in " ".join(text.split())


def test_export_and_install_go_together(
    run: Run, known: Path, model_folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out.safetensors"

    assert run("bundle", "export", known, out) == 0
    path, said = capsys.readouterr().out.splitlines()
    assert path == str(out)
    sha256 = said.removeprefix("sha256: ")
    assert run("bundle", "install", out, "--sha256", sha256, "--name", "mine") == 0

    assert (
        capsys.readouterr().out
        == f"{model_folder / 'mine.safetensors'}: load it as 'mine'; it works offline\n"
    )
    assert run("bundle", "export", "mine", out) == 2
    assert "already exists; give --replace" in capsys.readouterr().err
    assert run("bundle", "export", "mine", out, "--replace") == 0


def test_install_downloads_and_says_what_is_wrong(
    run: Run, known: Path, model_folder: Path, web: Any, capsys: Capture
) -> None:
    shutil.copyfile(known, web.folder / "far.safetensors")
    address, right = f"{web.address}/far.safetensors", file_hash(known)

    assert run("bundle", "install", address) == 2
    assert "give its hash too (--sha256)" in capsys.readouterr().err
    assert run("bundle", "install", address, "--sha256", "0" * 64) == 2
    assert f"its SHA-256 is {right}, not 0000" in capsys.readouterr().err
    assert run("bundle", "install", f"{address}.old", "--sha256", right) == 2
    assert "download failed (404" in capsys.readouterr().err
    assert run("bundle", "install", address, "--sha256", right) == 0
    assert "load it as 'far'" in capsys.readouterr().out
    assert load_bundle("far").fingerprint == load_bundle(known).fingerprint


def test_a_long_download_says_how_far_it_is(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_followup.cli import bundle, options

    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(options.time, "monotonic", lambda: float(next(clock)))
    tell = bundle._meter()
    for done in (10_000, 5_000_000, 10_000_000):
        tell(done, 10_000_000)

    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        "MB 1 of 11",
        "MB 5 of 11",
        "MB 10 of 11",
    ]


def test_verify_runs_the_model_and_its_part(run: Run, known: Path, capsys: Capture) -> None:
    assert run("bundle", "verify", known) == 0

    own, part = capsys.readouterr().out.splitlines()
    assert own.startswith(f"tiny (sdm): fingerprint {load_bundle(known).fingerprint}, as stored; ")
    assert part.startswith("tiny-tdm (tdm): fingerprint ")


def test_verify_says_what_is_wrong(run: Run, known: Path, capsys: Capture) -> None:
    known.write_bytes(known.read_bytes()[:-1])

    assert run("bundle", "verify", known) == 2
    assert (
        "known.safetensors: not a readable model file (it is truncated" in capsys.readouterr().err
    )
