from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from napari_followup.io import lazy, read_stack, write_stack
from napari_followup.io.errors import ReadError
from napari_followup.io.nifti import count_visits, read_nifti, write_nifti
from napari_followup.series.stack import VisitStack

VOXELS = np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(2, 3, 4, 5)  # (x, y, z, visit)
AFFINE = np.array([[-2.0, 0, 0, 9], [0, 3, 0, 8], [0, 0, 4, 7], [0, 0, 0, 1]])


def save(folder: Path, voxels: Any = VOXELS, affine: Any = AFFINE, name: str = "a.nii.gz") -> Path:
    nibabel.save(nibabel.Nifti1Image(voxels, affine), folder / name)
    return folder / name


def read_one(path: Path, **settings: Any) -> VisitStack:
    (stack,) = read_nifti(path, **settings)
    return stack


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_the_last_axis_holds_the_visits(tmp_path: Path, name: str) -> None:
    stack = read_one(save(tmp_path, name=name))

    assert (stack.subject, stack.shape, stack.ages_known) == ("a", (5, 1, 4, 3, 2), False)
    np.testing.assert_array_equal(stack.images[:, 0], VOXELS.T)
    assert stack.images.dtype == np.int16


def test_the_affine_takes_our_voxels_to_the_same_place(tmp_path: Path) -> None:
    stack = read_one(save(tmp_path))

    x, y, z = 1, 2, 3
    np.testing.assert_allclose(stack.affine @ [z, y, x, 1], AFFINE @ [x, y, z, 1])
    assert (stack.spacing, stack.unit) == ((4.0, 3.0, 2.0), "mm")


def test_three_axes_are_one_visit_and_two_are_a_plane(tmp_path: Path) -> None:
    assert read_one(save(tmp_path, VOXELS[..., 0])).shape == (1, 1, 4, 3, 2)
    assert read_one(save(tmp_path, VOXELS[..., 0, 0], name="b.nii")).shape == (1, 1, 1, 3, 2)
    assert count_visits(tmp_path / "a.nii.gz") == 1


def test_given_axes_stand_above_the_order(tmp_path: Path) -> None:
    stack = read_one(save(tmp_path, VOXELS[..., 0]), axes="vyx")

    assert stack.shape == (4, 1, 1, 3, 2)


def test_lengths_in_other_units_become_mm(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VOXELS, AFFINE)
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "a.nii")

    assert read_one(tmp_path / "a.nii").spacing == pytest.approx((4e-3, 3e-3, 2e-3))


def test_stored_numbers_are_scaled(tmp_path: Path) -> None:
    path = save(tmp_path, name="a.nii")
    data = bytearray(path.read_bytes())
    data[112:120] = np.array([0.5, -3.0], "<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(data)

    stack = read_one(path)

    assert stack.images.dtype == np.float32
    np.testing.assert_array_equal(stack.images[:, 0], VOXELS.T * 0.5 - 3.0)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_large_file_stays_on_disk(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lazy, "LAZY_ABOVE", 10)

    stack = read_one(save(tmp_path, name=name))

    assert hasattr(stack.images, "dask")
    np.testing.assert_array_equal(np.asarray(stack.images)[:, 0], VOXELS.T)


def test_read_and_written_again_the_grid_is_the_same_to_the_bit(tmp_path: Path) -> None:
    turn = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]]) * [0.7187, 0.7188, 3.00001]
    affine = np.eye(4)
    affine[:3, :3] = turn
    path = save(tmp_path, VOXELS, affine)

    write_nifti(tmp_path / "b.nii.gz", read_one(path))
    one, other = nibabel.load(path), nibabel.load(tmp_path / "b.nii.gz")

    np.testing.assert_array_equal(one.affine, other.affine)
    assert one.shape == other.shape
    assert one.get_data_dtype() == other.get_data_dtype()
    assert other.header.get_xyzt_units()[0] == "mm"


def test_ages_stand_beside_the_file_and_in_it(tmp_path: Path) -> None:
    stack = read_one(save(tmp_path)).with_images(VOXELS.T[:, None], ages=[1, 2, 3, 4, 5.5])
    stack = stack.with_images(stack.images, ages_known=True)
    path = write_nifti(tmp_path / "b.nii", stack)

    assert json.loads((tmp_path / "b.json").read_text())["ages"] == [1, 2, 3, 4, 5.5]
    (tmp_path / "b.json").unlink()
    assert read_one(path).ages.tolist() == [1, 2, 3, 4, 5.5]


def test_what_stands_beside_the_file_counts(tmp_path: Path) -> None:
    path = save(tmp_path)
    (tmp_path / "a.json").write_text('{"ages": [60, 61, 62, 63, 64], "EchoTime": 0.1}')

    assert read_one(path).ages.tolist() == [60, 61, 62, 63, 64]


