from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_followup.training import batches
from napari_followup.training.batches import (
    Masked,
    RandomBatches,
    filled,
    healthy_of,
    in_batches,
    mapped,
    picked,
    samples_for,
    seed_of,
    size_of,
)


def test_batches_go_on_where_they_were_left() -> None:
    planes = torch.rand(20, 1, 4, 4)

    whole = list(islice(RandomBatches(planes, 3, seed=5), 6))
    rest = list(islice(RandomBatches(planes, 3, seed=5, start=4), 2))

    assert all(batch.shape == (3, 1, 4, 4) for batch in whole)
    assert torch.equal(whole[4], rest[0])
    assert torch.equal(whole[5], rest[1])
    assert not torch.equal(whole[0], whole[1])


def test_series_are_drawn_with_their_ages() -> None:
    images = torch.arange(20.0)[:, None, None, None, None].expand(20, 3, 1, 4, 4)
    ages = torch.arange(20.0, dtype=torch.float64)[:, None].expand(20, 3)

    first, years = next(iter(RandomBatches((images, ages), 5, seed=1)))

    assert first.shape == (5, 3, 1, 4, 4)
    assert torch.equal(first[:, :, 0, 0, 0].double(), years)
    assert size_of((images, ages)) == size_of(images) == 20
    some = picked((images, ages), slice(2, 4))
    assert torch.equal(some[0], images[2:4])
    assert torch.equal(some[1], ages[2:4])


def test_validation_batches_are_spread_over_all_samples() -> None:
    planes = torch.arange(1000.0)

    batches = in_batches(planes, 64, most=100)

    joined = torch.cat(batches)
    assert torch.equal(joined, planes[::10])
    assert [len(batch) for batch in batches] == [64, 36]


def test_seeds_depend_on_every_number_and_its_place() -> None:
    seeds = {seed_of(*numbers) for numbers in [(0, 1), (1, 0), (0, 1, 0), (0, 2)]}

    assert len(seeds) == 4
    assert seed_of(3, 4) == seed_of(3, 4)


def masked(healthy: int, sick: int, share: float = 0.5) -> Masked:
    """Healthy planes are below 0, sick ones above, and a mask holds the number of its plane."""
    numbers = torch.arange(1.0, sick + 1)[:, None, None, None].expand(-1, 1, 4, 4)
    below = -torch.arange(1.0, healthy + 1)[:, None, None, None].expand(-1, 1, 4, 4)
    return Masked(healthy=below, sick=numbers, masks=numbers, share=share)


def test_sick_planes_are_drawn_with_their_masks_as_often_as_is_wanted() -> None:
    samples = masked(1000, 3, share=0.25)

    batches = list(islice(RandomBatches(samples, 64, seed=2), 20))

    planes, masks = (torch.cat(each)[:, 0, 0, 0] for each in zip(*batches, strict=True))
    assert torch.equal(masks, planes.clamp_min(0))
    assert (planes > 0).float().mean() == pytest.approx(0.25, abs=0.04)
    assert set(planes[planes > 0].tolist()) == {1.0, 2.0, 3.0}
    rest = next(iter(RandomBatches(samples, 64, seed=2, start=19)))
    assert torch.equal(rest[0], batches[19][0])


def test_sick_planes_are_validated_on_in_the_same_share_however_few() -> None:
    planes, masks = (torch.cat(each) for each in zip(*in_batches(masked(70, 2), 16), strict=True))

    assert len(planes) == 72
    assert sorted(set(planes[masks > 0].tolist())) == [1.0, 2.0]
    assert (planes[:, 0, 0, 0] > 0).sum() == 36
    assert len(torch.cat([batch[0] for batch in in_batches(masked(70, 9), 16, most=20)])) == 20
    assert not torch.cat([batch[1] for batch in in_batches(masked(5, 0), 16)]).any()


def test_only_some_stages_see_sick_planes() -> None:
    samples, method = masked(4, 2), SimpleNamespace(masked_stages={"segment": 0.3})

    assert samples_for("denoise", method, samples) is samples.healthy
    theirs = samples_for("segment", method, samples)
    assert isinstance(theirs, Masked)
    assert (theirs.share, theirs.sick) == (0.3, samples.sick)
    assert healthy_of(samples) is samples.healthy
    assert samples_for("segment", method, samples.healthy) is samples.healthy
    assert size_of(samples) == 6


def ones_below(array: np.ndarray) -> None:
    array[1:] = 1.0


def test_small_arrays_stay_in_memory(tmp_path: Path) -> None:
    found = filled((3, 2), ones_below, tmp_path / "x" / "a.npy")

    assert found.tolist() == [[0, 0], [1, 1], [1, 1]]
    assert not (tmp_path / "x").exists()


def test_large_ones_are_mapped_and_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "IN_MEMORY", 20)
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
