from __future__ import annotations

import csv
import errno
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

import napari_followup as nf
from napari_followup.io import read_stack, write_nifti, write_table
from napari_followup.io.nifti import read_nifti
from napari_followup.io.save_results import (
    FORMATS,
    lesion_rows,
    lesion_size,
    result_parts,
    save_results,
    usual_format,
)
from napari_followup.io.table import read_table
from napari_followup.series.results import Cancelled, Detection
from napari_followup.series.stack import VisitStack


def found(z: int, **settings: object) -> Detection:
    """Two lesions of 3 and 1 voxels at the first visit, which touch at no corner."""
    mask = np.zeros((2, z, 6, 6), bool)
    mask[0, 0, 0, 0] = mask[0, 0, 1, 1] = mask[0, 0, 1, 2] = mask[0, 0, 5, 5] = True
    stack = VisitStack.from_array(np.zeros((2, z, 6, 6)), axes="vzyx", **settings)  # type: ignore[arg-type]
    score = mask.astype(np.float32)
    return Detection(
        stack=stack,
        mask=mask,
        score=score,
        scores={},
        healthy=None,
        image_score=np.array([0.5, math.nan], np.float32),
        threshold=0.5,
    )


def test_planes_have_areas_and_parts_that_touch_at_a_corner_are_one() -> None:
    rows = lesion_rows(found(1, ages=[61, 62], spacing=(9, 2, 0.5), subject="anna"))

    assert rows[0] == {
        "subject": "anna",
        "visit": 1,
        "age": 61.0,
        "observed": True,
        "image_score": 0.5,
        "components": 2,
        "voxels": 4,
        "area_mm2": 4.0,
    }
    assert (rows[1]["components"], rows[1]["area_mm2"]) == (0, 0.0)


def test_volumes_have_volumes() -> None:
    rows = lesion_rows(found(2, spacing=(3, 2, 0.5)))

    assert rows[0]["volume_mm3"] == pytest.approx(12.0)
    assert rows[0]["age"] == ""


def test_without_a_unit_there_are_only_voxels(tmp_path: Path) -> None:
    rows = lesion_rows(found(1))

    assert not {"area_mm2", "volume_mm3"} & set(rows[0])
    table = read_table(write_table(tmp_path / "a.csv", rows))
    assert [row.cells["voxels"] for row in table] == ["4", "0"]


def test_sizes_are_areas_volumes_or_counts() -> None:
    spacing = (9, 2, 0.5)

    assert lesion_size(found(1, spacing=spacing).stack, 3) == (3.0, "mm²")
    assert lesion_size(found(2, spacing=spacing).stack, 3) == (27.0, "mm³")
    assert lesion_size(found(1, spacing=spacing, unit="pixel").stack, 3) == (3.0, "pixels")
    assert lesion_size(found(2).stack, 3) == (3.0, "voxels")


AFFINE = np.array([[0, 0, -0.8, 90], [0, 0.9, 0, -70], [3.3, 0, 0, 12], [0, 0, 0, 1.0]])


def detection(**settings: Any) -> Detection:
    """Three visits, the second missing, a lesion of two voxels at the third."""
    images = np.random.default_rng(0).random((3, 1, 2, 5, 6), np.float32)
    images[1] = np.nan
    given = {"ages": [61, 62, 63.5], "affine": AFFINE.astype(np.float32), "subject": "anna 1"}
    stack = VisitStack.from_array(images, **(given | settings))
    score = images[:, 0] / 2
    mask = np.zeros(score.shape, bool)
    mask[2, 1, 2:4, 3] = True
    return Detection(
        stack=stack,
        mask=mask,
        score=score,
        scores={"pixel": score, "lafm": score * 2},
        healthy=images + 1,
        image_score=np.array([0.2, math.nan, 0.9], np.float32),
        threshold=0.4,
        floor=0.3,
        provenance={"model": "m", "model_fingerprint": "abc", "seed": 4, "notes": []},
    )


