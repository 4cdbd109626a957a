from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from napari_followup.io.replacing import (
    cannot_write,
    file_stem,
    new_folder,
    replacing,
    with_notes,
    write_json,
    write_parts,
)


def test_a_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as draft:
        draft.write_text("new")
        assert (draft.suffix, path.exists()) == (".txt", False)

    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "new"


def test_a_folder_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with replacing(tmp_path / "a") as draft:
            draft.mkdir()
            (draft / text).write_text(text)

    assert [path.name for path in tmp_path.rglob("*")] == ["a", "new"]


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()])
def test_what_fails_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "a.txt").write_text("old")

    def fail() -> None:
        with replacing(tmp_path / "a.txt") as draft:
            draft.write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_folder_that_may_not_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)

    with (
        pytest.raises(PermissionError, match=r"cannot write '.*a.txt' \(Permission denied\)"),
        replacing(tmp_path / "a.txt") as draft,
    ):
        draft.write_text("new")
    assert not list(tmp_path.iterdir())


def test_what_was_told_of_a_temporary_path_is_told_anew(tmp_path: Path) -> None:
    first = OSError(28, "No space left on device")
    inner = cannot_write(first, tmp_path / "draft.txt")
    inner.__cause__ = first

    error = cannot_write(inner, tmp_path / "a.txt")

    assert error.errno == 28
    assert str(error).startswith("cannot write")
    assert str(error).count("cannot write") == 1
    assert f"cannot write {str(tmp_path / 'a.txt')!r} (No space left on device)" in str(error)


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


def test_names_become_file_names_and_differ() -> None:
    taken: set[str] = set()
    names = ["patient 7", "a/b", "A/b", "..", "patient 7", "Ä1"]

    stems = [file_stem(name, taken) for name in names]

    assert stems == ["patient_7", "a_b", "A_b-2", "subject", "patient_7-2", "Ä1"]
