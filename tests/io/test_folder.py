from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from skimage.io import imsave

from napari_followup.io import read_stack, read_stacks, read_visits
from napari_followup.io.errors import ReadError


def save(folder: Path, *names: str) -> None:
    for value, name in enumerate(names):
        image = np.full((4, 6), value, np.uint8)
        if name.endswith(".tif"):
            tifffile.imwrite(folder / name, image)
        elif name.endswith(".png"):
            imsave(folder / name, image, check_contrast=False)
        else:
            nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), folder / name)


@pytest.mark.parametrize("suffix", ["png", "tif", "nii.gz"])
def test_files_are_visits_in_the_order_of_their_numbers(tmp_path: Path, suffix: str) -> None:
    save(tmp_path, f"v10.{suffix}", f"v9.{suffix}")

    stack = read_stack(tmp_path)

    assert (stack.subject, stack.ages_known) == (tmp_path.name, False)
    assert stack.images[:, 0, 0, 0, 0].tolist() == [1, 0]
    assert len(read_visits(tmp_path)) == 2


@pytest.mark.parametrize(
    "names", [("b_2020-01-31.png", "a_20210131.png"), ("b_2020_01_31.png", "a-2021.01.31.png")]
)
def test_dates_in_the_names_are_ages(tmp_path: Path, names: tuple[str, str]) -> None:
    save(tmp_path, *names)

    stack = read_stack(tmp_path)

    np.testing.assert_allclose(stack.ages, [0, 366 / 365.25])
    assert stack.images[:, 0, 0, 0, 0].tolist() == [0, 1]


def test_files_that_are_series_stay_series(tmp_path: Path) -> None:
    for name in ("a.nii", "b.nii"):
        nibabel.save(nibabel.Nifti1Image(np.ones((3, 4, 5, 2)), np.eye(4)), tmp_path / name)

    assert [stack.n_visits for stack in read_stacks(tmp_path)] == [2, 2]


def test_images_of_another_size_are_told(tmp_path: Path) -> None:
    save(tmp_path, "a.png")
    imsave(tmp_path / "b.png", np.zeros((5, 5), np.uint8), check_contrast=False)

    with pytest.raises(
        ReadError, match=r"file 2 .b.png.: 1 x 5 x 5 voxels.*file 1 .a.png., 1 x 4 x 6"
    ):
        read_stack(tmp_path)


def test_colour_and_damage_are_told(tmp_path: Path) -> None:
    imsave(tmp_path / "a.png", np.zeros((5, 5, 3), np.uint8), check_contrast=False)
    with pytest.raises(ReadError, match=r"file 1 .a.png.: 'a.png': is in colour"):
        read_stack(tmp_path)

    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:45])
    with pytest.raises(ReadError, match=r"'a.png': is no readable image"):
        read_stack(tmp_path)

    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(ReadError, match=r"'a.png': is no PNG, JPEG or BMP image"):
        read_stack(tmp_path)
