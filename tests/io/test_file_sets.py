from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from napari_followup.io.file_sets import file_stem, new_folder, with_notes, write_json, write_parts


def test_files_may_lie_in_folders_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.txt").write_text("mine")
    parts = {name: lambda path: path.write_text("new") for name in ("a/x.txt", "b/y.txt", "z.txt")}

    write_parts(tmp_path, parts)

    files = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {"a/mine.txt", "a/x.txt", "b/y.txt", "z.txt"}


def test_names_become_file_names_that_differ() -> None:
    taken: set[str] = set()

    assert file_stem("anna 1", taken) == "anna_1"
    assert file_stem("Anna 1", taken) == "Anna_1-2"
    assert file_stem("...") == "subject"


def test_json_holds_no_infinity(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"threshold": math.inf, "list": (np.float32(1), math.nan)})

    assert json.loads((tmp_path / "a.json").read_text()) == {"threshold": None, "list": [1, None]}


def test_new_folders_are_numbered(tmp_path: Path) -> None:
    assert new_folder(tmp_path) == tmp_path / "results-2"
    (tmp_path / "results-2").mkdir()
    assert new_folder(tmp_path) == tmp_path / "results-3"


def test_notes_beside_nifti_files_count_as_files(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "a.json", "b.nii", "b.json", "c.csv", "c.json"):
        (tmp_path / name).write_text("")
    written = [tmp_path / name for name in ("a.nii.gz", "b.nii", "c.csv")]

    names = [path.name for path in with_notes(written)]

    assert names == ["a.nii.gz", "a.json", "b.nii", "b.json", "c.csv"]
