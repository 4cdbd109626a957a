from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_followup.io import npz
from napari_followup.io.errors import ReadError
from napari_followup.io.npz import (
    holds_truth,
    marked_sick,
    read_npz,
    read_npz_truth,
    write_npz,
    write_npz_cohort,
)
from napari_followup.series.stack import VisitStack

IMAGES = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)  # (subject, visit, y, x)
AGES = np.array([[60.0, 61.0, 62.0], [70.0, 71.0, 72.0]])


def save(folder: Path, **arrays: Any) -> Path:
    np.savez_compressed(folder / "ann.npz", **arrays)
    return folder / "ann.npz"


def full_stack() -> VisitStack:
    images = np.arange(3 * 2 * 2 * 4 * 5, dtype=np.float64).reshape(3, 2, 2, 4, 5)
    images[1] = np.nan
    return VisitStack.from_array(
        images,
        ages=[60.5, 61.0, 63.25],
        affine=[[0, 0, -2, 9], [0, 3, 0, 8], [4, 0, 0, 7], [0, 0, 0, 1]],
        is_observed=[True, False, False],
        subject="Zoë",
        modalities=["t1", "flair"],
    )


def test_written_stack_comes_back_the_same(tmp_path: Path) -> None:
    stack = full_stack()

    write_npz(tmp_path / "a.npz", stack)
    (back,) = read_npz(tmp_path / "a.npz")

    assert back.images.dtype == stack.images.dtype
    for name in ("images", "ages", "affine", "is_observed"):
        np.testing.assert_array_equal(getattr(back, name), getattr(stack, name))
    for name in ("spacing", "unit", "subject", "modalities", "ages_known"):
        assert getattr(back, name) == getattr(stack, name)


def test_imputed_visits_come_back_as_imputed_and_with_what_made_them(tmp_path: Path) -> None:
    stack = VisitStack.from_array(IMAGES[0], ages=AGES[0], is_observed=[True, False, True])
    stack = stack.with_images(stack.images, provenance={"strategy": "joint", "notes": ["one"]})

    write_npz(tmp_path / "a.npz", stack, {"spread": np.ones(3)})
    (back,) = read_npz(tmp_path / "a.npz")

    assert back.is_observed.tolist() == [True, False, True]
    assert not back.is_missing.any()
    assert back.provenance == stack.provenance
    assert np.load(tmp_path / "a.npz")["spread"].shape == (3,)


@pytest.mark.parametrize(
    "arrays",
    [{}, {"provenance": "no JSON"}, {"provenance": "[1]"}, {"provenance": "{}", "mask": 1}],
)
def test_a_series_without_a_provenance_of_its_own_has_an_empty_one(
    tmp_path: Path, arrays: dict[str, Any]
) -> None:
    (stack,) = read_npz(save(tmp_path, images=IMAGES[0], **arrays))

    assert stack.provenance == {}


def test_the_provenance_of_a_result_is_not_that_of_its_images(tmp_path: Path) -> None:
    said = '{"recipe": "default"}'
    path = save(tmp_path, images=IMAGES[0], mask=IMAGES[0] > 0, score=IMAGES[0], provenance=said)

    assert read_npz(path)[0].provenance == {}


def test_made_up_ages_come_back_as_made_up(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", VisitStack.from_array(IMAGES[0]))

    (back,) = read_npz(tmp_path / "a.npz")

    assert (back.ages_known, back.unit, back.ages.tolist()) == (False, "pixel", [0.0, 1.0, 2.0])


def test_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path, images=IMAGES[0])
    before = path.read_bytes()

    def fail(file: Any, **_: Any) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(npz.np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        write_npz(path, full_stack())

    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_other_suffix_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"end the name in \.npz"):
        write_npz(tmp_path / "a.tif", full_stack())


@pytest.mark.parametrize("key", ["age", "ages"])
def test_series_takes_its_name_from_the_file(tmp_path: Path, key: str) -> None:
    path = save(tmp_path, images=IMAGES[0], spacing=[0.5, 0.5], **{key: AGES[0]})

    (stack,) = read_npz(path)

    assert (stack.subject, stack.spacing, stack.unit) == ("ann", (1.0, 0.5, 0.5), "mm")
    assert stack.ages.tolist() == [60.0, 61.0, 62.0]
    np.testing.assert_array_equal(stack.images[:, 0, 0], IMAGES[0])


@pytest.mark.parametrize(
    "signs",
    [{"age": AGES}, {"subject": [7, 8]}, {"split": ["a", "b"]}, {"axes": "svyx"}],
    ids=lambda signs: next(iter(signs)),
)
def test_cohort_is_known_by_any_of_its_signs(tmp_path: Path, signs: dict[str, Any]) -> None:
    stacks = read_npz(save(tmp_path, images=IMAGES, **signs))

    assert len(stacks) == 2
    np.testing.assert_array_equal(stacks[1].images[:, 0, 0], IMAGES[1])


def test_four_axes_without_a_sign_are_volumes(tmp_path: Path) -> None:
    path = save(tmp_path, images=IMAGES, age=[60, 61])

    (stack,) = read_npz(path)

    assert stack.shape == (2, 1, 3, 4, 5)
    assert len(read_npz(save(tmp_path, images=IMAGES), axes="svyx")) == 2