def test_ages_for_other_visits_are_refused(tmp_path: Path) -> None:
    save(tmp_path)
    (tmp_path / "a.json").write_text('{"ages": [60]}')

    with pytest.raises(ReadError, match=r"'a\.nii\.gz': ages: got 1 for the 5 visits"):
        read_stack(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kept", [0.0, 0.2, 0.6, 0.99])
def test_a_file_cut_short_is_refused(tmp_path: Path, name: str, kept: float) -> None:
    path = save(tmp_path, np.random.default_rng(0).random((9, 9, 9)), name=name)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])

    with pytest.raises(ReadError, match="copy it again"):
        read_nifti(path)


def test_a_header_that_asks_for_too_much_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = save(tmp_path, name="a.nii")
    data = bytearray(path.read_bytes())
    data[42:50] = np.full(4, 32000, "<i2").tobytes()
    path.write_bytes(data)

    with pytest.raises(ReadError, match="more than are there"):
        read_nifti(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_singular_affine_is_refused(tmp_path: Path, name: str) -> None:
    image = nibabel.Nifti1Image(VOXELS, None)
    image.header.set_sform(np.diag([1.0, 1.0, 0.0, 1.0]), code=1)
    image.header["qform_code"] = 0
    nibabel.save(image, tmp_path / "good.nii")
    path = tmp_path / name
    header = image.header.copy()
    nibabel.Nifti1Image(VOXELS, None, header).to_filename(path)

    with pytest.raises(ReadError, match=r"singular.*set a valid sform"):
        read_nifti(path)


def test_colours_and_complex_numbers_are_refused(tmp_path: Path) -> None:
    colours = np.zeros((2, 3, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(ReadError, match="holds colours"):
        read_nifti(save(tmp_path, colours))
    with pytest.raises(ReadError, match="holds complex numbers"):
        read_nifti(save(tmp_path, VOXELS.astype(np.complex64)))


def test_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="no splits"):
        read_nifti(save(tmp_path), split="train")


def test_64_bit_integers_become_smaller_or_are_refused(tmp_path: Path) -> None:
    stack = VisitStack.from_array(np.full((2, 4, 4), 7, np.int64))
    write_stack(tmp_path / "a.nii", stack)
    assert read_one(tmp_path / "a.nii").images.dtype == np.int32

    with pytest.raises(ValueError, match="beyond 32 bits"):
        write_stack(tmp_path / "a.nii", stack.with_images(stack.images + 2**40))


def test_a_qform_alone_gives_the_same_affine_again(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VOXELS, None)
    image.header.set_zooms((0.7187, 0.9, 3.00001, 1))
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("xyz", (11, -7, 31), degrees=True).as_matrix()
    image.header.set_qform(turned * [0.7187, 0.9, 3.00001, 1], code=1)
    image.header.set_xyzt_units("mm")
    nibabel.Nifti1Image(VOXELS, None, image.header).to_filename(tmp_path / "a.nii")
    source = nibabel.load(tmp_path / "a.nii")
    assert source.header["sform_code"] == 0

    write_nifti(tmp_path / "b.nii", read_one(tmp_path / "a.nii"))
    again = nibabel.load(tmp_path / "b.nii")

    np.testing.assert_array_equal(again.affine, source.affine)
    for name in ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x"):
        assert again.header[name] == source.header[name]


@pytest.mark.parametrize("name", ["b.nii", "b.nii.gz"])
def test_lazy_images_are_written_visit_by_visit(tmp_path: Path, name: str) -> None:
    import dask.array

    asked: list[int] = []

    def visit(block: Any, block_info: Any = None) -> Any:
        asked.append(block_info[0]["chunk-location"][0] if block_info else -1)
        return block

    images = np.random.default_rng(0).random((3, 1, 4, 5, 6), np.float32)
    lazy_images = dask.array.from_array(images, chunks=(1, 1, 4, 5, 6)).map_blocks(
        visit, dtype=images.dtype, meta=np.empty((0,) * 5, images.dtype)
    )
    stack = VisitStack.from_array(lazy_images)
    asked.clear()

    path = write_nifti(tmp_path / name, stack)

    assert asked == [0, 1, 2]
    np.testing.assert_array_equal(read_one(path).images, images)


def test_numbers_that_do_not_fit_leave_nothing_behind(tmp_path: Path) -> None:
    images = np.zeros((2, 4, 4), np.int64)
    images[1] = 2**40  # found once the first visit has been written

    with pytest.raises(ValueError, match="beyond 32 bits"):
        write_nifti(tmp_path / "a.nii", VisitStack.from_array(images))

    assert not list(tmp_path.iterdir())
