from __future__ import annotations

import argparse
import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_followup.cli.files import (
    add_series,
    check_file,
    detection_rows,
    files_there,
    is_nifti,
    read_series,
    replaced_line,
    report_failure,
    subject_of,
    write_csv,
    write_detection,
    write_maps,
    write_series,
    write_tiff,
)
from napari_followup.detection.detect import detect
from napari_followup.io import read_stack
from napari_followup.models.bundle import ModelBundle
from napari_followup.recipe.recipe import Recipe
from napari_followup.series.results import Detection
from napari_followup.series.stack import VisitStack


@pytest.fixture
def found(tiny_series: VisitStack, tiny_bundle: ModelBundle, tiny_recipe: Recipe) -> Detection:
    return detect(tiny_series, tiny_bundle, tiny_recipe, seed=4)


def test_maps_keep_their_values_and_say_how_they_came_about(tmp_path: Path) -> None:
    path = write_maps(tmp_path / "x.npz", {"mask": np.eye(3, dtype=bool)}, {"seed": 1})

    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["mask"], np.eye(3, dtype=bool))
        assert json.loads(str(file["provenance"])) == {"seed": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_tiff_is_read_back_with_ages_and_spacing(tmp_path: Path, tiny_series: VisitStack) -> None:
    stack = tiny_series.with_images(tiny_series.images, spacing=(3.0, 2.0, 1.0))

    path = write_tiff(tmp_path / "x.tif", stack.images[:, 0], stack, {"seed": 1})

    again = read_stack(path)
    np.testing.assert_array_equal(again.images, stack.images)
    assert again.ages.tolist() == stack.ages.tolist()
    assert again.spacing == (3.0, 2.0, 1.0)


def test_a_detection_becomes_one_npz_with_every_stage(tmp_path: Path, found: Detection) -> None:
    (path,) = write_detection(tmp_path, "tiny", found)

    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["mask"], found.mask)
        np.testing.assert_array_equal(file["score_pixel"], found.scores["pixel"])
        np.testing.assert_array_equal(file["healthy"], found.healthy)
        said = json.loads(str(file["provenance"]))
    assert (said["seed"], said["model"], said["threshold"]) == (4, "tiny", found.threshold)


def test_tiffs_stand_beside_it_when_asked_for(tmp_path: Path, found: Detection) -> None:
    import tifffile

    paths = write_detection(tmp_path, "tiny", found, tiff=True)

    assert [path.name for path in paths] == [
        "tiny.npz",
        "tiny_mask.tif",
        "tiny_score.tif",
        "tiny_healthy.tif",
    ]
    with tifffile.TiffFile(paths[1]) as file:
        assert file.series[0].axes == "TZYX"
        np.testing.assert_array_equal(file.asarray(), found.mask)
        assert json.loads(file.shaped_metadata[0]["provenance"])["seed"] == 4
    np.testing.assert_allclose(read_stack(paths[3]).images, found.healthy, rtol=1e-6)


def test_the_table_has_a_row_a_visit(tmp_path: Path, found: Detection) -> None:
    path = write_csv(tmp_path / "visits.csv", detection_rows(found, "patient.npz"))

    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["age"]) for row in rows] == found.stack.ages.tolist()
    assert [int(row["flagged_pixels"]) for row in rows] == found.mask.sum(axis=(1, 2, 3)).tolist()
    assert {(row["source"], row["model"], row["model_version"]) for row in rows} == {
        ("patient.npz", "tiny", "1")
    }
    assert all(len(value) < 40 for row in rows for value in row.values())


def test_numbers_of_the_table_have_six_digits(found: Detection) -> None:
    stack = found.stack.with_images(found.stack.images, ages=found.stack.ages + 1 / 3)

    rows = detection_rows(replace(found, stack=stack), "patient.npz")

    assert rows[0]["age"] == 60.3333
    assert rows[0]["image_score"] == float(f"{found.image_score[0]:.6g}")


def test_recipes_of_the_table_go_by_name_or_hash(found: Detection) -> None:
    known = found.provenance | {"recipe_name": "published"}

    assert detection_rows(replace(found, provenance=known), "x")[0]["recipe"] == "published"
    assert re.fullmatch("[0-9a-f]{12}", detection_rows(found, "x")[0]["recipe"])


def test_images_of_a_result_are_read_back(tmp_path: Path, found: Detection) -> None:
    (path,) = write_detection(tmp_path, "tiny", found)

    again = read_stack(path)

    np.testing.assert_array_equal(again.images, found.stack.images)
    assert (again.subject, again.unit, again.ages_known) == ("tiny", "pixel", True)
    assert again.ages.tolist() == found.stack.ages.tolist()


def test_no_rows_no_table(tmp_path: Path) -> None:
    assert not write_csv(tmp_path / "visits.csv", []).exists()


