from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

Run = Callable[..., int]


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "visits.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def words(model: Path, recipe: Path, tmp_path: Path) -> list[object]:
    return ["--model", model, "--recipe", recipe, "--out", tmp_path / "out", "--device", "cpu"]


def test_files_in_files_out(
    run: Run, series: Path, words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("detect", series, *words) == 0

    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["tiny.npz", "visits.csv"]
    assert [row["age"] for row in rows_of(tmp_path / "out")] == ["60.0", "61.0", "62.5", "64.0"]
    assert capsys.readouterr().out.startswith("tiny: 4 visits, ")


def test_a_tiff_gives_tiffs_back(run: Run, words: list[object], tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    tifffile.imwrite(
        path,
        np.random.rand(3, 16, 16).astype("float32"),
        metadata={"axes": "TYX"},
        photometric="minisblack",
    )

    assert run("detect", path, *words) == 0

    for name in ("scan_mask.tif", "scan_score.tif", "scan_healthy.tif"):
        assert tifffile.imread(tmp_path / "out" / name).squeeze().shape == (3, 16, 16)


def test_one_failing_file_does_not_stop_the_rest(
    run: Run, series: Path, words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"no archive")

    assert run("detect", bad, tmp_path / "gone.npz", series, *words) == 1

    assert len(rows_of(tmp_path / "out")) == 4
    errors = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[2] for line in errors] == [str(bad), str(tmp_path / "gone.npz")]


def test_a_series_that_does_not_fit_the_model_is_one_failure(
    run: Run, series: Path, words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = tmp_path / "two.npz"
    np.savez(two, images=np.random.rand(3, 2, 1, 16, 16), axes="vmzyx")

    assert run("detect", two, series, *words) == 1
    assert "2 modalities" in capsys.readouterr().err


def test_a_folder_is_taken_file_by_file(run: Run, series: Path, words: list[object]) -> None:
    (series.parent / "other.npz").write_bytes(series.read_bytes())

    assert run("detect", series.parent, *words) == 0
    out = Path(str(words[5]))
    assert sorted(path.name for path in out.glob("*.npz")) == ["tiny-2.npz", "tiny.npz"]
    assert {Path(row["source"]).name for row in rows_of(out)} == {"other.npz", "patient.npz"}


def test_nothing_done_is_code_two(
    run: Run, words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()

    assert run("detect", tmp_path / "empty", *words) == 2
    said = capsys.readouterr().err
    assert "holds no series" in said
    assert "nothing could be examined" in said


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("--device", "abacus", "device: got 'abacus'"),
        ("--model", "ghost", "no model 'ghost'"),
        ("--recipe", "soup", "recipe: got 'soup'"),
    ],
)
def test_a_wrong_setting_is_said_once_before_any_file(
    option: str,
    value: str,
    text: str,
    run: Run,
    series: Path,
    words: list[object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("detect", series, series, *words, option, value) == 2
    said = capsys.readouterr().err
    assert said.count("error") == 1
    assert text in said


def test_cohort_files_are_examined_subject_by_subject(
    run: Run, words: list[object], tmp_path: Path
) -> None:
    cohort = tmp_path / "cohort.npz"
    split = np.array(["train", "val", "val"])
    np.savez(cohort, images=np.random.rand(3, 2, 16, 16), axes="svyx", split=split)

    assert run("detect", cohort, *words, "--split", "val") == 0

    subjects = {row["subject"] for row in rows_of(tmp_path / "out")}
    assert subjects == {"subject-0001", "subject-0002"}
