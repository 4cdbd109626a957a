from __future__ import annotations

import os
import signal
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_followup.io import read_stack, write_npz
from napari_followup.io.nifti import write_nifti
from napari_followup.series.stack import VisitStack

pytest.importorskip("SimpleITK", reason="needs SimpleITK: pip install 'napari-followup[mri]'")

Run = Callable[..., int]


def blobs(shift: float, size: int = 20) -> NDArray[np.float32]:
    """Two blobs of other size, `shift` voxels along x from where they were."""
    places = np.moveaxis(np.indices((size // 2, size, size)), 0, -1)
    image = np.zeros(places.shape[:-1])
    for centre, width in (((4, 8, 8 + shift), 3.0), ((6, 13, 12 + shift), 2.0)):
        image += np.exp(-(((places - centre) / width) ** 2).sum(axis=-1))
    return (100 * image).astype(np.float32)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two visits of one subject in files of their own."""
    folder = tmp_path / "patient-03"
    folder.mkdir()
    paths = []
    for number, shift in enumerate((0.0, 2.0), start=1):
        paths.append(folder / f"visit{number}.nii.gz")
        stack = VisitStack.from_array(blobs(shift)[None], spacing=(2.0, 1.5, 1.5))
        write_nifti(paths[-1], stack)
        paths[-1].with_name(f"visit{number}.json").unlink(missing_ok=True)
    return paths


def likeness(stack: VisitStack) -> float:
    first, second = stack.images[:, 0, :, 2:-2, 2:-4].reshape(2, -1)
    return float(np.corrcoef(first, second)[0, 1])


def test_files_become_one_aligned_series(
    run: Run, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" / "aligned.npz"

    assert run("align", *files, "--ages", 61, 62.5, "--out", out) == 0

    back = read_stack(out)
    assert back.ages.tolist() == [61.0, 62.5]
    assert back.spacing == pytest.approx((2.0, 1.5, 1.5))
    assert likeness(back) > 0.97
    assert back.provenance["steps"][-1]["step"] == "align"
    assert back.provenance["command"].startswith("napari-followup align ")
    text = capsys.readouterr().out
    assert "visit 2 (age 62.5) of 'patient-03': moved by " in text
    assert f"{out}: patient-03, 2 visits on one grid (" in text
    assert [path.name for path in out.parent.iterdir()] == ["aligned.npz"]


def test_a_table_and_a_series_are_taken_and_nifti_is_written(
    run: Run, files: list[Path], tmp_path: Path
) -> None:
    table = files[0].parent / "visits.csv"
    table.write_text("path,age\nvisit1.nii.gz,61\nvisit2.nii.gz,62\n", encoding="utf-8")
    series = tmp_path / "series.npz"
    images = np.stack([blobs(0.0), blobs(2.0)])
    write_npz(series, VisitStack.from_array(images, spacing=(2.0, 1.5, 1.5)))

    for given, name in ((table, "table.nii.gz"), (series, "series.nii")):
        assert run("align", given, "--out", tmp_path / name, "--interpolation", "cubic") == 0
        assert likeness(read_stack(tmp_path / name)) > 0.97


@pytest.mark.parametrize("name", ["aligned.npz", "aligned.nii.gz"])
def test_a_visit_without_an_image_stays_missing(
    run: Run, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    table = files[0].parent / "visits.csv"
    rows = "p07,1,visit1.nii.gz,61.2\np07,2,visit2.nii.gz,62.4\np07,3,,63.5\n"
    table.write_text(f"subject,visit,path,age\n{rows}", encoding="utf-8")

    assert run("align", table, "--out", tmp_path / name) == 0

    back = read_stack(tmp_path / name)
    assert back.ages.tolist() == [61.2, 62.4, 63.5]
    assert back.is_missing.tolist() == [False, False, True]
    assert np.isnan(back.images[2]).all()
    text = capsys.readouterr().out
    assert "visit 3 (age 63.5) of 'p07': missing\n" in text
    assert "p07, 3 visits on one grid, 1 of them missing (" in text


def test_ctrl_c_writes_nothing(
    run: Run,
    files: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    registration = import_module("napari_followup.alignment.align")
    search = registration.rigid

    def interrupted(*args: Any, **settings: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return search(*args, **settings)

    monkeypatch.setattr(registration, "rigid", interrupted)

    assert run("align", *files, "--out", tmp_path / "a.npz") == 130
    assert "stopped; nothing was written" in capsys.readouterr().out
    assert not (tmp_path / "a.npz").exists()


def test_what_cannot_be_aligned_is_said(
    run: Run, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.npz"
    table = tmp_path / "two.csv"
    rows = "".join(f"{name},{path}\n" for name, path in zip("ab", files, strict=True))
    table.write_text(f"subject,path\n{rows}", encoding="utf-8")
    gap, pictures = tmp_path / "gap.csv", tmp_path / "pictures.csv"
    gap.write_text(f"path,age\n{files[0]},61\n,62\n", encoding="utf-8")
    pictures.write_text(f"picture\n{files[0]}\n", encoding="utf-8")
    for words, text in (
        ([files[0], "--out", out], "holds one visit; give two or more"),
        ([table, "--out", out], "subject: there are several; give --subject, one of a, b"),
        ([table, "--subject", "c", "--out", out], "subject: got 'c'; the file holds a, b"),
        ([*files, "--out", tmp_path / "a.txt"], "out: got 'a.txt'; end the name in .npz"),
        ([*files, "--out", out, "--modality", "T1"], "modality: got 'T1'"),
        ([files[0].parent, "--ages", 1, 2, "--out", out], "ages: give them with several files"),
        ([*files, "--out", out, "--threads", 0], "threads: got 0"),
        ([*files, "--out", out, "--reference", 3], "reference: got 3; there are 2 visits, counted"),
        ([gap, "--out", out], "holds one visit; give two or more"),
        ([pictures, "--out", out], "name it 'path' (in Python: columns={'path': "),
        ([tmp_path / "none.nii", "--out", out], "none.nii"),
    ):
        assert run("align", *words) == 2
        said = capsys.readouterr().err
        assert text in said
        assert said.count("\n") == 1
    assert not out.exists()
