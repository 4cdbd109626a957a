from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_followup.io import read_stack, write_nifti, write_npz
from napari_followup.models.bundle import ModelBundle
from napari_followup.models.files import save_bundle
from napari_followup.series.results import Cancelled
from napari_followup.series.stack import VisitStack

Run = Callable[..., int]


@pytest.fixture
def both(tiny_both: ModelBundle, tmp_path: Path) -> Path:
    return save_bundle(tiny_both, tmp_path / "models" / "both.safetensors")


@pytest.fixture
def gappy(tiny_series: VisitStack, tmp_path: Path) -> Path:
    """The second of four visits is missing."""
    seen = np.array([True, False, True, True])
    path = tmp_path / "gappy.npz"
    images = np.where(seen[:, None, None, None, None], tiny_series.images, np.nan)
    write_npz(path, tiny_series.with_images(images, is_observed=seen, subject="gappy"))
    return path


@pytest.fixture
def words(both: Path, tmp_path: Path) -> list[object]:
    return ["--model", both, "--out", tmp_path / "out", "--device", "cpu"]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_missing_visits_are_filled_and_the_file_says_which(
    run: Run, gappy: Path, words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("impute", gappy, *words) == 0

    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["gappy.csv", "gappy.npz"]
    back = read_stack(out / "gappy.npz")
    assert back.is_observed.tolist() == [True, False, True, True]
    assert not back.is_missing.any()
    assert back.ages.tolist() == [60.0, 61.0, 62.5, 64.0]
    assert (back.provenance["strategy"], back.provenance["imputed_ages"]) == ("joint", [61.0])
    assert back.provenance["command"].startswith("napari-followup impute ")
    rows = rows_of(out / "gappy.csv")
    assert [row["image"] for row in rows] == ["1", "2", "3", "4"]
    assert [row["state"] for row in rows] == ["observed", "imputed", "observed", "observed"]
    assert [row["strategy"] for row in rows] == ["", "joint", "", ""]
    text = capsys.readouterr().out
    assert text.startswith("gappy: 1 of 4 visits imputed (joint), at 61 (")
    assert f"Written to {out}: 1 series" in text


def test_ages_may_be_given(run: Run, series: Path, words: list[object], tmp_path: Path) -> None:
    assert run("impute", series, *words, "--ages", 63.5, 59) == 0

    back = read_stack(tmp_path / "out" / "tiny.npz")
    assert back.ages[~back.is_observed].tolist() == [59.0, 63.5]


def test_years_to_come_are_forecast(
    run: Run, series: Path, words: list[object], tmp_path: Path
) -> None:
    assert run("impute", series, *words, "--forecast", 2, "--interval", 0.5) == 0

    back = read_stack(tmp_path / "out" / "tiny.npz")
    assert back.ages[~back.is_observed].tolist() == [64.5, 65.0]


def test_the_same_seed_gives_the_same_file(
    run: Run, gappy: Path, words: list[object], tmp_path: Path
) -> None:
    images = []
    for seed in (1, 1, 2):
        assert run("impute", gappy, *words, "--seed", seed) == 0
        images.append(read_stack(tmp_path / "out" / "gappy.npz").images)

    np.testing.assert_array_equal(images[0], images[1])
    assert (images[0] != images[2]).any()


def test_a_spread_is_written_and_passed_over_by_the_reader(
    run: Run, gappy: Path, words: list[object], tmp_path: Path
) -> None:
    assert run("impute", gappy, *words, "--spread", "--sampling-steps", 2, "--tiff") == 0

    out = tmp_path / "out"
    spread = np.load(out / "gappy.npz")["spread"]
    assert spread.shape == read_stack(out / "gappy.npz").shape
    assert np.isfinite(spread[1]).all()
    assert np.isnan(spread[[0, 2, 3]]).all()
    for name in ("gappy_images.tif", "gappy_spread.tif"):
        assert tifffile.imread(out / name).squeeze().shape == (4, 16, 16)


def test_a_tiff_says_which_visits_were_imputed(
    run: Run, gappy: Path, words: list[object], tmp_path: Path
) -> None:
    assert run("impute", gappy, *words, "--spread", "--sampling-steps", 2, "--tiff") == 0

    images = read_stack(tmp_path / "out" / "gappy_images.tif")
    whole = read_stack(tmp_path / "out" / "gappy.npz")
    np.testing.assert_array_equal(images.images, whole.images)
    assert images.is_observed.tolist() == [True, False, True, True]
    assert not images.is_missing.any()
    spread = read_stack(tmp_path / "out" / "gappy_spread.tif")
    assert spread.is_observed.tolist() == [False, True, False, False]


@pytest.mark.parametrize("strategy", ["both sides", "direct", "chain", "lerp-slerp"])
def test_every_strategy_can_be_asked_for(
    strategy: str, run: Run, gappy: Path, words: list[object], tmp_path: Path
) -> None:
    more = ("--strategy", strategy, "--sampling-steps", 2)
    assert run("impute", gappy, *words, *more) == 0

    assert read_stack(tmp_path / "out" / "gappy.npz").provenance["strategy"] == strategy


def test_what_is_imputed_serves_detect_as_a_reference(
    run: Run,
    gappy: Path,
    words: list[object],
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("impute", gappy, *words) == 0
    filled, out = tmp_path / "out" / "gappy.npz", tmp_path / "found"
    more = ("--recipe", recipe, *words[:2], "--out", out)

    assert run("detect", filled, *more, "--imputed-references") == 0

    assert "imputed visits served as references only: 2" in capsys.readouterr().out
    assert not np.load(out / "gappy.npz")["mask"][1].any()


def test_a_complete_series_is_passed_over(
    run: Run,
    gappy: Path,
    series: Path,
    words: list[object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("impute", series, gappy, *words) == 0
    assert "tiny: no visit is missing; give --ages or --forecast" in capsys.readouterr().out
    assert not (tmp_path / "out" / "tiny.npz").exists()

    assert run("impute", series, *words) == 2
    assert "nothing was imputed" in capsys.readouterr().err


def test_one_failing_series_does_not_stop_the_rest(
    run: Run, gappy: Path, words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"no archive")

    assert run("impute", bad, gappy, *words) == 1

    assert f"error: {bad}: " in capsys.readouterr().err
    assert (tmp_path / "out" / "gappy.npz").exists()


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--strategy", "guess"), "strategy: got 'guess'; give one of joint"),
        (("--spread", "--draws", "1"), "spread: needs 2 draws or more"),
        (("--interval", "2"), "interval: works with --forecast only"),
        (("--model", "ghost"), "no model 'ghost'"),
        (("--device", "abacus"), "device: got 'abacus'"),
        (("--ages", "61", "--forecast", "2"), "not allowed with argument"),
    ],
)
def test_a_wrong_setting_is_said_once_before_any_file(
    more: tuple[str, ...],
    text: str,
    run: Run,
    gappy: Path,
    words: list[object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("impute", gappy, gappy, *words, *more) == 2
    said = capsys.readouterr().err
    assert said.count("error") == 1
    assert text in said
    assert not (tmp_path / "out").exists()


def test_a_model_that_cannot_impute_is_named_before_any_file(
    run: Run, gappy: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("impute", gappy, "--model", model, "--out", tmp_path / "out") == 2
    assert "has no tdm" in capsys.readouterr().err


def test_far_ages_are_a_note_and_no_warning(
    run: Run, gappy: Path, words: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("impute", gappy, *words, "--ages", 200) == 0

    said = capsys.readouterr()
    assert "go beyond those the model was trained on" in said.out
    assert "Warning" not in said.err


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Ctrl-C while a series is at work; with True in the list one visit was finished by then."""
    finishes: list[bool] = []
    door = import_module("napari_followup.prediction.impute")  # nf.impute is the function
    real = door.imputation

    def imputation(*args: Any, on_step: Callable[[int, int], bool], **how: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        assert on_step(1, 2) is False
        stop = Cancelled("stopped")
        stop.partial = real(*args, on_step=None, **how) if finishes else None
        raise stop

    monkeypatch.setattr(door, "imputation", imputation)
    return finishes


def test_ctrl_c_keeps_what_is_finished_under_a_name_of_its_own(
    interrupted: list[bool],
    run: Run,
    gappy: Path,
    words: list[object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupted.append(True)
    before = signal.getsignal(signal.SIGINT)

    assert run("impute", gappy, gappy, *words) == 130

    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["gappy_partial.csv", "gappy_partial.npz"]
    assert read_stack(tmp_path / "out" / "gappy_partial.npz").provenance["stopped_early"]
    assert "the finished visits of this series are in" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_before_anything_is_finished_writes_nothing(
    interrupted: list[bool],
    run: Run,
    gappy: Path,
    words: list[object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("impute", gappy, *words) == 130
    assert "no visit of this series was finished; nothing was written" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("given", ["file", "folder", "table"])
def test_nifti_gives_nifti_back_with_ages_and_what_was_observed(
    given: str, run: Run, gappy: Path, words: list[object], tmp_path: Path
) -> None:
    folder, source = tmp_path / "scans", read_stack(gappy)
    folder.mkdir()
    path = write_nifti(folder / "brain.nii.gz", source)
    if given == "table":
        write_nifti(path, source.select([0]))
        (folder / "visits.csv").write_text("path,age,subject\nbrain.nii.gz,60,gappy\n,61,gappy\n")
    place = {"file": path, "folder": folder, "table": folder / "visits.csv"}[given]

    assert run("impute", place, *words) == 0

    out = tmp_path / "out"
    names = ["gappy.csv", "gappy.npz", "gappy_imputed.json", "gappy_imputed.nii.gz"]
    assert sorted(each.name for each in out.iterdir()) == names
    back, whole = read_stack(out / "gappy_imputed.nii.gz"), read_stack(out / "gappy.npz")
    np.testing.assert_array_equal(back.images, whole.images)
    np.testing.assert_array_equal(back.affine, whole.affine)
    said = json.loads((out / "gappy_imputed.json").read_text())
    assert said["ages"] == whole.ages.tolist()
    assert said["is_observed"][:2] == [True, False]
    assert not back.is_missing.any()
    assert said["provenance"]["strategy"] == "joint"


@pytest.mark.parametrize(
    ("form", "ending"), [("nifti", ".nii.gz"), ("ome-tiff", ".ome.tif"), ("ome-zarr", ".ome.zarr")]
)
def test_a_format_can_be_asked_for(
    form: str, ending: str, run: Run, gappy: Path, words: list[object], tmp_path: Path
) -> None:
    more = ("--spread", "--sampling-steps", 2, "--format", form)
    assert run("impute", gappy, *words, *more) == 0

    out = tmp_path / "out"
    back = read_stack(out / f"gappy_imputed{ending}")
    np.testing.assert_array_equal(back.images, read_stack(out / "gappy.npz").images)
    assert back.is_observed.tolist() == [True, False, True, True]
    spread = read_stack(out / f"gappy_spread{ending}")
    assert spread.is_observed.tolist() == [False, True, False, False]


def test_the_npz_alone_can_be_asked_for_and_what_it_replaces_is_said(
    run: Run, gappy: Path, words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_nifti(tmp_path / "brain.nii.gz", read_stack(gappy))
    for _ in range(2):
        assert run("impute", path, *words, "--format", "npz") == 0

    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["gappy.csv", "gappy.npz"]
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "Replaced 2 files of an earlier run: gappy.csv, gappy.npz"
