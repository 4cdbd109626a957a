from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_followup.io import read_healthy, read_stack, read_stacks, write_npz
from napari_followup.series.stack import VisitStack

PLANES = np.arange(5 * 4 * 6, dtype=np.uint8).reshape(5, 4, 6)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two series, a cohort of two, and files that are none."""
    write_npz(tmp_path / "b.npz", VisitStack.from_array(PLANES, subject="bob"))
    tifffile.imwrite(tmp_path / "a.TIF", PLANES, metadata={"axes": "TYX"})
    np.savez(tmp_path / "c.npz", images=np.stack([PLANES, PLANES]), subject=["cy", "di"])
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "._b.npz").write_bytes(b"left by another system")
    return tmp_path


@pytest.mark.parametrize(("name", "subject"), [("b.npz", "bob"), ("a.TIF", "a")])
def test_suffix_chooses_the_reader(folder: Path, name: str, subject: str) -> None:
    stack = read_stack(folder / name)

    assert stack.subject == subject
    np.testing.assert_array_equal(stack.images[:, 0, 0], PLANES)


def test_text_is_a_path_too(folder: Path) -> None:
    assert read_stack(os.fspath(folder / "b.npz")).subject == "bob"


def test_folder_gives_all_its_series_in_order(folder: Path) -> None:
    assert [stack.subject for stack in read_stacks(folder)] == ["a", "bob", "cy", "di"]


def test_folder_of_one_series_is_that_series(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PLANES)

    assert read_stack(tmp_path).subject == "a"


def test_axes_reach_the_reader(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=PLANES)

    assert read_stack(tmp_path / "a.npz", axes="yvx").shape == (4, 1, 1, 5, 6)


def test_split_reaches_the_reader(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.stack([PLANES, PLANES]), split=["train", "val"])

    assert len(read_stacks(tmp_path / "a.npz")) == 2
    assert len(read_stacks(tmp_path / "a.npz", split="train")) == 1


def test_one_stack_of_many_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"'c\.npz' holds 2 subjects; read_stacks"):
        read_stack(folder / "c.npz")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file or folder '.*x\.npz'"):
        read_stack(tmp_path / "x.npz")


def test_unknown_format_names_the_known_ones(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"'notes\.txt': is of an unknown format.*\.npz"):
        read_stack(folder / "notes.txt")


def test_folder_without_series_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no series"):
        read_stacks(tmp_path)


@pytest.mark.parametrize("name", ["a.npz", "a.tif"])
def test_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not what the suffix says")

    with pytest.raises(ValueError, match=rf"'{name}': is no readable"):
        read_stacks(tmp_path)


def test_unfit_content_names_the_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=PLANES, ages=[1.0, 2.0])

    with pytest.raises(ValueError, match=r"'a\.npz': ages: got 2 for the 5 visits"):
        read_stack(tmp_path / "a.npz")


def test_healthy_series_are_read_and_sick_ones_refused(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", VisitStack.from_array(PLANES))
    assert [stack.subject for stack in read_healthy(tmp_path)] == ["subject"]

    np.savez(tmp_path / "b.npz", images=PLANES, truth=PLANES > 0)
    with pytest.raises(ValueError, match=r"'b\.npz': these series are marked as sick"):
        read_healthy(tmp_path)


def test_a_tiff_with_its_truth_beside_it_is_sick(tmp_path: Path) -> None:
    for name in ("a.tif", "a_truth.tif"):
        tifffile.imwrite(tmp_path / name, PLANES, metadata={"axes": "TYX"})

    with pytest.raises(ValueError, match=r"'a\.tif': these series are marked as sick"):
        read_healthy(tmp_path / "a.tif")


def test_results_in_a_folder_are_left_out(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", VisitStack.from_array(PLANES))
    maps = {"mask": PLANES > 0, "score": PLANES, "provenance": "{}"}
    np.savez(tmp_path / "result.npz", images=PLANES, **maps)

    assert len(read_stacks(tmp_path)) == 1
    assert len(read_stacks(tmp_path / "result.npz")) == 1
