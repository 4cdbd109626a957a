"""Training samples: healthy series as planes in a model's range and size, drawn reproducibly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from napari_followup.intensity import fit_scaling
from napari_followup.planes import resize_planes
from napari_followup.stack import VisitStack

__all__ = ["RandomPlanes", "healthy_planes", "split_subjects"]


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
    counts = {stack.shape[1] for stack in stacks}
    if len(counts) > 1:
        raise ValueError(
            f"series differ in their number of modalities: {sorted(counts)}; train on one kind"
        )
    return torch.cat([_planes_of(stack, image_size, value_range) for stack in stacks])


def _planes_of(
    stack: VisitStack, image_size: tuple[int, int], value_range: tuple[float, float]
) -> Tensor:
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


class RandomPlanes(IterableDataset[Tensor]):
    """Endless batches of planes; batch `n` is the same in every run with the same seed.

    So a training resumed at batch `start` sees what it would have seen without the interruption.
    """

    def __init__(self, planes: Tensor, batch: int, seed: int, start: int = 0) -> None:
        super().__init__()
        self.planes, self.batch, self.seed, self.start = planes, batch, seed, start

    def __iter__(self) -> Iterator[Tensor]:
        """Yield ``(batch, modality, y, x)`` tensors."""
        n = self.start
        while True:
            rng = np.random.default_rng((self.seed, n))
            yield self.planes[torch.from_numpy(rng.integers(len(self.planes), size=self.batch))]
            n += 1
