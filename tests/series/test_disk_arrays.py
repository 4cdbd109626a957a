from __future__ import annotations

import gc
import os
import sys

import dask.array
import numpy as np
import pytest

from napari_followup.series import disk_arrays
from napari_followup.series.disk_arrays import (
    each_visit,
    in_one_file,
    new_array,
    read_once,
    release,
)


@pytest.fixture
def all_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_arrays, "IN_MEMORY", 0)


def resident() -> int:
    """Memory of this process now, in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.parametrize("limit", [0, 2**30])
@pytest.mark.parametrize(("dtype", "fill"), [(np.float32, np.nan), (bool, False), (np.uint16, 7)])
def test_a_new_array_holds_one_value_wherever_it_lies(
    limit: int, dtype: type, fill: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_arrays, "IN_MEMORY", limit)

    array = new_array((3, 2, 5), dtype, fill)

    assert type(array) is np.ndarray
    assert (array.dtype, array.shape) == (dtype, (3, 2, 5))
    np.testing.assert_array_equal(array, np.full((3, 2, 5), fill, dtype))


@pytest.mark.usefixtures("all_to_disk")
def test_values_outlive_a_release_and_the_array_they_were_written_through() -> None:
    array = new_array((4, 3, 1000))
    array[2] = 5.0
    view = array.transpose(1, 0, 2)[:, 1:]
    release(array, view)
    del array
    gc.collect()

    view[0, 0] = 1.0
    release(view)

    assert (view[:, 1] == 5.0).all()
    assert (view[0, 0] == 1.0).all()
    assert view.sum() == 3 * 1000 * 5.0 + 1000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.usefixtures("all_to_disk")
def test_what_was_released_takes_no_memory() -> None:
    before = resident()
    array = new_array((8, 2**20), np.float32, 1.0)  # 32 MB
    filled = resident() - before
    array += 1
    touched = resident() - before
    for (part,) in each_visit(array):
        part *= 2
    walked = resident() - before

    assert filled < 8e6
    assert touched > 30e6
    assert walked < 8e6
    assert (array == 4).all()


def test_files_of_others_are_left_alone(tmp_path: object) -> None:
    array = np.memmap(tmp_path / "theirs", np.float32, "w+", shape=(4,))
    private = np.memmap(tmp_path / "theirs", np.float32, "c", shape=(4,))
    private[:] = 3.0

    release(array, private, "no array")

    assert (private == 3.0).all()


@pytest.mark.parametrize("limit", [0, 2**30])
def test_lazy_images_are_read_once_and_a_chunk_at_a_time(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_arrays, "IN_MEMORY", limit)
    images = np.random.default_rng(0).random((3, 2, 4, 5, 6))
    read: list[int] = []

    def chunk(values: np.ndarray) -> np.ndarray:
        read.append(values.size)
        return values

    lazy = dask.array.from_array(images, chunks=(1, 1, 4, 5, 6)).map_blocks(
        chunk, dtype=images.dtype, meta=np.empty((0,) * 5)
    )

    np.testing.assert_array_equal(read_once(lazy), images)
    assert read == [4 * 5 * 6] * 6
    assert read_once(images) is images


def test_a_disk_too_small_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_arrays, "IN_MEMORY", 0)

    with pytest.raises(OSError, match=r"a result of 4000000000\.0 GB does not fit into .* TMPDIR"):
        new_array((10**9, 10**9))


def test_arrays_in_one_file_keep_their_values_and_take_one_descriptor() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.random((3, 7)), rng.random((2, 5, 1)) > 0.5, np.empty((0, 4)), rng.random(3)]

    before = len(os.listdir("/proc/self/fd")) if sys.platform.startswith("linux") else 0
    moved = in_one_file(arrays)
    release(*moved)

    for new, old in zip(moved, arrays, strict=True):
        assert (new.dtype, new.flags.writeable) == (old.dtype, True)
        np.testing.assert_array_equal(new, old)
    moved[0][1] = 5.0
    np.testing.assert_array_equal(moved[1], arrays[1])
    if before:
        assert len(os.listdir("/proc/self/fd")) == before + 1
    assert in_one_file([]) == []
