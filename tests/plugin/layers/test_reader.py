from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_followup.io import write_npz, write_stack
from napari_followup.plugin.layers.reader import get_reader, read_layers
from napari_followup.series.stack import VisitStack

IMAGES = np.random.default_rng(0).random((3, 8, 8)).astype(np.float32)


def test_a_series_in_npz_is_read_with_ages_and_geometry(tmp_path: Path) -> None:
    path = tmp_path / "anna.npz"
    write_npz(path, VisitStack.from_array(IMAGES, ages=[61, 62, 64], spacing=(0.5, 0.5)))

    reader = get_reader(str(path))
    assert reader is not None
    ((data, attributes, kind),) = reader(str(path))

    assert kind == "image"
    np.testing.assert_array_equal(data, IMAGES)
    assert attributes["scale"] == (1, 0.5, 0.5)
    assert attributes["metadata"]["followup"]["ages"] == [61, 62, 64]


def test_a_cohort_in_npz_is_one_layer_named_after_the_file(tmp_path: Path) -> None:
    path = tmp_path / "many.npz"
    np.savez(path, images=IMAGES[None].repeat(2, 0), ages=[[1, 2, 3], [4, 5, 6]])

    ((data, attributes, _),) = read_layers(path)

    assert data.shape == (2, 3, 8, 8)
    assert attributes["name"] == "many"
    assert attributes["metadata"]["followup"]["axes"] == "svyx"


@pytest.mark.parametrize("axes", ["TYX", "TZYX"])
def test_a_tiff_with_a_time_axis_is_ours(tmp_path: Path, axes: str) -> None:
    path = tmp_path / "series.tif"
    shape = (3, 8, 8) if axes == "TYX" else (3, 2, 8, 8)
    images = np.zeros(shape, np.float32)
    tifffile.imwrite(path, images, photometric="minisblack", metadata={"axes": axes})

    reader = get_reader(path)
    assert reader is not None
    assert reader(path)[0][0].shape == shape


def test_a_tiff_with_ages_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "series.tiff"
    tifffile.imwrite(path, IMAGES, photometric="minisblack", metadata={"ages": [61, 62, 64]})

    reader = get_reader(path)
    assert reader is not None
    assert reader(path)[0][1]["metadata"]["followup"]["ages"] == [61, 62, 64]


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize(
    "form", [{"imagej": True}, {"ome": True}, {"bigtiff": True}, {"byteorder": ">"}]
)
def test_a_series_is_told_in_every_kind_of_tiff(tmp_path: Path, form: dict, frames: int) -> None:
    path = tmp_path / ("series.ome.tif" if "ome" in form else "series.tif")
    axes = "TZYX" if frames > 1 else "ZYX"
    images = np.zeros((frames, 2, 8, 8) if frames > 1 else (2, 8, 8), np.float32)
    tifffile.imwrite(path, images, photometric="minisblack", metadata={"axes": axes}, **form)

    reader = get_reader(path)
    assert (reader is not None) == (frames > 1)
    if reader is not None:
        assert reader(path)[0][0].shape == (3, 2, 8, 8)


def test_a_series_in_colour_is_left_to_others(tmp_path: Path) -> None:
    path = tmp_path / "photos.tif"
    images = np.zeros((3, 8, 8, 3), np.uint8)
    tifffile.imwrite(path, images, photometric="rgb", imagej=True, metadata={"axes": "TYXS"})

    assert get_reader(path) is None


@pytest.mark.parametrize("length", [0, 1, 4, 9, 100])
def test_a_tiff_cut_short_is_left_to_others(tmp_path: Path, length: int) -> None:
    path = tmp_path / "cut.tif"
    tifffile.imwrite(path, IMAGES, photometric="minisblack", metadata={"axes": "TYX"})
    path.write_bytes(path.read_bytes()[:length])

    assert get_reader(path) is None


def test_other_files_are_left_to_others(tmp_path: Path) -> None:
    volume, colour = tmp_path / "volume.tif", tmp_path / "photo.tif"
    tifffile.imwrite(volume, IMAGES, photometric="minisblack", metadata={"axes": "ZYX"})
    tifffile.imwrite(colour, np.zeros((3, 8, 8, 3), np.uint8), photometric="rgb")

    for path in (volume, colour, tmp_path / "absent.tif", tmp_path / "photo.png"):
        assert get_reader(str(path)) is None


@pytest.mark.parametrize("length", [0, 10, 400])
def test_an_npz_file_that_cannot_be_read_says_why(tmp_path: Path, length: int) -> None:
    path = tmp_path / "cut.npz"
    np.savez(path, images=IMAGES)
    path.write_bytes(path.read_bytes()[:length])

    reader = get_reader(str(path))
    assert reader is not None
    with pytest.raises(ValueError, match=r"'cut.npz': is (an empty|no readable .npz) file"):
        reader(str(path))


