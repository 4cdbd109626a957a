"""Batches of training samples, drawn reproducibly: batch `n` is the same in every run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

__all__ = ["RandomBatches", "Samples", "in_batches", "picked", "seed_of", "size_of"]

Samples = Tensor | tuple[Tensor, Tensor]
"""Planes (plane, modality, y, x) or volumes (volume, modality, z, y, x); or two tensors: series
(series, visit, modality, y, x) and their ages, planes and their labels."""


def seed_of(*numbers: int) -> int:
    """Seed that depends on every one of `numbers`."""
    whole = (len(numbers), *numbers)  # zeros at the end would not count otherwise
    return int(np.random.SeedSequence(whole).generate_state(1, np.uint64)[0])


class RandomBatches(IterableDataset[Samples]):
    """Endless batches; batch `n` is the same in every run with the same seed.

    So a training resumed at batch `start` sees what it would have seen without the interruption.
    Samples that lie on disk are read here, those of one batch at a time.
    """

    def __init__(self, samples: Samples, batch: int, seed: int, start: int = 0) -> None:
        super().__init__()
        self.samples, self.batch, self.seed, self.start = samples, batch, seed, start

    def __iter__(self) -> Iterator[Samples]:
        """Yield what `samples` is, ``batch`` of them."""
        n = self.start
        while True:
            rng = np.random.default_rng((self.seed, n))
            yield picked(
                self.samples, torch.from_numpy(rng.integers(size_of(self.samples), size=self.batch))
            )
            n += 1


def size_of(samples: Samples) -> int:
    """How many samples there are."""
    return len(samples if isinstance(samples, Tensor) else samples[0])


def picked(samples: Samples, which: Tensor | slice) -> Samples:
    """Take some of the samples, in the form they come in."""
    if isinstance(samples, Tensor):
        return samples[which]
    return samples[0][which], samples[1][which]


def in_batches(samples: Samples, batch: int, most: int = 512) -> list[Samples]:
    """At most about `most` samples, evenly spread, as a list of batches."""
    seen = picked(samples, slice(None, None, max(1, size_of(samples) // most)))
    return [picked(seen, slice(s, s + batch)) for s in range(0, size_of(seen), batch)]