@pytest.mark.parametrize("form", FORMATS)
def test_maps_table_and_provenance_lie_in_the_folder(tmp_path: Path, form: str) -> None:
    found, ending = detection(), FORMATS[form]

    written = save_results(found, tmp_path / "a" / "b", format=form)

    names = [f"anna_1_{which}{ending}" for which in ("mask", "score", "healthy")]
    names += ["anna_1_visits.csv", "anna_1_provenance.json"]
    assert [path.name for path in written] == names
    assert not [path for path in (tmp_path / "a" / "b").iterdir() if path.name.startswith(".")]
    mask, score, healthy = (read_stack(path) for path in written[:3])
    np.testing.assert_array_equal(mask.images[:, 0], found.mask)
    np.testing.assert_array_equal(score.images[:, 0], found.score)
    np.testing.assert_array_equal(healthy.images, found.healthy)
    for each in (mask, score, healthy):
        np.testing.assert_array_equal(each.affine, found.stack.affine)
        assert each.is_observed.tolist() == [True, False, True]
        assert (each.ages.tolist(), each.unit) == ([61, 62, 63.5], "mm")
        assert (each.provenance["seed"], each.provenance["threshold"]) == (4, 0.4)
    with written[3].open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["voxels"] for row in rows] == ["0", "0", "2"]
    assert float(rows[2]["volume_mm3"]) == pytest.approx(2 * 0.8 * 0.9 * 3.3)
    said = json.loads(written[4].read_text())
    assert (said["model_fingerprint"], said["subject"]) == ("abc", "anna 1")
    assert said["files"] == names[:3]


def test_the_grid_in_the_file_is_that_of_the_source_to_the_bit(tmp_path: Path) -> None:
    turned = AFFINE.copy()
    turned[0, 1], turned[1, 2] = 0.0123, -0.017
    source = detection(affine=turned.astype(np.float32)).stack
    write_nifti(tmp_path / "source.nii.gz", source)
    (stack,) = read_nifti(tmp_path / "source.nii.gz")

    written = save_results(replace(detection(), stack=stack), tmp_path / "out")

    before = nibabel.load(tmp_path / "source.nii.gz")
    for path in written[:3]:
        after = nibabel.load(path)
        np.testing.assert_array_equal(after.affine, before.affine)
        for field in ("srow_x", "srow_y", "srow_z", "pixdim", "xyzt_units"):
            np.testing.assert_array_equal(after.header[field], before.header[field])


def test_stages_are_written_by_name_and_healthy_only_where_there_is_one(tmp_path: Path) -> None:
    found = replace(detection(), healthy=None)

    written = save_results(found, tmp_path, maps=("healthy", "pixel", "lafm"), name="x")

    assert [path.name for path in written[:2]] == ["x_score-pixel.nii.gz", "x_score-lafm.nii.gz"]
    np.testing.assert_array_equal(read_stack(written[1]).images[:, 0], found.scores["lafm"])


def test_the_threshold_that_was_moved_is_the_one_that_is_saved(tmp_path: Path) -> None:
    found = detection().at_threshold(0.25)

    written = save_results(found, tmp_path, format="npz")

    voxels = int((found.score >= 0.25).sum())
    assert voxels > 0
    assert read_stack(written[0]).images.sum() == voxels
    assert json.loads(written[-1].read_text())["threshold"] == 0.25


def test_a_map_or_format_that_there_is_not_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"format: got 'mgz'; give one of nifti, ome-tiff"):
        save_results(detection(), tmp_path, format="mgz")
    with pytest.raises(ValueError, match=r"maps: got 'fam'; give some of mask, score, pixel, lafm"):
        save_results(detection(), tmp_path, maps=["fam"])