def test_an_npz_file_of_something_else_says_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "points.npz"
    np.savez(path, points=IMAGES)

    reader = get_reader(path)
    assert reader is not None
    with pytest.raises(ValueError, match=r"has no array 'images' \(it has: points\)"):
        reader(path)


def test_the_viewer_passes_the_reason_on(tmp_path: Path) -> None:
    from napari.components import ViewerModel
    from npe2 import PluginManager

    PluginManager.instance().discover()  # as the application does; a bare model does not
    path = tmp_path / "points.npz"
    np.savez(path, points=IMAGES)

    with pytest.raises(ValueError, match="has no array 'images'"):
        ViewerModel().open(path, plugin="napari-followup")


def test_a_list_of_files_is_left_to_others(tmp_path: Path) -> None:
    assert get_reader([str(tmp_path / "a.npz")]) is None


def test_a_damaged_series_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, images=IMAGES, ages=[61, 62])

    with pytest.raises(ValueError, match=r"'bad.npz': ages: got 2 for the 3 visits"):
        read_layers(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.zarr", "sub-a/ses-1/anat/a_T1w.nii.gz"])
def test_other_formats_of_series_are_ours(tmp_path: Path, name: str) -> None:
    stack = VisitStack.from_array(IMAGES, ages=[61, 62, 64], spacing=(0.5, 0.5))
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_stack(path, stack.select(0) if "sub-a" in name else stack)
    given = tmp_path / "sub-a" if "sub-a" in name else path

    reader = get_reader(str(given))
    assert reader is not None
    ((data, attributes, kind),) = reader(str(given))

    assert (kind, data.shape[1:], attributes["scale"]) == ("image", (8, 8), (1, 0.5, 0.5))


def test_a_table_of_visits_is_ours_and_other_tables_are_not(tmp_path: Path) -> None:
    for visit in range(2):
        write_stack(tmp_path / f"{visit}.nii", VisitStack.from_array(IMAGES[visit : visit + 1]))
    (tmp_path / "visits.csv").write_text("path,age\n0.nii,61\n1.nii,62\n")
    (tmp_path / "points.csv").write_text("axis-0,axis-1\n1,2\n")

    assert get_reader(tmp_path / "points.csv") is None
    for path in (tmp_path, tmp_path / "visits.csv"):
        ((data, attributes, _),) = read_layers(path)
        assert get_reader(path) is not None
        assert data.shape == (2, 8, 8)
        assert attributes["metadata"]["followup"]["ages"] == [61, 62]


def test_niftis_opened_as_one_stack_are_its_visits(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{visit}.nii.gz") for visit in range(2)]
    for path in paths:
        write_stack(path, VisitStack.from_array(IMAGES[:1]))

    reader = get_reader(paths)
    assert reader is not None
    assert reader(paths)[0][0].shape == (2, 8, 8)


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_a_folder_of_images_is_a_series_of_them(tmp_path: Path, ending: str) -> None:
    from skimage.io import imsave

    for year in (2019, 2020):
        image = np.full((8, 8), year - 2000, np.uint8)
        imsave(tmp_path / f"scan-{year}-06-01{ending}", image, check_contrast=False)

    reader = get_reader(tmp_path)

    assert reader is not None
    ((data, attributes, _),) = reader(tmp_path)
    assert np.unique(data[1]).tolist() == [20]
    assert attributes["metadata"]["followup"]["ages"] == pytest.approx([0, 1], abs=0.01)


def test_folders_of_others_are_left_to_them(tmp_path: Path) -> None:
    import zarr

    zarr.open_group(tmp_path / "a.zarr", mode="w").create_array("0", data=IMAGES)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"")
    (tmp_path / "photos" / "notes.txt").write_text("one picture is no series")

    for name in ("a.zarr", "photos"):
        assert get_reader(tmp_path / name) is None


@pytest.mark.parametrize("kind", ["table", "folder", "list", "bids"])
def test_visits_on_different_grids_are_a_layer_each(tmp_path: Path, kind: str) -> None:
    stem = "sub-a/ses-{0}/anat/sub-a_ses-{0}_T1w.nii" if kind == "bids" else "{0}.nii"
    paths = [tmp_path / stem.format(visit) for visit in (1, 2)]
    for visit, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_stack(path, VisitStack.from_array(IMAGES[:1], spacing=(1, 1 + visit)))
    if kind == "table":
        (tmp_path / "visits.csv").write_text("path,age\n1.nii,61\n2.nii,62\n")
    given = {"table": tmp_path / "visits.csv", "list": [str(path) for path in paths]}
    layers = read_layers(given.get(kind, tmp_path))

    assert [data.shape for data, _, _ in layers] == [(1, 8, 8), (1, 8, 8)]
    assert [attributes["scale"] for _, attributes, _ in layers] == [(1, 1, 1), (1, 1, 2)]
    assert [attributes["translate"][0] for _, attributes, _ in layers] == [0, 1]
