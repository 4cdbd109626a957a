"""Every format gives back what was written: values, geometry, ages, names."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from napari_followup.io import read_stack, read_visits, write_stack, write_zarr
from napari_followup.series.stack import VisitStack

NAMES = ["a.npz", "a.nii", "a.nii.gz", "a.tif", "a.ome.tif", "a.zarr", "a-0.5.zarr"]
TYPES = ["uint8", "int16", "uint16", "int32", "float32", "float64"]


@st.composite
def stacks(draw: st.DrawFn) -> VisitStack:
    shape = tuple(draw(st.integers(1, most)) for most in (3, 2, 3, 5, 5))
    dtype = draw(st.sampled_from(TYPES))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    images = random.integers(0, 200, shape).astype(dtype)
    observed = np.ones(shape[0], bool)
    if dtype.startswith("float") and shape[0] > 1 and draw(st.booleans()):
        images[1], observed[1] = np.nan, False
    affine = np.eye(4)
    spacing = random.uniform(0.5, 4.0, 3)
    affine[:3, :3] = Rotation.random(rng=random).as_matrix() * spacing
    affine[:3, 3] = random.uniform(-90, 90, 3)
    return VisitStack.from_array(
        images,
        ages=np.sort(random.uniform(20, 90, shape[0])) if draw(st.booleans()) else None,
        affine=affine.astype(np.float32),
        unit=draw(st.sampled_from(["mm", "pixel"])),
        is_observed=observed,
        subject=draw(st.sampled_from(["anna", "Zoë 7"])),
        modalities=["FLAIR", "T1"][: shape[1]],
    )


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(stack=stacks())
def test_a_written_stack_comes_back(name: str, stack: VisitStack) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        if "0.5" in name:
            write_zarr(path, stack, version="0.5")
        else:
            write_stack(path, stack)
        back = read_stack(path)
        assert all(child.name.startswith("a") for child in Path(folder).iterdir())

    assert back.images.dtype == stack.images.dtype
    np.testing.assert_array_equal(back.images, stack.images)
    np.testing.assert_array_equal(back.ages, stack.ages)
    np.testing.assert_array_equal(back.is_observed, stack.is_observed)
    np.testing.assert_allclose(back.affine, stack.affine, rtol=1e-6)
    np.testing.assert_allclose(back.spacing, stack.spacing, rtol=1e-5)
    for field in ("unit", "subject", "modalities", "ages_known"):
        assert getattr(back, field) == getattr(stack, field)


@pytest.mark.parametrize("name", NAMES)
def test_provenance_comes_back(tmp_path: Path, name: str) -> None:
    stack = VisitStack.from_array(np.ones((2, 4, 4), np.float32))
    stack = stack.with_images(stack.images, provenance={"steps": [{"step": "align"}]})

    write_stack(tmp_path / name, stack)

    assert read_stack(tmp_path / name).provenance == stack.provenance


@pytest.mark.parametrize("name", NAMES)
def test_truth_values_come_back_as_numbers(tmp_path: Path, name: str) -> None:
    stack = VisitStack.from_array(np.eye(4, dtype=bool)[None].repeat(2, 0))

    write_stack(tmp_path / name, stack)

    np.testing.assert_array_equal(read_stack(tmp_path / name).images, stack.images)


@pytest.mark.parametrize("name", NAMES)
def test_a_visit_of_its_own_is_read_from_every_format(tmp_path: Path, name: str) -> None:
    affine = [[0, 0, -2, 9], [0, 3, 0, 8], [4, 0, 0, 7], [0, 0, 0, 1]]
    stack = VisitStack.from_array(np.ones((1, 2, 4, 4), np.int16), ages=[61], affine=affine)
    write_stack(tmp_path / name, stack)

    (visit,) = read_visits([tmp_path / name])

    assert visit.ages.tolist() == [61.0]
    np.testing.assert_array_equal(visit.affine, affine)


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    stack = VisitStack.from_array(np.ones((2, 4, 4), np.float32), ages=[60, 61])
    write_stack(path, stack)
    before = sorted(tmp_path.rglob("*"))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    header = "nibabel.nifti1.Nifti1Header.write_to"
    for function in (header, "tifffile.imwrite", "numpy.savez_compressed"):
        monkeypatch.setattr(function, full)
    monkeypatch.setattr("zarr.Array.__setitem__", full)
    with pytest.raises(OSError, match=rf"cannot write '.*{name}' \(No space left.*has room"):
        write_stack(path, stack.with_images(stack.images + 1))

    monkeypatch.undo()
    assert sorted(tmp_path.rglob("*")) == before
    assert read_stack(path).images.max() == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    stack = VisitStack.from_array(np.ones((2, 4, 4), np.float32))
    (tmp_path / "file").write_text("")

    with pytest.raises(OSError, match=r"cannot write '.*file.*check that its folder exists"):
        write_stack(tmp_path / "file" / name, stack)


def test_an_unknown_ending_names_the_known_ones(tmp_path: Path) -> None:
    stack = VisitStack.from_array(np.ones((2, 4, 4)))

    with pytest.raises(ValueError, match=r"'a\.mgz'; end the name in \.nii, \.nii\.gz"):
        write_stack(tmp_path / "a.mgz", stack)
