from __future__ import annotations

from itertools import islice

import torch

from napari_followup.training.batches import (
    RandomBatches,
    in_batches,
    picked,
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
