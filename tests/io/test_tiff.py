from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_followup.io.tiff import read_tiff, tiff_settings
from napari_followup.series.stack import VisitStack


@pytest.mark.parametrize("is_ome", [True, False])
def test_everything_but_the_pixels_is_said(is_ome: bool) -> None:
    stack = VisitStack.from_array(np.ones((2, 4, 4)), ages=[61, 62], spacing=(3, 2, 1))

    said = tiff_settings(stack, is_ome=is_ome)

    if is_ome:
        assert (said["PhysicalSizeZ"], said["PhysicalSizeYUnit"]) == (3.0, "mm")
        said = json.loads(said["Description"])
    assert (said["ages"], said["spacing"], said["unit"]) == ([61.0, 62.0], [3.0, 2.0, 1.0], "mm")


def test_ages_that_are_not_known_are_not_said() -> None:
    assert "ages" not in tiff_settings(VisitStack.from_array(np.ones((2, 4, 4))), is_ome=False)


VOLUMES = np.random.default_rng(0).integers(0, 255, (5, 2, 64, 48), dtype=np.uint8)  # (v, z, y, x)
PLANES = VOLUMES[:, 0]


def save(folder: Path, images: Any, name: str = "ann.tif", **settings: Any) -> Path:
    tifffile.imwrite(folder / name, images, **settings)
    return folder / name


def read_one(path: Path, **settings: Any) -> VisitStack:
    (stack,) = read_tiff(path, **settings)
    return stack


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"metadata": None},
        {"metadata": {"axes": "TYX"}},
        {"imagej": True, "metadata": {"axes": "TYX"}},
        {"ome": True, "metadata": {"axes": "TYX"}},
        {"compression": "zlib"},
    ],
    ids=str,
)
def test_planes_are_visits(tmp_path: Path, settings: dict[str, Any]) -> None:
    stack = read_one(save(tmp_path, PLANES, **settings))

    assert (stack.subject, stack.shape, stack.ages_known) == ("ann", (5, 1, 1, 64, 48), False)
    np.testing.assert_array_equal(stack.images[:, 0, 0], PLANES)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"metadata": {"axes": "TZYX"}},
        {"imagej": True, "metadata": {"axes": "TZYX"}},
        {"ome": True, "metadata": {"axes": "TZYX"}},
    ],
    ids=str,
)
def test_volumes_keep_their_slices(tmp_path: Path, settings: dict[str, Any]) -> None:
    stack = read_one(save(tmp_path, VOLUMES, **settings))

    np.testing.assert_array_equal(stack.images[:, 0], VOLUMES)


@pytest.mark.filterwarnings("ignore:.*stored as RGB:DeprecationWarning")  # tifffile's, on writing
@pytest.mark.parametrize("visits", [3, 4])
def test_three_or_four_visits_are_not_taken_for_colours(tmp_path: Path, visits: int) -> None:
    stack = read_one(save(tmp_path, PLANES[:visits]))

    assert stack.shape == (visits, 1, 1, 64, 48)


def test_channels_are_modalities(tmp_path: Path) -> None:
    stack = read_one(save(tmp_path, VOLUMES, metadata={"axes": "TCYX"}))

    assert stack.modalities == ("image", "image-2")
    np.testing.assert_array_equal(stack.images[:, :, 0], VOLUMES)


@pytest.mark.parametrize("letter", ["N", "Q", "R"])
def test_unnamed_axis_beside_the_visits_holds_subjects(tmp_path: Path, letter: str) -> None:
    stacks = read_tiff(save(tmp_path, VOLUMES, metadata={"axes": f"{letter}TYX"}))

    assert [stack.subject for stack in stacks] == [f"ann-{n:04d}" for n in range(5)]
    np.testing.assert_array_equal(stacks[4].images[:, 0, 0], VOLUMES[4])


def test_given_axes_stand_above_the_file(tmp_path: Path) -> None:
    path = save(tmp_path, PLANES, imagej=True, metadata={"axes": "ZYX"})

    with pytest.raises(ValueError, match=r"axes ZYX.*none of them clearly the visits"):
        read_tiff(path)
    np.testing.assert_array_equal(read_one(path, axes="vyx").images[:, 0, 0], PLANES)


def test_ages_and_spacing_of_python_written_files(tmp_path: Path) -> None:
    metadata = {"axes": "TYX", "ages": [64, 63, 62, 61, 60], "spacing": [3.0, 0.5, 0.25]}

    stack = read_one(save(tmp_path, PLANES, metadata=metadata))

    assert stack.ages.tolist() == [60.0, 61.0, 62.0, 63.0, 64.0]
    assert (stack.spacing, stack.unit) == ((3.0, 0.5, 0.25), "mm")
    np.testing.assert_array_equal(stack.images[:, 0, 0], PLANES[::-1])


def test_imagej_spacing_becomes_mm(tmp_path: Path) -> None:
    metadata = {"axes": "TZYX", "spacing": 20.0, "unit": "um"}

    stack = read_one(save(tmp_path, VOLUMES, imagej=True, resolution=(4.0, 2.0), metadata=metadata))

    assert stack.spacing == pytest.approx((20e-3, 0.5e-3, 0.25e-3))
    assert stack.unit == "mm"


def test_ome_spacing_becomes_mm(tmp_path: Path) -> None:
    sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0}
    metadata = {"axes": "TZYX", **sizes, "PhysicalSizeZUnit": "mm"}

    stack = read_one(save(tmp_path, VOLUMES, "ann.ome.tif", metadata=metadata))

    assert stack.spacing == pytest.approx((2.0, 0.5e-3, 0.25e-3))  # micrometres unless said


@pytest.mark.parametrize("settings", [{"imagej": True}, {"ome": True}], ids=str)
def test_without_a_length_unit_spacing_counts_pixels(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    stack = read_one(save(tmp_path, PLANES, metadata={"axes": "TYX"}, **settings))

    assert (stack.spacing, stack.unit) == ((1.0, 1.0, 1.0), "pixel")


def test_colour_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, np.zeros((5, 16, 12, 3), np.uint8), photometric="rgb")

    with pytest.raises(ValueError, match="in colour"):
        read_tiff(path)


def test_single_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none of them clearly the visits"):
        read_tiff(save(tmp_path, PLANES[0]))


def test_images_of_different_size_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(PLANES)
        file.write(PLANES[:, :8])

    with pytest.raises(ValueError, match="2 images of different size"):
        read_tiff(tmp_path / "a.tif")


def test_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no splits"):
        read_tiff(save(tmp_path, PLANES), split="train")


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.1, 0.3, 0.5, 0.8])
@pytest.mark.parametrize(
    "settings",
    [{}, {"metadata": None}, {"compression": "zlib"}, {"imagej": True}, {"ome": True}],
    ids=str,
)
def test_file_cut_short_is_refused(tmp_path: Path, settings: dict[str, Any], kept: float) -> None:
    path = save(tmp_path, PLANES, **settings)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])

    with pytest.raises(ValueError, match="cut short"):
        read_tiff(path)


def test_foreign_file_is_refused_and_the_logger_left_as_it_was(tmp_path: Path) -> None:
    handlers = list(logging.getLogger("tifffile").handlers)
    (tmp_path / "a.tif").write_bytes(b"GIF89a" + bytes(100))

    with pytest.raises(ValueError, match="not a TIFF file"):
        read_tiff(tmp_path / "a.tif")
    assert logging.getLogger("tifffile").handlers == handlers
