from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_followup.io import read_stack, read_stacks
from napari_followup.synthetic import add_anomaly, phantoms, starmen
from napari_followup.synthetic.generic import draw

Run = Callable[..., int]


def test_one_series_is_read_back_as_it_was_made(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "new" / "one.npz"

    assert run("synthesize", "--out", path, "--visits", 4, "--seed", 3) == 0

    (expected,) = starmen(1, visits=4, seed=3)
    found = read_stack(path)
    np.testing.assert_array_equal(found.images, expected.images)
    np.testing.assert_allclose(found.ages, expected.ages)
    with np.load(path, allow_pickle=False) as file:
        assert "truth" not in file
        assert json.loads(str(file["provenance"]))["seed"] == 3


def test_a_sick_cohort_brings_its_truth(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "sick.npz"

    assert run("synthesize", "--out", path, "--kind", "darker_line", "--subjects", 3) == 0

    assert [stack.subject for stack in read_stacks(path)] == [f"starmen-000{n}" for n in range(3)]
    expected = [add_anomaly(stack, "darker_line", seed=n) for n, stack in enumerate(starmen(3))]
    with np.load(path, allow_pickle=False) as file:
        for number, (stack, truth) in enumerate(expected):
            np.testing.assert_array_equal(file["images"][number], stack.images[:, 0, 0])
            np.testing.assert_array_equal(file["truth"][number], truth[:, 0])


@pytest.mark.parametrize("subjects", [1, 2])
def test_tiffs_hold_ages_and_stand_beside_their_truth(
    subjects: int, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "sick.tif"
    words = ("--kind", "growing_circle", "--subjects", subjects, "--visits", 3)

    assert run("synthesize", "--out", path, *words) == 0

    stacks = read_stacks(path)
    assert len(stacks) == subjects
    for stack, expected in zip(stacks, starmen(subjects, visits=3), strict=True):
        np.testing.assert_allclose(stack.ages, expected.ages)
    truth = tifffile.imread(tmp_path / "sick_truth.tif")
    assert truth.shape == (*(() if subjects == 1 else (subjects,)), 3, 64, 64)
    assert truth.any()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--out", "x.png"), "out: got 'x.png'"),
        (("--out", "x.npz", "--kind", "hole"), "kind: got 'hole'"),
        (("--out", "x.npz", "--subjects", "0"), "subjects: got 0; starmen need 1 or more"),
        (("--out", "x.npz", "--visits", "0"), "visits: got 0; starmen need 1 or more"),
        (("--out", "x.npz", "--validation-share", "0.2"), "0.2 of 1 subject; give"),
        (("--out", "x.npz", "--subjects", "9", "--validation-share", "2"), "2.0 of 9 subjects"),
        (("--out", "x.tif", "--validation-share", "0.2"), "a TIFF has no splits"),
        (("--out", "folder.npz"), "is a folder; give a file"),
        (("--out", "file/x.npz"), "out: 'file' is a file"),
    ],
)
def test_wrong_wishes_are_named(
    words: tuple[str, ...],
    text: str,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.npz").mkdir()
    Path("file").write_text("")

    assert run("synthesize", *words) == 2
    assert text in capsys.readouterr().err
    assert not list(tmp_path.glob("x.*"))


def test_a_cohort_can_be_split(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cohort.npz"
    words = ("--subjects", 5, "--visits", 1, "--validation-share", 0.2)

    assert run("synthesize", "--out", path, *words) == 0

    assert capsys.readouterr().out.splitlines() == [
        "5 healthy subjects, 1 visit each: 4 train, 1 val",
        str(path),
    ]
    assert [len(read_stacks(path, split=word)) for word in ("train", "val")] == [4, 1]
    assert read_stacks(path, split="val")[0].subject == "starmen-0004"


@pytest.mark.parametrize("depth", [1, 3])
def test_phantoms_are_read_back_as_they_were_made(depth: int, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "heads.npz"
    words = ("--subjects", 2, "--visits", 3, "--seed", 4, "--size", 32, "--depth", depth)

    assert run("synthesize", "phantom", "--out", path, *words) == 0

    expected = phantoms(2, visits=3, seed=4, size=(32, 32), depth=depth)
    for found, wanted in zip(read_stacks(path), expected, strict=True):
        np.testing.assert_array_equal(found.images, wanted.images)
        np.testing.assert_allclose(found.ages, wanted.ages)
        assert found.subject == wanted.subject
        assert found.spacing[1:] == pytest.approx(wanted.spacing[1:])
        assert found.unit == "mm"


def test_a_phantom_volume_goes_into_a_tiff(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "head.tif"
    words = ("--visits", 2, "--size", 16, "--depth", 4, "--noise", 0)

    assert run("synthesize", "phantom", "--out", path, *words) == 0

    (expected,) = phantoms(1, visits=2, size=(16, 16), depth=4, noise=0)
    found = read_stack(path)
    np.testing.assert_array_equal(found.images, expected.images)
    assert found.spacing == pytest.approx(expected.spacing)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("phantom", "--size", "8"), "rows of size: got 8; phantoms need 16 or more"),
        (("--size", "32"), "size: starmen have 64 x 64 pixels; leave it out"),
        (("starmen", "--depth", "2"), "depth: starmen have 64 x 64 pixels"),
        (("moon",), "invalid choice: 'moon'"),
        (("phantom", "--kind", "darker_line"), "phantom has healthy, darker_blob, br"),
        (("--kind", "hole"), "starmen has healthy, growing_circle, "),
    ],
)
def test_what_a_generator_cannot_do_is_said(
    words: tuple[str, ...], text: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("synthesize", *words, "--out", tmp_path / "x.npz") == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("generator", ["starmen", "phantom"])
def test_blobs_and_patches_are_drawn_into_both(generator: str, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "sick.npz"
    words = ("--kind", "darker_blob", "--subjects", 2, "--visits", 3, "--seed", 5)

    assert run("synthesize", generator, "--out", path, *words) == 0

    healthy = (phantoms if generator == "phantom" else starmen)(2, visits=3, seed=5)
    expected = [draw(stack, "darker_blob", seed=5 + n) for n, stack in enumerate(healthy)]
    with np.load(path, allow_pickle=False) as file:
        for number, (stack, truth) in enumerate(expected):
            np.testing.assert_array_equal(file["images"][number], stack.images[:, 0, 0])
            np.testing.assert_array_equal(file["truth"][number], truth[:, 0])
            assert truth.any()
