"""Training samples: healthy series as planes in a model's range and size, drawn reproducibly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import IterableDataset

from napari_followup.intensity import fit_scaling
from napari_followup.planes import resize_planes
from napari_followup.stack import VisitStack

__all__ = [
    "RandomBatches",
    "Samples",
    "healthy_planes",
    "healthy_samples",
    "healthy_series",
    "picked",
    "size_of",
    "split_subjects",
]

Samples = Tensor | tuple[Tensor, Tensor]
"""Planes (plane, modality, y, x), or series (series, visit, modality, y, x) and their ages."""

MOST_VISITS = 16  # of one series


def healthy_samples(
    kind: str,
    stacks: Sequence[VisitStack],
    image_size: tuple[int, int],
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Samples:
    """Training samples of the kind a method learns from.

    Parameters
    ----------
    kind
        ``"planes"`` or ``"series"``.
    stacks, image_size, value_range
        As for `healthy_planes`.

    Returns
    -------
    Samples
        On the CPU.
    """
    make = healthy_series if kind == "series" else healthy_planes
    return make(stacks, image_size, value_range)


def healthy_planes(
    stacks: Sequence[VisitStack],
    image_size: tuple[int, int],
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Tensor:
    """Every observed plane of every series, scaled per series and resampled.

    Parameters
    ----------
    stacks
        Healthy series; those of one training agree in their modalities.
    image_size
        ``(y, x)`` in pixels.
    value_range
        What the series' low and high percentiles are mapped to.

    Returns
    -------
    Tensor
        ``(plane, modality, y, x)`` float32 on the CPU.

    Raises
    ------
    ValueError
        If there is no series, or they differ in their number of modalities.
    """
    if not stacks:
        raise ValueError("training needs at least one healthy series, got none")
    _check_modalities(stacks)
    return torch.cat([_planes_of(stack, image_size, value_range) for stack in stacks])


def healthy_series(
    stacks: Sequence[VisitStack],
    image_size: tuple[int, int],
    value_range: tuple[float, float] = (0.0, 1.0),
) -> tuple[Tensor, Tensor]:
    """Every plane of every series with two observed visits or more, scaled and resampled alike.

    Parameters
    ----------
    stacks
        Healthy series; those of one training agree in their modalities.
    image_size
        ``(y, x)`` in pixels.
    value_range
        What the series' low and high percentiles are mapped to.

    Returns
    -------
    tuple of Tensor
        Images ``(series, visit, modality, y, x)`` float32 and ages ``(series, visit)`` float64,
        NaN in the place of visits that a series does not have; on the CPU. Of series with very
        many visits, evenly spread ones are kept.

    Raises
    ------
    ValueError
        If no series has two observed visits, or they differ in their number of modalities.
    """
    long = seen_twice(stacks)
    _check_modalities(long)
    most = min(MOST_VISITS, max(int(stack.is_observed.sum()) for stack in long))
    images, ages = [], []
    for stack in long:
        planes = _planes_of(stack, image_size, value_range)
        series = planes.unflatten(0, (-1, stack.shape[2])).transpose(0, 1)  # (z, visit, ...)
        years = torch.from_numpy(stack.ages[stack.is_observed])
        kept = torch.linspace(0, len(years) - 1, min(most, len(years))).round().long()
        missing = most - len(kept)
        images.append(F.pad(series[:, kept], (0, 0, 0, 0, 0, 0, 0, missing)))
        ages.append(F.pad(years[kept], (0, missing), value=torch.nan).expand(len(series), -1))
    return torch.cat(images), torch.cat(ages)


def seen_twice(stacks: Sequence[VisitStack]) -> list[VisitStack]:
    """Series with two observed visits or more: those that show a change.

    Raises
    ------
    ValueError
        If there is none.
    """
    found = [stack for stack in stacks if stack.is_observed.sum() > 1]
    if not found:
        raise ValueError(
            f"none of {len(stacks)} series has two observed visits: change over time is learned "
            "from subjects seen at least twice"
        )
    return found


def _check_modalities(stacks: Sequence[VisitStack]) -> None:
    counts = {stack.shape[1] for stack in stacks}
    if len(counts) > 1:
        raise ValueError(
            f"series differ in their number of modalities: {sorted(counts)}; train on one kind"
        )


def _planes_of(
    stack: VisitStack, image_size: tuple[int, int], value_range: tuple[float, float]
) -> Tensor:
    """(visit · z, modality, y, x) of the observed visits."""
    observed = np.asarray(stack.images[np.flatnonzero(stack.is_observed)])
    scaled = [
        fit_scaling(stack, value_range, modality=m).apply(observed[:, m])
        for m in range(observed.shape[1])
    ]
    images = torch.from_numpy(np.stack(scaled, axis=2))  # (visit, z, modality, y, x)
    return resize_planes(images.flatten(0, 1), image_size)


def split_subjects(
    stacks: Sequence[VisitStack], held_out: float, seed: int
) -> tuple[list[VisitStack], list[VisitStack]]:
    """Subjects to train on, and those kept aside for validation and the healthy score quantiles.

    Parameters
    ----------
    stacks
        One series a subject.
    held_out
        Share of the subjects to keep aside; at least one is, and at least one is not.
    seed
        Source of the random choice.

    Returns
    -------
    tuple of list
        Training and held-out series, each in the order given.

    Raises
    ------
    ValueError
        If fewer than two subjects are given.
    """
    if len(stacks) < 2:
        raise ValueError(
            f"training needs at least 2 subjects, one of them to validate on; got {len(stacks)}"
        )
    order = np.random.default_rng(seed).permutation(len(stacks))
    count = min(max(1, round(held_out * len(stacks))), len(stacks) - 1)
    return [stacks[i] for i in sorted(order[count:])], [stacks[i] for i in sorted(order[:count])]


class RandomBatches(IterableDataset[Samples]):
    """Endless batches; batch `n` is the same in every run with the same seed.

    So a training resumed at batch `start` sees what it would have seen without the interruption.
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
