"""Training samples with masks: healthy planes, planes with anomalies, and masks of these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_followup.series.stack import VisitStack
from napari_followup.training.batches import Masked
from napari_followup.training.cache import filled
from napari_followup.training.coverage import resize_masks
from napari_followup.training.labels import Marks
from napari_followup.training.samples import AT_ONCE, Form, check_alike, pieces

__all__ = ["masked_samples", "masks_beside"]


def masked_samples(
    form: Form,
    stacks: Sequence[VisitStack],
    labels: Sequence[Marks],
    *,
    file: Path | None = None,
    always: bool = False,
) -> Masked:
    """Observed planes, those with a mark apart from those without, made a few at a time.

    Parameters
    ----------
    form
        Size and range.
    stacks
        Series of one training; each is scaled by itself.
    labels
        One a series, which know the pixels of whatever is abnormal.
    file, always
        As for `cache.filled`; sick planes and masks go beside, see `masks_beside`.

    Returns
    -------
    Masked
        float32 on the CPU; a mark is never lost by resampling.

    Raises
    ------
    ValueError
        If there is no series, or they differ in their number of modalities.
    """
    check_alike(form, stacks)
    sick_file, masks_file = (None, None) if file is None else masks_beside(file)
    healthy = [~marks.planes for marks in labels]
    sick = [marks.planes for marks in labels]
    return Masked(
        healthy=_planes(form, stacks, healthy, file, always=always),
        sick=_planes(form, stacks, sick, sick_file, always=always),
        masks=_masks(form, stacks, labels, masks_file, always=always),
    )


def masks_beside(file: Path) -> tuple[Path, Path]:
    """Say where the sick planes and their masks go beside the file of the healthy planes."""
    return file.with_suffix(".sick.npy"), file.with_suffix(".masks.npy")


def _planes(
    form: Form,
    stacks: Sequence[VisitStack],
    wanted: Sequence[NDArray[np.bool_]],
    file: Path | None,
    *,
    always: bool,
) -> Tensor:
    """(plane, modality, y, x): the planes of observed visits that are wanted, (visit, z)."""

    def fill(array: NDArray[np.float32]) -> None:
        start = 0
        for stack, chosen in _with_any(stacks, wanted):
            for place, z, planes in pieces(stack, form):
                kept = planes.numpy()[chosen[place, z : z + len(planes)]]
                array[start : start + len(kept)] = kept
                start += len(kept)

    shape = (_count(stacks, wanted), stacks[0].shape[1], *form.image_size)
    return filled(shape, fill, file, always=always)


def _masks(
    form: Form,
    stacks: Sequence[VisitStack],
    labels: Sequence[Marks],
    file: Path | None,
    *,
    always: bool,
) -> Tensor:
    """(plane, 1, y, x): masks of the planes that have one, in the order of the sick planes."""
    sick = [marks.planes for marks in labels]

    def fill(array: NDArray[np.float32]) -> None:
        start = 0
        for stack, marks in zip(stacks, labels, strict=True):
            for mask in _marked_planes(stack, marks):
                found = resize_masks(torch.from_numpy(mask[:, None]).float(), form.image_size)
                array[start : start + len(found)] = found.numpy()
                start += len(found)

    return filled((_count(stacks, sick), 1, *form.image_size), fill, file, always=always)


def _marked_planes(stack: VisitStack, marks: Marks) -> Iterator[NDArray[np.bool_]]:
    """(z, y, x): those planes of an observed visit that show anything, not too many at once."""
    step = max(1, AT_ONCE // int(np.prod(stack.shape[-2:])))
    for visit in np.flatnonzero(stack.is_observed & marks.planes.any(axis=1)):
        mask = marks.mask(visit)[marks.planes[visit]]
        yield from (mask[first : first + step] for first in range(0, len(mask), step))


def _with_any(
    stacks: Sequence[VisitStack], wanted: Sequence[NDArray[np.bool_]]
) -> Iterator[tuple[VisitStack, NDArray[np.bool_]]]:
    """Give series of which anything is wanted, and what of their observed visits."""
    for stack, planes in zip(stacks, wanted, strict=True):
        if planes[stack.is_observed].any():
            yield stack, planes[stack.is_observed]


def _count(stacks: Sequence[VisitStack], wanted: Sequence[NDArray[np.bool_]]) -> int:
    return sum(int(planes.sum()) for _, planes in _with_any(stacks, wanted))
