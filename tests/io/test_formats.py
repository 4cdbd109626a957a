from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_followup.io import write_npz
from napari_followup.io.errors import ReadError
from napari_followup.io.formats import WRITERS, listed, read_image, write_stack
from napari_followup.series.stack import VisitStack

VOXELS = np.arange(2 * 4 * 6, dtype=np.uint8).reshape(2, 4, 6)


@pytest.mark.parametrize(("axes", "values"), [("YX", VOXELS[0]), ("ZYX", VOXELS)])
def test_a_tiff_of_a_plane_or_volume_is_one_visit(
    tmp_path: Path, axes: str, values: np.ndarray
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values, metadata={"axes": axes})

    stack = read_image(tmp_path / "a.tif")

    np.testing.assert_array_equal(stack.images[0, 0].squeeze(), values)


def test_a_bare_tiff_of_planes_is_a_volume_here(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", VOXELS, metadata=None)

    assert read_image(tmp_path / "a.tif").shape == (1, 1, 2, 4, 6)


def test_colour_is_told(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((16, 16, 3), np.uint8), photometric="rgb")

    with pytest.raises(ReadError, match=r"'a\.tif': is in colour"):
        read_image(tmp_path / "a.tif")


def test_several_visits_are_told(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", VisitStack.from_array(VOXELS))

    with pytest.raises(ReadError, match=r"'a\.npz' holds 2 visits; give a file a visit here"):
        read_image(tmp_path / "a.npz")


def test_what_is_not_there_or_unknown_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.mgz").write_text("")
    with pytest.raises(ReadError, match=r"unknown kind '\.mgz'"):
        read_image(tmp_path / "a.mgz")
    with pytest.raises(ReadError, match="there is no file"):
        read_image(tmp_path / "b.nii")


@pytest.mark.parametrize("suffix", WRITERS)
def test_the_ending_chooses_the_format_whatever_its_case(tmp_path: Path, suffix: str) -> None:
    stack = VisitStack.from_array(np.ones((2, 4, 4), np.float32))
    name = f"A{suffix.upper() if suffix.startswith('.t') else suffix}"

    assert write_stack(str(tmp_path / name), stack) == tmp_path / name
    assert (tmp_path / name).exists()


def test_endings_are_named_in_a_sentence() -> None:
    assert listed([".npz", ".csv", ".nii"]) == ".csv, .nii or .npz"
