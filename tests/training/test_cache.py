from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_followup.training import cache
from napari_followup.training.cache import filled, mapped


def ones_below(array: np.ndarray) -> None:
    array[1:] = 1.0


def test_small_arrays_stay_in_memory(tmp_path: Path) -> None:
    found = filled((3, 2), ones_below, tmp_path / "x" / "a.npy")

    assert found.tolist() == [[0, 0], [1, 1], [1, 1]]
    assert not (tmp_path / "x").exists()


def test_large_ones_are_mapped_and_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "IN_MEMORY", 20)
    file = tmp_path / "x" / "a.npy"

    found = filled((3, 2), ones_below, file)
    again = filled((3, 2), lambda array: pytest.fail("made again"), file)

    assert found.tolist() == again.tolist() == [[0, 0], [1, 1], [1, 1]]
    assert found.dtype == torch.float32
    assert [each.name for each in file.parent.iterdir()] == ["a.npy"]


def test_changes_to_mapped_samples_never_reach_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    filled((2, 2), ones_below, file, always=True)

    mapped(file).fill_(7.0)

    assert mapped(file).max() == 1.0


def test_a_file_left_half_made_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "a.npy"

    def fails(array: np.ndarray) -> None:
        array[0] = 9.0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        filled((2, 2), fails, file, always=True)
    assert not file.exists()

    assert filled((2, 2), ones_below, file, always=True).tolist() == [[0, 0], [1, 1]]
    assert [each.name for each in tmp_path.iterdir()] == ["a.npy"]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="room is not reserved here")
def test_a_full_disk_is_told_with_the_size_that_was_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)

    with pytest.raises(
        OSError, match=r"cannot write 0.0 GB of training samples to .*a.npy.*No space"
    ):
        filled((2, 2), ones_below, tmp_path / "a.npy", always=True)
    assert not list(tmp_path.iterdir())