def test_files_that_are_there_stay_unless_they_may_be_replaced(tmp_path: Path) -> None:
    save_results(detection(), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    with pytest.raises(
        FileExistsError, match=r"holds 'anna_1_mask\.nii\.gz' already; give another"
    ):
        save_results(detection().at_threshold(0.1), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before

    (mask, *_) = save_results(detection().at_threshold(0.1), tmp_path, overwrite=True)
    assert read_stack(mask).provenance["threshold"] == 0.1
    assert sorted(tmp_path.iterdir()) == sorted(before)


@pytest.mark.parametrize("form", FORMATS)
def test_a_full_disk_names_the_file_and_leaves_what_was_there(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_results(detection(), tmp_path / "out", format=form)
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("napari_followup.io.save_results.write_table", full)  # after the maps
    name = str(tmp_path / "out" / "anna_1_visits.csv")
    with pytest.raises(OSError, match=r"No space left on device.*has room") as caught:
        save_results(detection().at_threshold(0.1), tmp_path / "out", format=form, overwrite=True)

    assert name in str(caught.value)
    assert {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()} == before
    with pytest.raises(OSError, match="No space left"):
        save_results(detection(), tmp_path / "new", format=form)
    assert not (tmp_path / "new").exists()


def test_a_map_that_cannot_be_written_is_named_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nibabel.nifti1.Nifti1Header.write_to", full)

    with pytest.raises(OSError, match="cannot write") as caught:
        save_results(detection(), tmp_path)

    assert f"cannot write {str(tmp_path / 'anna_1_mask.nii.gz')!r}" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_may_not_be_written_into_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)

    with pytest.raises(PermissionError, match=r"anna_1_mask.*Permission denied.*written into"):
        save_results(detection(), tmp_path)


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")

    with pytest.raises(NotADirectoryError, match=r"out' is a file; give a folder"):
        save_results(detection(), tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_stopped_in_between_it_leaves_nothing(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> bool:
        steps.append((done, total))
        return done < 2

    with pytest.raises(Cancelled, match="nothing was kept"):
        save_results(detection(), tmp_path / "out", on_step=stop)

    assert steps == [(1, 5), (2, 5)]
    assert not (tmp_path / "out").exists()


def test_without_lengths_the_usual_format_is_ome_tiff() -> None:
    stack = VisitStack.from_array(np.zeros((2, 4, 4)))

    assert usual_format(stack) == "ome-tiff"
    assert usual_format(detection().stack) == "nifti"
    assert next(iter(result_parts(detection()))) == "anna_1_mask.nii.gz"


def test_scripts_find_it_at_the_top() -> None:
    assert nf.save_results is save_results


@pytest.mark.parametrize("form", FORMATS)
def test_planes_that_were_not_examined_stay_nan_and_are_0_in_the_mask(
    tmp_path: Path, form: str
) -> None:
    found = detection()
    score, healthy = found.score.copy(), np.array(found.healthy)
    score[:, 0] = healthy[:, :, 0] = np.nan  # the first plane of every visit
    found = replace(found, score=score, healthy=healthy)

    paths = save_results(found, tmp_path, format=form)[:3]

    mask, *maps = (read_stack(path) for path in paths)
    assert not mask.images[:, :, 0].any()
    for back, values in zip(maps, (score, healthy[:, 0]), strict=True):
        assert back.is_observed.tolist() == [True, False, True]
        np.testing.assert_array_equal(back.images[:, 0], values)


@pytest.mark.parametrize("format", FORMATS)
def test_saved_maps_in_the_folder_of_a_series_are_no_series(tmp_path: Path, format: str) -> None:
    found = detection()
    source = write_nifti(tmp_path / "anna.nii.gz", found.stack)
    save_results(found, tmp_path, format=format)

    np.testing.assert_array_equal(read_stack(tmp_path).images, read_stack(source).images)


def test_a_series_whose_name_looks_like_a_map_is_read(tmp_path: Path) -> None:
    write_nifti(tmp_path / "anna_score.nii.gz", detection().stack)

    assert read_stack(tmp_path).n_visits == 3
