"""Batches of training samples, drawn reproducibly: batch `n` is the same in every run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

__all__ = [
    "IN_MEMORY",
    "Batch",
    "Masked",
    "RandomBatches",
    "Samples",
    "filled",
    "healthy_of",
    "in_batches",
    "mapped",
    "picked",
    "samples_for",
    "seed_of",
    "size_of",
]

Batch = Tensor | tuple[Tensor, Tensor]
"""Planes (plane, modality, y, x) or volumes (volume, modality, z, y, x); or two tensors: series
(series, visit, modality, y, x) and their ages, planes and their labels, planes and their masks."""


IN_MEMORY = 2**30  # bytes; what is larger lies on disk


@dataclass(frozen=True, eq=False, kw_only=True)
class Masked:
    """Healthy planes and sick ones, ``(plane, modality, y, x)``, and the latter's masks.

    `masks` are ``(plane, 1, y, x)`` of 0 and 1; `share` is that of sick planes in a batch.
    """

    healthy: Tensor
    sick: Tensor
    masks: Tensor
    share: float = 0.5

    def picked(self, is_sick: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Planes and masks; `which` counts among the sick where `is_sick`, both ``(b,)``."""
        planes = self.healthy.new_empty(len(which), *self.healthy.shape[1:])
        masks = self.masks.new_zeros(len(which), *self.masks.shape[1:])
        planes[~is_sick] = self.healthy[which[~is_sick]]
        planes[is_sick] = self.sick[which[is_sick]]
        masks[is_sick] = self.masks[which[is_sick]]
        return planes, masks

    def spread(self, most: int) -> tuple[Tensor, Tensor]:
        """At most `most` of both, evenly spread, the share of sick ones as in a batch."""
        count = min(most, len(self.healthy) + len(self.sick))
        sick = round(self.share * count) if len(self.sick) else 0
        chosen = _even(len(self.healthy), count - sick), _even(len(self.sick), sick)
        return self.picked(torch.arange(count) >= count - sick, torch.cat(chosen))


Samples = Batch | Masked


def seed_of(*numbers: int) -> int:
    """Seed that depends on every one of `numbers`."""
    whole = (len(numbers), *numbers)  # zeros at the end would not count otherwise
    return int(np.random.SeedSequence(whole).generate_state(1, np.uint64)[0])


class RandomBatches(IterableDataset[Batch]):
    """Endless batches; batch `n` is the same in every run with the same seed.

    So a training resumed at batch `start` sees what it would have seen without the interruption.
    Samples that lie on disk are read here, those of one batch at a time.
    """

    def __init__(self, samples: Samples, batch: int, seed: int, start: int = 0) -> None:
        super().__init__()
        self.samples, self.batch, self.seed, self.start = samples, batch, seed, start

    def __iter__(self) -> Iterator[Batch]:
        """Yield what `samples` is, or planes and masks, ``batch`` of them."""
        n = self.start
        while True:
            yield _drawn(self.samples, self.batch, np.random.default_rng((self.seed, n)))
            n += 1


def samples_for(stage: str, method: Any, samples: Samples) -> Samples:
    """Select what a stage of a method learns from; masks go to the stages that use them."""
    if not isinstance(samples, Masked):
        return samples
    share = method.masked_stages.get(stage)
    return samples.healthy if share is None else replace(samples, share=share)


def healthy_of(samples: Samples) -> Batch:
    """Healthy planes of masked samples; otherwise all samples."""
    return samples.healthy if isinstance(samples, Masked) else samples


def size_of(samples: Samples) -> int:
    """Count the samples."""
    if isinstance(samples, Masked):
        return len(samples.healthy) + len(samples.sick)
    return len(samples if isinstance(samples, Tensor) else samples[0])


def picked(samples: Batch, which: Tensor | slice) -> Batch:
    """Select samples; their form stays."""
    if isinstance(samples, Tensor):
        return samples[which]
    return samples[0][which], samples[1][which]


def in_batches(samples: Samples, batch: int, most: int = 512) -> list[Batch]:
    """At most about `most` samples, evenly spread, as a list of batches."""
    if isinstance(samples, Masked):
        seen: Batch = samples.spread(most)
    else:
        seen = picked(samples, slice(None, None, max(1, size_of(samples) // most)))
    return [picked(seen, slice(s, s + batch)) for s in range(0, size_of(seen), batch)]


def _drawn(samples: Samples, count: int, rng: np.random.Generator) -> Batch:
    if not isinstance(samples, Masked):
        return picked(samples, torch.from_numpy(rng.integers(size_of(samples), size=count)))
    is_sick = rng.random(count) < samples.share
    among = np.where(is_sick, len(samples.sick), len(samples.healthy))
    return samples.picked(torch.from_numpy(is_sick), torch.from_numpy(rng.integers(among)))


def _even(size: int, count: int) -> Tensor:
    """(count,) positions among `size`, evenly spread; some come again where there are too few."""
    return torch.linspace(0, max(0, size - 1), count, dtype=torch.float64).round().long()


def filled(
    shape: tuple[int, ...],
    fill: Callable[[NDArray[np.float32]], None],
    file: Path | None = None,
    *,
    always: bool = False,
) -> Tensor:
    """Let `fill` write an array piece by piece; return it as a tensor, memory-mapped if large.

    Parameters
    ----------
    shape
        Of the array, float32, zeros at first.
    fill
        Writes it, in place.
    file
        Where an array above `IN_MEMORY` goes; if it is there, complete, it is not made again.
        Without one everything stays in memory.
    always
        Whether smaller arrays go there too, for other processes to share.

    Returns
    -------
    Tensor
        Memory-mapped if it lies on disk.

    Raises
    ------
    OSError
        If the file cannot be written, for want of room for example.
    """
    size = 4 * int(np.prod(shape, dtype=np.int64))
    if file is None or (size <= IN_MEMORY and not always):
        array = np.zeros(shape, np.float32)
        fill(array)
        return torch.from_numpy(array)
    if not file.exists():
        _write(file, shape, fill, size)
    return mapped(file)


def mapped(file: Path) -> Tensor:
    """Memory-mapped tensor of a .npy file; changes to it never reach the file."""
    return torch.from_numpy(np.load(file, mmap_mode="c", allow_pickle=False))


def _write(
    file: Path, shape: tuple[int, ...], fill: Callable[[NDArray[np.float32]], None], size: int
) -> None:
    """Under another name first, always the same one: what a killed training left is overwritten."""
    draft = file.with_suffix(".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _reserve(draft, size)
        array = np.lib.format.open_memmap(draft, "w+", np.float32, shape)
        fill(array)
        array.flush()
        del array
        draft.replace(file)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise type(error)(
            error.errno,
            f"cannot write {size / 1e9:.1f} GB of training samples to {str(file)!r} "
            f"({error.strerror or error}); make room, or give another folder",
        ) from error


def _reserve(file: Path, size: int) -> None:
    """Fail here if the disk is full: writing to a mapped page without a block ends the process."""
    import os

    with file.open("wb") as handle:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle.fileno(), 0, size + 4096)
