from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_followup.models.bundle import HealthyScores, ModelBundle
from napari_followup.models.files import save_bundle
from napari_followup.recipe.recipe import HealthyHysteresis, Recipe

Run = Callable[..., int]


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "visits.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def words(model: Path, recipe: Path, tmp_path: Path) -> list[object]:
    return ["--model", model, "--recipe", recipe, "--out", tmp_path / "out", "--device", "cpu"]


def test_files_in_files_out(
    run: Run, series: Path, words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("detect", series, *words) == 0

    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["tiny.npz", "visits.csv"]
    assert [row["age"] for row in rows_of(tmp_path / "out")] == ["60.0", "61.0", "62.5", "64.0"]
    first, scores, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith(
        "tiny: 50 % of all pixels are flagged: the images are probably out of dis"
    )
    assert "anomalies" not in first  # no finding beside the warning
    assert scores.startswith("  highest score ")


def test_a_tiff_gives_tiffs_back(run: Run, words: list[object], tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    tifffile.imwrite(
        path,
        np.random.rand(3, 16, 16).astype("float32"),
        metadata={"axes": "TYX"},
        photometric="minisblack",
    )

    assert run("detect", path, *words) == 0

    for name in ("scan_mask.tif", "scan_score.tif", "scan_healthy.tif"):
        assert tifffile.imread(tmp_path / "out" / name).squeeze().shape == (3, 16, 16)


def test_one_failing_file_does_not_stop_the_rest(
    run: Run, series: Path, words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"no archive")

    assert run("detect", bad, tmp_path / "gone.npz", series, *words) == 1

    assert len(rows_of(tmp_path / "out")) == 4
    errors = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[2] for line in errors] == [str(bad), str(tmp_path / "gone.npz")]


def test_a_series_that_does_not_fit_the_model_is_one_failure(
    run: Run, series: Path, words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = tmp_path / "two.npz"
    np.savez(two, images=np.random.rand(3, 2, 1, 16, 16), axes="vmzyx")

    assert run("detect", two, series, *words) == 1
    assert "2 modalities" in capsys.readouterr().err


def test_a_folder_is_taken_file_by_file(run: Run, series: Path, words: list[object]) -> None:
    (series.parent / "other.npz").write_bytes(series.read_bytes())

    assert run("detect", series.parent, *words) == 0
    out = Path(str(words[5]))
    assert sorted(path.name for path in out.glob("*.npz")) == ["tiny-2.npz", "tiny.npz"]
    assert {Path(row["source"]).name for row in rows_of(out)} == {"other.npz", "patient.npz"}


def test_nothing_done_is_code_two(
    run: Run, words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()

    assert run("detect", tmp_path / "empty", *words) == 2
    said = capsys.readouterr().err
    assert "holds no series" in said
    assert "nothing could be examined" in said


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("--device", "abacus", "device: got 'abacus'"),
        ("--model", "ghost", "no model 'ghost'"),
        ("--recipe", "soup", "recipe: got 'soup'"),
    ],
)
def test_a_wrong_setting_is_said_once_before_any_file(
    option: str,
    value: str,
    text: str,
    run: Run,
    series: Path,
    words: list[object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("detect", series, series, *words, option, value) == 2
    said = capsys.readouterr().err
    assert said.count("error") == 1
    assert text in said


def test_cohort_files_are_examined_subject_by_subject(
    run: Run, words: list[object], tmp_path: Path
) -> None:
    cohort = tmp_path / "cohort.npz"
    split = np.array(["train", "val", "val"])
    np.savez(cohort, images=np.random.rand(3, 2, 16, 16), axes="svyx", split=split)

    assert run("detect", cohort, *words, "--split", "val") == 0

    subjects = {row["subject"] for row in rows_of(tmp_path / "out")}
    assert subjects == {"subject-0001", "subject-0002"}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain.tif"
    pixels = np.random.rand(3, 16, 16).astype("float32")
    tifffile.imwrite(path, pixels, photometric="minisblack")
    return path


def test_ages_can_be_given_to_a_series_without(
    run: Run, plain: Path, words: list[object], tmp_path: Path
) -> None:
    assert run("detect", plain, *words, "--ages", "61,62.5,64") == 0
    assert [row["age"] for row in rows_of(tmp_path / "out")] == ["61.0", "62.5", "64.0"]


@pytest.mark.parametrize(
    ("ages", "text"),
    [("61,62", "ages: got 2 for the 3 visits"), ("61;62", "years separated by commas")],
)
def test_wrong_ages_are_named(
    ages: str,
    text: str,
    run: Run,
    plain: Path,
    words: list[object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("detect", plain, *words, "--ages", ages) == 2
    assert text in capsys.readouterr().err


def test_ages_are_for_one_series_that_has_none(
    run: Run,
    plain: Path,
    series: Path,
    words: list[object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("detect", plain, series, *words, "--ages", "61,62,63") == 2
    assert "ages: they are for one series, got 2" in capsys.readouterr().err
    assert run("detect", series, *words, "--ages", "61,62,63,64") == 2
    assert "has ages of its own" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_form_of_the_results_can_be_chosen(
    run: Run, plain: Path, series: Path, words: list[object], tmp_path: Path
) -> None:
    assert run("detect", plain, *words, "--npz") == 0
    assert not list((tmp_path / "out").glob("*.tif"))
    assert run("detect", series, *words, "--tiff") == 0
    assert (tmp_path / "out" / "tiny_mask.tif").exists()


def test_how_a_file_was_taken_is_said(
    run: Run, words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    four = tmp_path / "four.tif"
    pixels = np.random.rand(2, 3, 16, 16).astype("float32")
    tifffile.imwrite(four, pixels, photometric="minisblack")

    assert run("detect", four, *words) == 0
    said = capsys.readouterr().out
    assert "read as volumes of 3 planes, examined plane by plane; if it is a cohort" in said
    assert run("detect", four, *words, "--axes", "svyx") == 0
    assert "read as a cohort of 2 subjects" in capsys.readouterr().out


def test_notes_and_the_folder_are_printed(
    run: Run, plain: Path, words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from napari_followup.io import read_stack

    assert run("detect", plain, *words) == 0

    notes = json.loads(str(np.load(tmp_path / "out" / "plain.npz")["provenance"]))["notes"]
    lines = capsys.readouterr().out.splitlines()
    assert notes
    assert lines[0].startswith(f"plain: {notes[-1]}")  # that the images are out of distribution
    assert lines[2:-1] == [f"  {note}" for note in notes[:-1]]
    assert lines[-1].startswith(f"Written to {tmp_path / 'out'}: 1 series")
    assert not read_stack(tmp_path / "out" / "plain.npz").ages_known


def test_what_was_dropped_after_the_threshold_is_said(
    run: Run, series: Path, words: list[object], recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = 'threshold = {kind = "Fixed", value = 1e-6}\n'
    recipe.write_text(f"{cut}smallest = 9999\nerosion = 1\n[options]\nnoise_levels = [10]")

    assert run("detect", series, *words) == 0

    said = capsys.readouterr().out
    assert "anomalies flagged at 0 of" in said
    assert "threshold 1e-06\n" in said
    assert "dropped: at the border of the subject or outside it, or smaller than 9999 " in said


def test_both_thresholds_from_healthy_subjects_are_reported(
    run: Run,
    series: Path,
    words: list[object],
    tiny_bundle: ModelBundle,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = Recipe(options={"noise_levels": (10,)}, threshold=HealthyHysteresis(low=0.9, high=0.5))
    scores = HealthyScores(shares=(1.0, 0.1), heights=(0.0, 0.00123), maxima=(0.0456, 0.0456))
    knowing = replace(tiny_bundle, own_recipe=own).with_healthy(own.score_key, scores)
    save_bundle(knowing, words[1])
    words[3] = "default"

    assert run("detect", series, *words) == 0

    said = capsys.readouterr().out
    assert "threshold 0.0456; regions grown down to 0.00123\n" in said


def test_a_file_is_named_once_and_a_failed_run_leaves_no_folder(
    run: Run, words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.npz").write_text("no archive")

    assert run("detect", tmp_path / "text.npz", *words) == 2

    assert capsys.readouterr().err.splitlines()[0].count("text.npz") == 1
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_the_folder_is_said_before_any_work(
    run: Run, series: Path, words: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("detect", series, *words, "--out", series) == 2
    assert f"out: '{series}' is a file; give a folder" in capsys.readouterr().err


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    """Three visits of a plane 4 mm thick, turned in space."""
    import nibabel

    affine = np.array([[-0.9, 0.1, 0, 80], [0.1, 0.9, 0, -70], [0, 0, 4, 12], [0, 0, 0, 1]])
    voxels = np.random.default_rng(0).random((16, 16, 1, 3)).astype(np.float32)
    image = nibabel.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "brain.nii.gz")
    return tmp_path / "brain.nii.gz"


def test_nifti_gives_nifti_back_on_the_same_grid(
    run: Run, nifti: Path, words: list[object], tmp_path: Path
) -> None:
    import nibabel

    assert run("detect", nifti, *words) == 0

    out = tmp_path / "out"
    maps = [f"brain_{name}.nii.gz" for name in ("healthy", "mask", "score")]
    sidecars = [name.replace(".nii.gz", ".json") for name in maps]
    tables = ["brain.npz", "brain_provenance.json", "brain_visits.csv", "visits.csv"]
    assert sorted(path.name for path in out.iterdir()) == sorted([*maps, *sidecars, *tables])
    for name in maps:
        image = nibabel.load(out / name)
        np.testing.assert_array_equal(image.affine, nibabel.load(nifti).affine)
        assert image.shape == (16, 16, 1, 3)
    with np.load(out / "brain.npz", allow_pickle=False) as file:
        mask = np.asarray(nibabel.load(out / "brain_mask.nii.gz").dataobj)
        np.testing.assert_array_equal(mask.T[:, 0], file["mask"][:, 0])
    said = json.loads((out / "brain_provenance.json").read_text())
    assert (said["model"], said["source"]) == ("tiny", str(nifti))
    assert said["command"].startswith("napari-followup detect ")
    with (out / "brain_visits.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    marked = [row["flagged_pixels"] for row in rows_of(out)]
    assert [row["voxels"] for row in rows] == marked
    assert [row["components"] for row in rows] == [row["components"] for row in rows_of(out)]


def test_the_npz_alone_can_be_asked_for(
    run: Run, nifti: Path, words: list[object], tmp_path: Path
) -> None:
    assert run("detect", nifti, *words, "--npz") == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["brain.npz", "visits.csv"]


@pytest.mark.parametrize(
    ("form", "ending"),
    [("nifti", ".nii.gz"), ("ome-tiff", ".ome.tif"), ("ome-zarr", ".ome.zarr"), ("npz", ".npz")],
)
def test_a_format_can_be_asked_for_and_written_again(
    form: str, ending: str, run: Run, series: Path, words: list[object], tmp_path: Path
) -> None:
    from napari_followup.io import read_stack

    for _ in range(2):  # results of the same name are replaced
        assert run("detect", series, *words, "--format", form) == 0

    stack = read_stack(tmp_path / "out" / f"tiny_score{ending}")
    assert stack.ages.tolist() == [60.0, 61.0, 62.5, 64.0]


def test_the_formats_on_offer_are_those_there_are() -> None:
    from napari_followup.cli.detect import FORMATS
    from napari_followup.io.save_results import FORMATS as KNOWN

    assert tuple(KNOWN) == FORMATS


@pytest.mark.parametrize("form", ["npz", "nifti"])
def test_some_planes_of_volumes_are_examined(
    run: Run,
    words: list[object],
    tmp_path: Path,
    form: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from napari_followup.io import read_stack

    path = tmp_path / "volumes.npz"
    np.savez(path, images=np.random.rand(2, 5, 16, 16), axes="vzyx", subject="p7")

    code = run("detect", path, *words, "--planes", "1:5:2", "--format", form)

    assert code == 0
    with np.load(tmp_path / "out" / "p7.npz") as found:
        assert np.isfinite(found["score"]).all(axis=(0, 2, 3)).tolist() == [0, 1, 0, 1, 0]
        assert json.loads(str(found["provenance"]))["planes"]["step"] == 2
    assert "planes 1 to 3 across z were examined, every 2 planes" in capsys.readouterr().out
    maps = [path for path in (tmp_path / "out").glob("p7_*") if path.suffix in (".npz", ".gz")]
    for name in ("score", "healthy"):
        (path,) = [path for path in maps if f"_{name}." in path.name]
        seen = np.isfinite(read_stack(path).images).all(axis=(0, 1, 3, 4))
        assert seen.tolist() == [0, 1, 0, 1, 0]
    assert (form == "nifti") == any(p.suffix == ".gz" for p in (tmp_path / "out").iterdir())


def test_planes_outside_a_series_are_its_failure(
    run: Run, series: Path, words: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("detect", series, *words, "--planes", "3:9") != 0

    assert "planes: got 3 to 9 across z, and 'tiny' has 1" in capsys.readouterr().err


def test_files_of_an_earlier_run_that_are_replaced_are_said(
    run: Run, series: Path, words: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("detect", series, *words) == 0
    assert "Replaced" not in capsys.readouterr().out
    assert run("detect", series, *words) == 0

    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "Replaced 2 files of an earlier run: tiny.npz, visits.csv"


def test_axes_are_asked_about_only_where_a_file_does_not_tell(
    run: Run, words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from napari_followup.io import write_nifti
    from napari_followup.series.stack import VisitStack

    stack = VisitStack.from_array(np.random.default_rng(0).random((2, 3, 16, 16), np.float32))
    write_nifti(tmp_path / "brain.nii.gz", stack)
    write_nifti(tmp_path / "one.nii.gz", stack.select([0]))
    (tmp_path / "table.csv").write_text("path,age\none.nii.gz,61\n")

    for name in ("brain.nii.gz", "table.csv"):
        assert run("detect", tmp_path / name, *words) == 0

    said = capsys.readouterr().out
    assert "read as volumes of 3 planes, examined plane by plane" in said
    assert "svyx" not in said


POOLED = """
threshold = {kind = "Quantile", q = 0.6, per = "%s"}
[options]
noise_levels = [10]
draws = 1
sampling_steps = 3
"""


def written(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, object]]:
    with np.load(path) as found:
        return found["mask"], found["score"], json.loads(str(found["provenance"]))


def test_a_threshold_of_the_data_set_is_drawn_by_all_files(
    run: Run,
    series: Path,
    recipe: Path,
    words: list[object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe.write_text(POOLED % "dataset")
    images = np.random.default_rng(0).random((3, 16, 16)).astype("float32")
    np.savez(tmp_path / "noise.npz", images=images, axes="vyx", subject="noise")
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"no archive")

    assert run("detect", series, bad, tmp_path / "noise.npz", *words) == 1

    out, said = tmp_path / "out", capsys.readouterr()
    found = [written(out / name) for name in ("tiny.npz", "noise.npz")]
    scores = np.concatenate([score for _, score, _ in found])
    height = float(np.quantile(scores, 0.6))
    assert 0 < height < 1
    for mask, score, about in found:
        np.testing.assert_array_equal(mask, score >= height)
        assert (about["threshold"], about["pooled_series"]) == (height, 2)
    assert {float(row["threshold"]) for row in rows_of(out)} == {float(f"{height:.6g}")}
    assert said.err.count("error") == 1
    assert str(bad) in said.err
    lines = said.out.splitlines()
    assert lines[0].startswith("tiny: examined (")
    assert lines[2] == "One threshold for 2 series; writing the results"
    assert lines[3].startswith("tiny: ")


def test_a_file_on_another_grid_fails_alone_where_each_pixel_has_its_threshold(
    run: Run,
    series: Path,
    recipe: Path,
    words: list[object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe.write_text(POOLED % "pixel")
    other = tmp_path / "other.npz"
    np.savez(other, images=np.random.rand(2, 20, 16), axes="vyx")

    assert run("detect", series, other, *words) == 1

    assert "lies on another grid than 'tiny'" in capsys.readouterr().err
    mask, score, _ = written(tmp_path / "out" / "tiny.npz")
    np.testing.assert_array_equal(mask, score >= np.quantile(score, 0.6, axis=0))


def test_nothing_is_written_where_no_series_of_a_data_set_can_be_examined(
    run: Run, recipe: Path, words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe.write_text(POOLED % "dataset")

    assert run("detect", tmp_path / "gone.npz", *words) == 2

    assert "nothing could be examined" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_result_that_cannot_be_written_does_not_lose_those_of_the_data_set(
    run: Run,
    series: Path,
    recipe: Path,
    words: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from napari_followup.cli import detect

    recipe.write_text(POOLED % "dataset")
    np.savez(tmp_path / "noise.npz", images=np.random.rand(3, 16, 16), axes="vyx", subject="noise")
    write = detect._write

    def full(args: object, source: Path, stem: str, found: object) -> None:
        if stem == "tiny":
            raise OSError("no space left")
        write(args, source, stem, found)

    monkeypatch.setattr(detect, "_write", full)

    assert run("detect", series, tmp_path / "noise.npz", *words) == 1
    assert written(tmp_path / "out" / "noise.npz")[2]["pooled_series"] == 2
