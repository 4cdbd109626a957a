from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from napari_followup.cli.series import add_series, read_series, tell_failure


def given(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_series(parser)
    return parser.parse_args([*map(str, words), "--out", "out"])


def test_series_come_with_their_files_and_failures_in_their_place(
    series: Path, tmp_path: Path
) -> None:
    bad, empty = tmp_path / "bad.npz", tmp_path / "empty"
    bad.write_text("no archive")
    empty.mkdir()

    found = list(read_series(given(bad, empty, series)))

    assert [source for source, _ in found] == [bad, empty, series]
    assert [isinstance(each, ValueError) for _, each in found] == [True, True, False]


def test_a_cohort_is_announced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "two.npz"
    np.savez(path, images=np.ones((2, 3, 8, 8)), split=np.array(["a", "b"]))

    assert len(list(read_series(given(path)))) == 2
    assert "taken as a cohort of 2 subjects" in capsys.readouterr().out
    assert len(list(read_series(given(path, "--split", "b")))) == 1


def test_a_file_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    tell_failure(Path("data/a.npz"), ValueError("'a.npz': is an empty file"))

    assert capsys.readouterr().err == ("napari-followup: error: data/a.npz: is an empty file\n")