def test_split_selects_subjects(tmp_path: Path) -> None:
    path = save(tmp_path, images=IMAGES, age=AGES, subject=[7, 8], split=["train", "val"])

    (stack,) = read_npz(path, split="val")

    assert (stack.subject, stack.ages.tolist()) == ("8", [70.0, 71.0, 72.0])


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"images": IMAGES, "age": AGES, "split": ["train", "val"]}, "the file has train, val"),
        ({"images": IMAGES, "age": AGES}, "no 'split' with a word for each subject"),
        ({"images": IMAGES[0]}, "one subject and no splits"),
    ],
)
def test_missing_split_is_refused(tmp_path: Path, arrays: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        read_npz(save(tmp_path, **arrays), split="test")


def test_file_without_images_says_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no array 'images' \(it has: x\)"):
        read_npz(save(tmp_path, x=IMAGES))


def test_python_objects_are_never_unpickled(tmp_path: Path) -> None:
    path = save(tmp_path, images=IMAGES[0], subject=np.array([{"name": "ann"}], dtype=object))

    with pytest.raises(
        ValueError, match=r"no readable \.npz file: it holds Python objects"
    ) as told:
        read_npz(path)
    assert "allow_pickle" not in str(told.value)


def test_text_under_the_name_of_an_archive_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")

    with pytest.raises(ValueError, match=r"is no readable \.npz file, whatever its name") as told:
        read_npz(tmp_path / "text.npz")
    assert "pickle" not in str(told.value)


def test_a_result_without_images_is_called_a_result(tmp_path: Path) -> None:
    path = save(tmp_path, mask=IMAGES > 0, score=IMAGES, provenance="{}")

    with pytest.raises(ValueError, match="is a result of napari-followup, not a series"):
        read_npz(path)


@pytest.mark.parametrize(
    ("marks", "sick"),
    [
        ({}, False),
        ({"kind": "healthy"}, False),
        ({"kind": "hole"}, True),
        ({"truth": IMAGES[0] > 0}, True),
    ],
)
def test_sick_series_are_known_by_truth_or_kind(
    tmp_path: Path, marks: dict[str, Any], sick: bool
) -> None:
    assert marked_sick(save(tmp_path, images=IMAGES[0], **marks)) is sick


def test_a_truth_is_read_as_the_images_are(tmp_path: Path) -> None:
    path, truth = tmp_path / "sick.npz", np.zeros((3, 2, 4, 4), bool)
    truth[1, 0, 1, 2] = True
    ages, split = [[2.0, 1.0]] * 3, np.array(["train", "train", "val"])
    images = np.random.rand(3, 2, 2, 4, 4)
    np.savez(path, images=images, axes="svmyx", truth=truth, ages=ages, split=split)

    first, second = read_npz_truth(path, split="train")

    assert holds_truth(path)
    assert first.shape == second.shape == (2, 1, 1, 4, 4)
    assert np.argwhere(second.images).tolist() == [[1, 0, 0, 1, 2]]
    assert second.ages.tolist() == read_npz(path)[1].ages.tolist() == [1.0, 2.0]
    np.savez(path, images=images, axes="svmyx")
    assert not holds_truth(path)
    with pytest.raises(ReadError, match=r"has no array 'truth' .*truth=\.\.\., ages="):
        read_npz_truth(path)


def test_a_file_that_cannot_be_read_bears_no_mark(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")

    assert not marked_sick(tmp_path / "text.npz")


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_file_cut_short_is_refused(tmp_path: Path, kept: float) -> None:
    path = save(tmp_path, images=np.random.default_rng(0).random((3, 16, 16)))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])

    with pytest.raises(ValueError, match="copy it again"):
        read_npz(path)


def test_file_damaged_inside_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, images=np.random.default_rng(0).random((3, 16, 16)))
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(damaged)

    with pytest.raises(ValueError, match="copy it again"):
        read_npz(path)


def test_array_file_under_a_wrong_name_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, IMAGES)

    with pytest.raises(ValueError, match="no array 'images'"):
        read_npz(tmp_path / "a.npz")


def test_a_written_cohort_comes_back_the_same(tmp_path: Path) -> None:
    stack = full_stack()
    stack = stack.with_images(stack.images, provenance={"seed": 3})
    stacks = [stack, stack.with_images(stack.images + 1, ages=[50, 51, 52], subject="bo")]

    write_npz_cohort(tmp_path / "a.npz", stacks)

    for back, given in zip(read_npz(tmp_path / "a.npz"), stacks, strict=True):
        for name in ("images", "ages", "affine", "is_observed"):
            np.testing.assert_array_equal(getattr(back, name), getattr(given, name))
        for name in ("spacing", "unit", "subject", "modalities", "ages_known", "provenance"):
            assert getattr(back, name) == getattr(given, name)


def test_a_cohort_of_several_shapes_or_another_suffix_is_refused(tmp_path: Path) -> None:
    stack = full_stack()

    with pytest.raises(ValueError, match=r"got 'a\.nii' and 1 series; end the name in \.npz"):
        write_npz_cohort(tmp_path / "a.nii", [stack])
    with pytest.raises(ValueError, match="give series of one shape"):
        write_npz_cohort(tmp_path / "a.npz", [stack, stack.select([0])])
