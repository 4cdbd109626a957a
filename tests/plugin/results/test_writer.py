from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import napari_builtins
import nibabel
import numpy as np
import pytest
from napari.layers import Image, Labels, Layer
from npe2 import PluginManager, PluginManifest

import napari_followup
from napari_followup.io import write_stack
from napari_followup.plugin.layers.layers import about
from napari_followup.plugin.layers.reader import read_layers
from napari_followup.plugin.layers.result_layers import MASK_COLORS
from napari_followup.plugin.layers.stack_layers import cohort_layers, stack_layers
from napari_followup.plugin.results.writer import write_image, write_labels
from napari_followup.series.stack import VisitStack

PATH = Path(napari_followup.__file__).with_name("napari.yaml")
NAMES = ["a.nii", "a.nii.gz", "a.ome.tif", "a.ome.tiff", "a.ome.zarr", "a.zarr", "a.npz"]
AFFINE = np.array([[0, 0, -2, 9], [0, 3, 0, 8], [4, 0, 0, 7], [0, 0, 0, 1.0]])
OURS = "napari-followup"


@pytest.fixture
def plugins(npe2pm: Any) -> PluginManager:
    """Only napari's own writers and ours, in napari's order."""
    builtins = Path(napari_builtins.__file__).with_name("builtins.yaml")
    for path in (builtins, PATH):
        npe2pm.register(PluginManifest.from_file(path))
    return npe2pm


def imputed(z: int = 2) -> Layer:
    """Five visits: the second missing, the fourth imputed."""
    images = np.random.default_rng(0).random((5, 1, z, 6, 7), np.float32)
    images[1] = np.nan
    stack = VisitStack.from_array(
        images,
        ages=[61, 62, 63.5, 64, 65],
        is_observed=[True, False, True, False, True],
        affine=AFFINE,
        subject="anna",
        modalities=["FLAIR"],
    )
    stack = stack.with_images(stack.images, provenance={"model": "m", "seed": 3})
    return Layer.create(*stack_layers(stack)[0])


def mask_of(layer: Layer) -> Labels:
    values = np.zeros(layer.data.shape, np.uint8)
    values[2, ..., 2:4, 3] = 1
    said = about(layer) | {"result": "mask", "source": layer.name}
    placed = {name: getattr(layer, name) for name in ("scale", "units", "axis_labels")}
    return Labels(values, name="anna mask", metadata={"followup": said}, **placed)


def reopened(path: Path) -> Layer:
    (made,) = read_layers(path)
    return Layer.create(*made)


def assert_same(back: Layer, layer: Layer) -> None:
    assert type(back) is type(layer)
    np.testing.assert_array_equal(back.data, layer.data)
    assert back.data.dtype == layer.data.dtype
    np.testing.assert_allclose(back.scale, layer.scale, rtol=1e-6)
    assert (back.units, back.axis_labels) == (layer.units, layer.axis_labels)
    said, before = about(back), about(layer)
    np.testing.assert_allclose(said.pop("affine"), before.pop("affine"), rtol=1e-6)
    assert said == before


@pytest.mark.parametrize("z", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_an_image_that_was_saved_is_the_same_layer_when_it_is_opened(
    plugins: PluginManager, tmp_path: Path, name: str, z: int
) -> None:
    layer = imputed(z)

    assert layer.save(str(tmp_path / name), plugin=OURS) == [str(tmp_path / name)]

    back = reopened(tmp_path / name)
    assert_same(back, layer)
    assert about(back)["is_imputed"] == [False, False, False, True, False]
    assert about(back)["provenance"] == {"model": "m", "seed": 3}


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_that_was_saved_is_a_mask_when_it_is_opened(
    plugins: PluginManager, tmp_path: Path, name: str
) -> None:
    layer = mask_of(imputed())

    layer.save(str(tmp_path / name), plugin=OURS)

    back = reopened(tmp_path / name)
    assert_same(back, layer)
    assert back.name == "anna mask"
    np.testing.assert_array_equal(
        back.colormap.map(np.array([1])), Labels(np.eye(2, dtype=int), colormap=MASK_COLORS)
        .colormap.map(np.array([1]))
    )  # fmt: skip


def test_the_grid_of_a_nifti_file_survives_napari_to_the_bit(
    plugins: PluginManager, tmp_path: Path
) -> None:
    turned = AFFINE[:, [2, 1, 0, 3]].copy()  # NIfTI's order
    turned[0, 1], turned[2, 0] = 0.0123, -0.4567
    voxels = np.random.default_rng(0).integers(0, 900, (7, 6, 2, 3)).astype(np.int16)
    image = nibabel.Nifti1Image(voxels, turned)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "source.nii.gz")

    reopened(tmp_path / "source.nii.gz").save(str(tmp_path / "saved.nii.gz"))

    before, after = (
        nibabel.load(tmp_path / "source.nii.gz"),
        nibabel.load(tmp_path / "saved.nii.gz"),
    )
    np.testing.assert_array_equal(after.affine, before.affine)
    np.testing.assert_array_equal(after.dataobj, voxels)
    assert after.get_data_dtype() == np.int16
    for field in ("srow_x", "srow_y", "srow_z", "xyzt_units"):
        np.testing.assert_array_equal(after.header[field], before.header[field])


