from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_followup.cli.demo import write_montage
from napari_followup.detection.detect import detect
from napari_followup.models.bundle import ModelBundle
from napari_followup.recipe.recipe import Recipe
from napari_followup.series.stack import VisitStack


@pytest.mark.parametrize("has_truth", [True, False])
def test_a_montage_is_a_png_with_its_provenance(
    has_truth: bool,
    tmp_path: Path,
    tiny_series: VisitStack,
    tiny_bundle: ModelBundle,
    tiny_recipe: Recipe,
) -> None:
    from matplotlib.image import imread

    found = detect(tiny_series, tiny_bundle, tiny_recipe)
    if not has_truth:
        found = replace(found, healthy=None)

    path = write_montage(
        tmp_path / "m.png", found, found.mask if has_truth else None, {"seed": 12345}
    )

    height, width = imread(path).shape[:2]
    assert height > 100
    assert width > 100
    assert json.dumps({"seed": 12345}).encode() in path.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_missing_visits_leave_a_gap(
    tmp_path: Path, tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    images = np.array(tiny_series.images)
    images[1] = np.nan
    found = detect(tiny_series.with_images(images), tiny_bundle, tiny_recipe)

    assert write_montage(tmp_path / "m.png", found, None, {}).stat().st_size > 1000


Run = Callable[..., int]


def test_demo_prints_a_table_and_writes_three_files(
    run: Run, model: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"

    assert run("demo", "--model", model, "--recipe", recipe, "--out", out, "--seed", 2) == 0

    assert sorted(path.name for path in out.iterdir()) == [
        "layers.npz",
        "montage.png",
        "visits.csv",
    ]
    text = capsys.readouterr().out
    first, *_ = text.splitlines()  # the tiny model knows no starmen
    assert first.startswith("starman with growing_circle: ")
    assert "the images are probably out of distribution" in first
    assert "\n\n| visit |" in text
    assert len([line for line in text.splitlines() if line.startswith("|")]) == 12
    assert "Mean Dice over visits with an anomaly: " in text
    with np.load(out / "layers.npz", allow_pickle=False) as file:
        assert file["truth"].shape == file["mask"].shape == (10, 1, 64, 64)
        said = json.loads(str(file["provenance"]))
    assert (said["seed"], said["anomaly"], said["model"]) == (2, "growing_circle", "tiny")


def test_the_same_seed_gives_the_same_patient(
    run: Run, model: Path, recipe: Path, tmp_path: Path
) -> None:
    rows = []
    for name in ("one", "two"):
        out = tmp_path / name
        assert run("demo", "--model", model, "--recipe", recipe, "--out", out) == 0
        with (out / "visits.csv").open(newline="") as file:
            rows.append(list(csv.DictReader(file)))

    assert rows[0] == rows[1]


def test_other_kinds_can_be_chosen_and_unknown_ones_are_named(
    run: Run, model: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("demo", "--model", model, "--recipe", recipe, "--out", tmp_path / "demo")

    assert run(*words, "--kind", "transient_circle") == 0
    assert capsys.readouterr().out.count("–") == 9  # a Dice at one visit only
    assert run(*words, "--kind", "hole") == 2
    assert "kind: got 'hole'" in capsys.readouterr().err


def test_view_opens_the_layers_in_napari(
    run: Run, model: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added: dict[str, Any] = {}

    class Viewer:
        def __init__(self, title: str) -> None:
            self.dims = SimpleNamespace()

        def add_image(self, data: Any, name: str, **settings: Any) -> None:
            added[name] = data.shape

        add_labels = add_image

    fake = SimpleNamespace(Viewer=Viewer, run=lambda: added.setdefault("shown", True))
    monkeypatch.setitem(sys.modules, "napari", fake)
    monkeypatch.setenv("DISPLAY", ":0")

    words = ("--model", model, "--recipe", recipe, "--out", tmp_path / "demo", "--view")
    assert run("demo", *words) == 0

    assert added.pop("shown")
    assert set(added) == {"starman with growing_circle", "healthy", "score", "truth", "mask"}
    assert set(added.values()) == {(10, 1, 64, 64)}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a screen")
def test_view_without_a_screen_says_so_and_leaves_the_results(
    run: Run,
    model: Path,
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from napari_followup.io import read_stack

    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    out = tmp_path / "demo"

    assert run("demo", "--model", model, "--recipe", recipe, "--out", out, "--view") == 0

    assert "--view: there is no screen here" in capsys.readouterr().out
    stack = read_stack(out / "layers.npz")
    assert (stack.shape, stack.subject) == ((10, 1, 1, 64, 64), "starman with growing_circle")


def test_a_file_in_the_place_of_the_folder_is_refused(
    run: Run, model: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("demo", "--model", model, "--recipe", recipe, "--out", model) == 2
    said = capsys.readouterr()
    assert "is a file; give a folder" in said.err
    assert not said.out
