from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_followup.io import lazy, read_stack
from napari_followup.io.errors import ReadError
from napari_followup.io.zarr import read_zarr, write_zarr
from napari_followup.series.stack import VisitStack

VOXELS = np.arange(3 * 2 * 4 * 5, dtype=np.uint16).reshape(3, 2, 4, 5)


def foreign(folder: Path, axes: str, version: str = "0.4", **unit: str) -> Path:
    """Write an image as other programs do, with two levels."""
    form = 2 if version == "0.4" else 3
    group = zarr.open_group(folder / "a.ome.zarr", mode="w", zarr_format=form)
    values = VOXELS[0] if len(axes) == 3 else VOXELS
    group.create_array("s0", data=values)
    scale = [{"type": "scale", "scale": [1.0, 2.0, 0.5, 0.25][-len(axes) :]}]
    about: dict[str, Any] = {
        "multiscales": [
            {
                "axes": [{"name": letter, **(unit if letter in "zyx" else {})} for letter in axes],
                "datasets": [{"path": "s0", "coordinateTransformations": scale}],
            }
        ]
    }
    group.attrs.update(about if form == 2 else {"ome": {"version": "0.5", **about}})
    return folder / "a.ome.zarr"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_axes_scale_and_units_come_from_the_metadata(tmp_path: Path, version: str) -> None:
    stack = read_stack(foreign(tmp_path, "tzyx", version, unit="micrometer"))

    assert (stack.subject, stack.shape, stack.unit) == ("a", (3, 1, 2, 4, 5), "mm")
    assert stack.spacing == pytest.approx((2e-3, 0.5e-3, 0.25e-3))
    np.testing.assert_array_equal(stack.images[:, 0], VOXELS)


def test_without_units_spacing_counts_pixels_and_without_time_there_is_one_visit(
    tmp_path: Path,
) -> None:
    stack = read_stack(foreign(tmp_path, "zyx"))

    assert (stack.shape, stack.unit, stack.spacing) == ((1, 1, 2, 4, 5), "pixel", (1, 1, 1))


def test_channels_are_modalities(tmp_path: Path) -> None:
    path = foreign(tmp_path, "tcyx")
    attributes = json.loads((path / ".zattrs").read_text())
    attributes["omero"] = {"channels": [{"label": "T1"}, {"label": "T2"}]}
    (path / ".zattrs").write_text(json.dumps(attributes))

    assert read_stack(path).modalities == ("T1", "T2")


def test_given_axes_stand_above_the_metadata(tmp_path: Path) -> None:
    (stack,) = read_zarr(foreign(tmp_path, "zyx"), axes="vyx")

    assert stack.shape == (2, 1, 1, 4, 5)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_large_arrays_stay_on_disk_both_ways(
    tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lazy, "LAZY_ABOVE", 10)
    write_zarr(tmp_path / "a.zarr", VisitStack.from_array(VOXELS), version=version)

    stack = read_stack(tmp_path / "a.zarr")
    write_zarr(tmp_path / "b.zarr", stack, version=version)

    assert hasattr(stack.images, "dask")
    np.testing.assert_array_equal(np.asarray(read_stack(tmp_path / "b.zarr").images)[:, 0], VOXELS)


@pytest.mark.parametrize(
    ("version", "name", "attributes"),
    [("0.4", ".zattrs", ("zarr_format", 2)), ("0.5", "zarr.json", ("zarr_format", 3))],
)
def test_what_is_written_is_of_its_version(
    tmp_path: Path, version: str, name: str, attributes: tuple[str, int]
) -> None:
    path = write_zarr(
        tmp_path / "a.zarr", VisitStack.from_array(VOXELS, spacing=(3, 2, 1)), version=version
    )

    said = json.loads((path / name).read_text())
    image = (said if version == "0.4" else said["attributes"]["ome"])["multiscales"][0]
    assert [axis["name"] for axis in image["axes"]] == ["t", "c", "z", "y", "x"]
    assert image["axes"][4] == {"name": "x", "type": "space", "unit": "millimeter"}
    scale = image["datasets"][0]["coordinateTransformations"][0]["scale"]
    assert scale == [1.0, 1.0, 3.0, 2.0, 1.0]


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "a.zarr", mode="w")
    with pytest.raises(ReadError, match=r"'a.zarr': is no readable OME-Zarr image \(KeyError"):
        read_stack(tmp_path / "a.zarr")
    with pytest.raises(ReadError, match="no splits"):
        read_zarr(tmp_path / "a.zarr", split="train")


def test_other_names_and_versions_are_not_written(tmp_path: Path) -> None:
    stack = VisitStack.from_array(VOXELS)
    with pytest.raises(ValueError, match=r"end the name in \.zarr"):
        write_zarr(tmp_path / "a", stack)
    with pytest.raises(ValueError, match=r"give '0\.4' or '0\.5'"):
        write_zarr(tmp_path / "a.zarr", stack, version="0.3")