def test_nifti_is_known_by_files_folders_and_tables(tmp_path: Path) -> None:
    folder = tmp_path / "sub-1" / "anat"
    folder.mkdir(parents=True)
    assert not is_nifti(tmp_path)
    (folder / "a.nii.gz").write_bytes(b"")
    (tmp_path / "visits.csv").write_text("path,age\nsub-1/anat/a.nii.gz,61\n")
    (tmp_path / "other.csv").write_text("path,age\na.tif,61\n")

    assert is_nifti(tmp_path)
    assert is_nifti(folder / "a.nii.gz")
    assert is_nifti(tmp_path / "visits.csv")
    assert not is_nifti(tmp_path / "other.csv")
    assert not is_nifti(Path("a.tif"))


def test_a_tiff_keeps_which_visits_are_missing(tmp_path: Path, tiny_series: VisitStack) -> None:
    seen = np.arange(tiny_series.n_visits) != 1
    stack = tiny_series.with_images(tiny_series.images, is_observed=seen)

    path = write_tiff(tmp_path / "x.tif", np.zeros(stack.shape, bool)[:, 0], stack, {})

    assert read_stack(path).is_observed.tolist() == seen.tolist()


@pytest.mark.parametrize(
    ("unit", "size", "said"), [("mm", 0.5 * 0.4, "mm²"), ("pixel", 1, "pixels")]
)
def test_sizes_of_the_table_are_areas_of_planar_series(
    found: Detection, unit: str, size: float, said: str
) -> None:
    stack = found.stack.with_images(found.stack.images, spacing=(7.0, 0.5, 0.4), unit=unit)

    rows = detection_rows(replace(found, stack=stack), "patient.npz")

    assert {row["unit"] for row in rows} == {said}
    marked = [row["flagged_pixels"] for row in rows]
    assert [row["flagged_size"] for row in rows] == pytest.approx([n * size for n in marked])
    assert sum(marked) > 0


def test_tiffs_of_some_planes_are_read_back(tmp_path: Path, found: Detection) -> None:
    score = np.repeat(found.score, 2, axis=1)
    score[:, 0] = np.nan
    stack = found.stack.with_images(np.repeat(found.stack.images, 2, axis=2))
    some = replace(found, stack=stack, score=score, mask=score > 0.5, healthy=None)

    paths = write_detection(tmp_path, "tiny", some, tiff=True)

    np.testing.assert_array_equal(read_stack(paths[2]).images[:, 0], score)


def test_what_was_there_before_and_was_written_anew_is_named(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        write_csv(tmp_path / name, [{"n": 1}])
    before = files_there(tmp_path)
    for name in ("b.csv", "c.csv"):
        write_csv(tmp_path / name, [{"n": 1}])

    assert replaced_line(tmp_path, before) == "Replaced 1 file of an earlier run: b.csv"
    assert replaced_line(tmp_path, files_there(tmp_path)) == ""
    assert files_there(tmp_path / "none") == {}


@pytest.mark.parametrize("name", ["a.npz", "a.nii", "a.nii.gz"])
def test_the_name_says_the_format(name: str, tmp_path: Path) -> None:
    stack = VisitStack.from_array(np.random.default_rng(0).random((2, 3, 4, 5)), spacing=(3, 1, 1))

    check_file(tmp_path / "new" / name)
    write_series(tmp_path / "new" / name, stack, "napari-followup align")

    back = read_stack(tmp_path / "new" / name)
    np.testing.assert_array_equal(back.images, stack.images)
    assert back.spacing == stack.spacing


def test_files_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a.npz"
    folder.mkdir()
    (tmp_path / "file").write_text("")

    with pytest.raises(ValueError, match=r"end the name in \.npz, \.nii, \.nii\.gz"):
        check_file(tmp_path / "a.tif")
    with pytest.raises(IsADirectoryError, match="is a folder; give a file"):
        check_file(folder)
    with pytest.raises(NotADirectoryError, match="is a file; give a folder"):
        check_file(tmp_path / "file" / "a.npz")


def test_one_subject_is_kept() -> None:
    a, b = (VisitStack.from_array(np.ones((1, 2, 2)), subject=name) for name in "ab")

    assert subject_of([a, a], None) == [a, a]
    assert subject_of([a, b], "b") == [b]
    with pytest.raises(ValueError, match="several; give --subject, one of a, b"):
        subject_of([a, b], None)


def given(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_series(parser)
    return parser.parse_args([*map(str, words), "--out", "out"])


def test_series_come_with_their_files_and_failures_in_their_place(
    series: Path, tmp_path: Path
) -> None:
    bad, empty = tmp_path / "bad.npz", tmp_path / "empty"
    bad.write_text("no archive")
    empty.mkdir()

    found = list(read_series(given(bad, empty, series)))

    assert [source for source, _ in found] == [bad, empty, series]
    assert [isinstance(each, ValueError) for _, each in found] == [True, True, False]


def test_a_cohort_is_announced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "two.npz"
    np.savez(path, images=np.ones((2, 3, 8, 8)), split=np.array(["a", "b"]))

    assert len(list(read_series(given(path)))) == 2
    assert "read as a cohort of 2 subjects" in capsys.readouterr().out
    assert len(list(read_series(given(path, "--split", "b")))) == 1


def test_a_file_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    report_failure(Path("data/a.npz"), ValueError("'a.npz': is an empty file"))

    assert capsys.readouterr().err == ("napari-followup: error: data/a.npz: is an empty file\n")