def test_a_plane_keeps_its_place_and_thickness(plugins: PluginManager, tmp_path: Path) -> None:
    voxels = np.zeros((7, 6, 1, 3), np.float32)
    image = nibabel.Nifti1Image(voxels, AFFINE[:, [2, 1, 0, 3]])
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "source.nii")

    reopened(tmp_path / "source.nii").save(str(tmp_path / "saved.nii"))

    np.testing.assert_array_equal(nibabel.load(tmp_path / "saved.nii").affine, image.affine)


def test_a_layer_that_is_not_ours_is_saved_by_its_scale_and_units(
    plugins: PluginManager, tmp_path: Path
) -> None:
    layer = Image(
        np.ones((2, 3, 4), np.float32),
        scale=(3000, 500, 500),
        units=("um", "um", "um"),
        axis_labels=("z", "y", "x"),
    )

    layer.save(str(tmp_path / "a.nii.gz"))

    image = nibabel.load(tmp_path / "a.nii.gz")
    assert image.shape == (4, 3, 2)
    np.testing.assert_allclose(image.affine, np.diag([0.5, 0.5, 3, 1]))
    assert image.header.get_xyzt_units()[0] == "mm"


def test_unclear_axes_are_said_and_nothing_is_written(
    plugins: PluginManager, tmp_path: Path
) -> None:
    layer = Image(np.ones((2, 3, 4)), name="mine")

    with pytest.raises(RuntimeError, match=r"'a\.nii\.gz' was not written: .*axis_labels = \('vis"):
        layer.save(str(tmp_path / "a.nii.gz"))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_and_nothing_is_left(
    plugins: PluginManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nibabel.nifti1.Nifti1Header.write_to", full)

    with pytest.raises(OSError, match=r"cannot write .*a\.nii\.gz.*has room"):
        imputed().save(str(tmp_path / "a.nii.gz"))
    assert not list(tmp_path.iterdir())


def test_a_cohort_goes_into_one_npz_and_nowhere_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stacks = [
        VisitStack.from_array(rng.random((3, 4, 5)), ages=[60 + n, 62, 64], subject=name)
        for n, name in enumerate(["a", "b"])
    ]
    layer = Layer.create(*cohort_layers(stacks)[0])
    data, attributes, _ = layer.as_layer_data_tuple()

    write_image(str(tmp_path / "cohort.npz"), data, attributes)

    assert_same(reopened(tmp_path / "cohort.npz"), layer)
    with pytest.raises(RuntimeError, match=r"holds 2 subjects, this format one; save as \.npz"):
        write_labels(str(tmp_path / "a.nii"), data.astype(int), attributes)


def test_lazy_layers_are_saved(plugins: PluginManager, tmp_path: Path) -> None:
    import dask.array

    values = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
    layer = Image(dask.array.from_array(values, chunks=(1, 4, 5)), axis_labels=("visit", "y", "x"))

    layer.save(str(tmp_path / "a.nii"))

    np.testing.assert_array_equal(reopened(tmp_path / "a.nii").data, values)


@pytest.mark.parametrize("kind", ["image", "labels"])
@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        ("a.nii", True),
        ("a.nii.gz", True),
        ("a.ome.tif", True),
        ("a.ome.zarr", True),
        ("a.tif", False),
        ("a.tiff", False),
        ("a.npz", False),  # ours by plugin=, or by the choice in napari's dialog
        ("a", False),
    ],
)
def test_napari_keeps_its_own_formats(
    plugins: PluginManager, kind: str, name: str, is_ours: bool
) -> None:
    writer, _ = plugins.get_writer(name, [kind])

    assert writer is not None
    assert writer.command.startswith(OURS) == is_ours


def test_a_file_of_someone_else_with_a_provenance_is_opened_all_the_same(tmp_path: Path) -> None:
    stack = VisitStack.from_array(np.ones((2, 4, 4)))
    stack = stack.with_images(stack.images, provenance={"layer": "of paint"})
    write_stack(tmp_path / "a.npz", stack)

    assert type(reopened(tmp_path / "a.npz")) is Image
