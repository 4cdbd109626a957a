from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_followup.comparison.regions import THRESHOLD
from napari_followup.io import read_stack, write_npz
from napari_followup.series.stack import VisitStack

Run = Callable[..., int]
SHAPE = (8, 24, 24)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Three visits; at the last one there is a bright lesion."""
    rng = np.random.default_rng(0)
    body = np.zeros(SHAPE)
    body[1:-1, 3:-3, 3:-3] = 1.0
    images = np.stack([100 * body + rng.normal(size=SHAPE) for _ in range(3)])
    images[2, 3:5, 10:13, 10:13] += 30
    stack = VisitStack.from_array(images, ages=[60.0, 61.0, 62.0], subject="p", spacing=(2, 1, 1))
    path = tmp_path / "p.npz"
    write_npz(path, stack)
    return path


def test_change_is_written_with_its_ages_and_summed_up(
    run: Run, series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "maps" / "change.npz"

    assert run("change", series, "--visits", 1, 3, "--out", out) == 0

    back = read_stack(out)
    assert back.shape == (1, 1, *SHAPE)
    assert (back.modalities, back.subject, back.ages.tolist()) == (("change",), "p", [62.0])
    assert back.images[0, 0, 3:5, 10:13, 10:13].mean() > 5
    np.testing.assert_array_equal(back.affine, read_stack(series).affine)
    step = back.provenance["steps"][-1]
    assert (step["step"], step["visits"], step["ages"]) == ("change", [1, 3], [60.0, 62.0])
    text = capsys.readouterr().out
    assert text.startswith(f"{out}: p, visit 1 to 3; brighter by 4 units of noise or ")
    assert step["meaning"] == (
        "above 0: brighter at the later visit (visit 3, age 62) than before (visit 1, age 60)"
    )
    assert [path.name for path in out.parent.iterdir()] == ["change.npz"]


def test_the_later_visit_comes_second_in_whatever_order_they_are_given(
    run: Run, series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outs = tmp_path / "one.nii.gz", tmp_path / "other.nii.gz"

    for visits, out in zip(((2, 3), (3, 2)), outs, strict=True):
        assert run("change", series, "--visits", *visits, "--out", out) == 0

    one, other = map(read_stack, outs)
    np.testing.assert_array_equal(one.images, other.images)
    assert one.ages.tolist() == other.ages.tolist() == [62.0]
    first, second = (each.provenance["steps"][-1] for each in (one, other))
    assert first == second
    assert second["visits"] == [2, 3]
    said = capsys.readouterr().out.splitlines()
    assert "by age" not in said[0]
    assert "p, visit 2 to 3 (by age)" in said[1]


def test_visits_without_ages_have_none_in_the_file(run: Run, series: Path, tmp_path: Path) -> None:
    stack = read_stack(series)
    write_npz(tmp_path / "bare.npz", replace(stack, ages_known=False))

    words = ["--visits", 1, 3, "--out", tmp_path / "c.npz"]
    assert run("change", tmp_path / "bare.npz", *words) == 0

    step = read_stack(tmp_path / "c.npz").provenance["steps"][-1]
    assert step["ages"] is None
    assert step["meaning"] == (
        "above 0: brighter at the later visit (visit 3) than before (visit 1)"
    )


def test_the_threshold_is_that_of_the_widget_unless_given(
    run: Run, series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shares = []
    for words in ([], ["--threshold", THRESHOLD], ["--threshold", 1]):
        assert run("change", series, "--visits", 1, 3, "--out", tmp_path / "c.npz", *words) == 0
        shares.append(re.findall(r"[\d.]+ units|[\d.]+%", capsys.readouterr().out))

    assert shares[0] == shares[1]
    assert shares[0][0] == f"{THRESHOLD:g} units"
    assert shares[2][0] == "1 units"
    assert float(shares[2][1][:-1]) > float(shares[0][1][:-1]) > 0
    assert run("change", "--help") == 0
    assert f"(default: {THRESHOLD:g})" in " ".join(capsys.readouterr().out.split())


def test_a_mask_says_where_to_look(run: Run, series: Path, tmp_path: Path) -> None:
    mask = np.zeros((1, *SHAPE), dtype=np.uint8)
    mask[:, 2:6, 6:18, 6:18] = 1
    write_npz(tmp_path / "mask.npz", VisitStack.from_array(mask, spacing=(2, 1, 1)))
    out = tmp_path / "change.nii.gz"

    words = ["--visits", 3, 1, "--mask", tmp_path / "mask.npz", "--smoothing", 1]
    assert run("change", series, *words, "--out", out) == 0

    found = read_stack(out).images[0, 0]
    assert not found[mask[0] == 0].any()
    assert found[3:5, 10:13, 10:13].mean() > 5


def test_the_modality_is_chosen_by_its_name(run: Run, series: Path, tmp_path: Path) -> None:
    stack = read_stack(series)
    images = np.concatenate([stack.images[::-1], stack.images], axis=1)  # T1 darkens, T2 brightens
    write_npz(tmp_path / "two.npz", stack.with_images(images, modalities=("T1", "T2")))
    out = tmp_path / "change.npz"

    found = {}
    for name in ("T1", "T2"):
        words = ["--visits", 1, 3, "--modality", name, "--out", out]
        assert run("change", tmp_path / "two.npz", *words) == 0
        back = read_stack(out)
        assert back.provenance["steps"][-1]["modality"] == name
        found[name] = back.images[0, 0, 3:5, 10:13, 10:13].mean()

    assert found["T1"] < -5
    assert found["T2"] > 5


def test_what_cannot_be_compared_is_said(
    run: Run, series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "c.npz"
    write_npz(tmp_path / "other.npz", VisitStack.from_array(np.ones((1, *SHAPE)), spacing=3 * [2]))
    for words, text in (
        (["--visits", 1, 4, "--out", out], "visits: got 4; 'p' has 3, counted from 1"),
        (["--visits", 0, 1, "--out", out], "visits: got 0; 'p' has 3"),
        (["--visits", 1, 2, "--modality", "T2", "--out", out], "modality: got 'T2'; the visits"),
        (["--visits", 2, 2, "--out", out], "visits: got 2 twice"),
        (["--visits", 1, 2, "--out", out, "--threshold", 0], "threshold: got 0.0; give one above"),
        (["--visits", 1, 2, "--out", tmp_path / "c.png"], "out: got 'c.png'; end the name in"),
        (["--visits", 1, 2, "--out", tmp_path], "end the name in"),
        (
            ["--visits", 1, 2, "--out", out, "--mask", tmp_path / "other.npz"],
            "mask: 'other.npz' lies on another grid",
        ),
        (["--visits", 1, 2, "--out", out, "--subject", "q"], "subject: got 'q'; the file holds p"),
        (["--out", out], "required: --visits"),
    ):
        assert run("change", series, *words) == 2
        said = capsys.readouterr().err
        assert text in said
        assert said.count("\n") == 1
    assert not out.exists()


def test_a_missing_visit_is_named_as_it_was_given(
    run: Run, series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = read_stack(series)
    images = stack.images.copy()
    images[1] = np.nan
    write_npz(tmp_path / "gap.npz", stack.with_images(images))

    assert run("change", tmp_path / "gap.npz", "--visits", 1, 2, "--out", tmp_path / "c.npz") == 2
    assert "visits: 2 of 'p' is missing; choose another" in capsys.readouterr().err
