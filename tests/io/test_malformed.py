"""Files cut short, with flipped bytes or foreign content: a ReadError, or a stack, and no more.

A flipped byte among the pixels of a format without checksums cannot be told; everything else must
be, by a message, without a crash.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_followup.io import ReadError, read_stacks, write_stack
from napari_followup.series.stack import VisitStack

KINDS = ["npz", "nii", "nii.gz", "tif", "ome.tif", "zarr", "csv", "dicom", "bids", "png"]
TRIALS = 20  # of each kind, 200 in all
FOREIGN = [b"", b"\0" * 400, b"\x1f\x8b" + b"\xff" * 50, b"{}", b"PK\x03\x04", "path\nä;ö".encode()]


@pytest.fixture(scope="module")
def stack() -> VisitStack:
    images = np.random.default_rng(0).integers(0, 255, (3, 1, 2, 9, 8)).astype(np.int16)
    return VisitStack.from_array(images, ages=[60, 61, 62], spacing=(3, 2, 1))


def damaged(data: bytes, random: np.random.Generator) -> Iterator[tuple[bool, bytes]]:
    """Damaged copies of a file, and whether the damage must be noticed."""
    for trial in range(TRIALS):
        place = int(random.integers(len(data)))
        if trial % 3 == 0:
            yield True, data[:place]
        elif trial % 3 == 1:
            flipped = bytearray(data)
            flipped[place] ^= 1 << int(random.integers(8))
            yield False, bytes(flipped)
        else:
            yield True, FOREIGN[trial % len(FOREIGN)]


def make(kind: str, folder: Path, stack: VisitStack, write_study: Callable) -> tuple[Path, Path]:
    """Write a small valid series; return what to read, and the file in it to damage."""
    match kind:
        case "dicom":
            return folder, write_study(folder)[1]
        case "bids":
            path = folder / "sub-a" / "ses-1" / "anat" / "sub-a_ses-1_T1w.nii.gz"
            path.parent.mkdir(parents=True)
            write_stack(path, stack.select(0))
            return folder, path
        case "png":
            from skimage.io import imsave

            imsave(folder / "a.png", np.eye(9, dtype=np.uint8), check_contrast=False)
            return folder, folder / "a.png"
        case "csv":
            write_stack(folder / "a.nii.gz", stack.select(0))
            (folder / "a.csv").write_text("subject,path,age\nanna,a.nii.gz,61.5\n")
            return folder / "a.csv", folder / "a.csv"
        case "zarr":
            path = write_stack(folder / "a.zarr", stack)
            return path, path
    path = write_stack(folder / f"a.{kind}", stack)
    return path, path


@pytest.mark.parametrize("kind", KINDS)
def test_damage_gives_a_message_and_no_crash(
    tmp_path: Path, kind: str, stack: VisitStack, write_study: Callable
) -> None:
    source, broken = make(kind, tmp_path, stack, write_study)
    assert read_stacks(source)
    files = [f for f in broken.rglob("*") if f.is_file()] if broken.is_dir() else [broken]
    random = np.random.default_rng(1)
    unnoticed, told = 0, []

    for number, file in enumerate(files * TRIALS):
        if number == TRIALS:
            break
        whole = file.read_bytes()
        notice, data = list(damaged(whole, random))[number]
        file.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # libraries say what they doubt before they give up
            try:
                read_stacks(source)
                unnoticed += notice
            except ReadError as error:
                told.append((file.name, str(error)))
        file.write_bytes(whole)

    assert told
    for name, text in told:
        assert len(text) > 20
        assert source.name in text or name in text
    # A table cut short may still be one, zarr reads without some of its files, and a PNG ends in
    # bytes that no pixel needs.
    assert unnoticed <= (5 if kind in ("csv", "zarr", "png") else 0)


@pytest.mark.parametrize("one", ["npz", "nii", "nii.gz", "tif", "csv", "png"])
@pytest.mark.parametrize("other", ["npz", "nii.gz", "tif"])
def test_a_file_under_the_name_of_another_kind_is_told(
    tmp_path: Path, one: str, other: str, stack: VisitStack
) -> None:
    if one == other:
        return
    write_stack(tmp_path / f"a.{other}", stack)
    shutil.move(tmp_path / f"a.{other}", tmp_path / f"b.{one}")

    with pytest.raises(ReadError, match=rf"'b\.{one}'"):
        read_stacks(tmp_path if one == "png" else tmp_path / f"b.{one}")
