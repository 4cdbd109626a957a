from __future__ import annotations

from pathlib import Path

import pytest

from napari_followup.io.replacing import cannot_write, replacing


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
