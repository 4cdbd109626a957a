"""Training samples: healthy series as planes, series or volumes in a model's range and size."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_followup.scores.filters import resize_planes, resize_volumes
from napari_followup.series.intensity import fit_scaling
from napari_followup.series.stack import VisitStack
from napari_followup.training.augment import resize_masks
from napari_followup.training.batches import Batch, Masked, Samples, filled, mapped
from napari_followup.training.cohort import Cohort, seen_twice, short_hash
from napari_followup.training.labels import Entry, Marks, marks_of

__all__ = [
    "AT_ONCE",
    "KINDS",
    "MOST_VISITS",
    "Form",
    "check_alike",
    "drop_files",
    "healthy_samples",
    "labels_of",
    "masked_samples",
    "masks_beside",
    "pieces",
    "read_samples",
    "samples_of",
]

KINDS = ("planes", "series", "volumes", "labelled")
MOST_VISITS = 16  # of one series
AT_ONCE = 2**24  # pixels that are scaled and resampled together
FOLDER = "samples"


@dataclass(frozen=True, kw_only=True)
class Form:
    """What samples a method wants: of which kind, in which size and range.

    Raises
    ------
    ValueError
        If there is no such kind.
    """

    kind: str
    image_size: tuple[int, int]  # (y, x) in pixels
    value_range: tuple[float, float] = (0.0, 1.0)  # where low and high percentiles of a series go
    depth: int | None = None  # planes of a volume, of "volumes" only; those it has when not given

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"samples: got {self.kind!r}; a method learns from {', '.join(KINDS)}")
        if self.depth is not None and self.kind != "volumes":
            raise ValueError(f"depth: {self.kind} have none; leave it out")


def healthy_samples(
    form: Form,
    stacks: Sequence[VisitStack],
    *,
    labels: Sequence[Entry] | None = None,
    file: Path | None = None,
    always: bool = False,
) -> Batch:
    """Training samples of the kind a method learns from, made a few planes at a time.

    Parameters
    ----------
    form
        Kind, size and range. "planes" is every observed plane ``(plane, modality, y, x)``;
        "volumes" every observed visit ``(volume, modality, z, y, x)``; "series" every plane of
        every series with two observed visits or more, ``(series, visit, modality, y, x)`` with
        ages ``(series, visit)``, NaN in the place of visits that a series does not have, and of
        very many visits evenly spread ones; "labelled" is "planes" with ``(plane,)`` labels.
    stacks
        Series of one training; each is scaled by itself.
    labels
        See `labels_of`, for "labelled" only.
    file, always
        Where samples go that are large, and whether all do: see `batches.filled`.

    Returns
    -------
    Batch
        All of them: float32 images on the CPU, ages float64, labels int64.

    Raises
    ------
    ValueError
        If there is no series, they differ in their number of modalities or, as volumes, of planes,
        or labels are missing.
    """
    if form.kind == "series":
        stacks = seen_twice(stacks)
    check_alike(form, stacks)
    count, shape = _shape(form, stacks)

    def fill(array: NDArray[np.float32]) -> None:
        start = 0
        for stack in stacks:
            for place, z, planes in pieces(stack, form):
                if form.kind == "series":
                    _put(array[:, place], start, z, planes, form)
                else:
                    _put(array, start + place * _samples_a_visit(form, stack), z, planes, form)
            start += _samples_of(form, stack)

    images = filled((count, *shape), fill, file, always=always)
    if form.kind == "series":
        return images, torch.cat([_ages(stack, shape[0], form) for stack in stacks])
    if form.kind == "labelled":
        return images, labels_of(stacks, labels)
    return images


def labels_of(stacks: Sequence[VisitStack], labels: Sequence[Entry] | None) -> Tensor:
    """Label of every observed plane, in the order of the samples.

    Parameters
    ----------
    stacks
        The series.
    labels
        One entry a series, see `labels.marks_of`; a plane with a mask is abnormal if any of its
        pixels is.

    Returns
    -------
    Tensor
        ``(plane,)`` int64, 0 for healthy and 1 for abnormal.

    Raises
    ------
    ValueError
        If there is not one entry a series, or one does not fit its series.
    """
    if labels is None or len(labels) != len(stacks):
        raise ValueError(
            f"labels: got {'none' if labels is None else len(labels)} for {len(stacks)} series; "
            "give one entry a series: a number, one a visit, (visit, z), or a mask"
        )
    found = [
        marks_of(stack, entry).planes[stack.is_observed].ravel()
        for stack, entry in zip(stacks, labels, strict=True)
    ]
    return torch.from_numpy(np.concatenate(found).astype(np.int64))


def check_alike(form: Form, stacks: Sequence[VisitStack]) -> None:
    """Refuse series that no one array can hold.

    Raises
    ------
    ValueError
        If there is none, or they differ in their number of modalities or, as volumes, of planes.
    """
    if not stacks:
        raise ValueError("training needs at least one healthy series, got none")
    counts = {stack.shape[1] for stack in stacks}
    if len(counts) > 1:
        raise ValueError(
            f"series differ in their number of modalities: {sorted(counts)}; train on one kind"
        )
    depths = {stack.shape[2] for stack in stacks}
    if form.kind == "volumes" and form.depth is None and len(depths) > 1:
        raise ValueError(
            f"series differ in their number of planes: {sorted(depths)}; crop them alike "
            "(nf.cropped, nf.regridded), or give the model a depth"
        )


def _shape(form: Form, stacks: Sequence[VisitStack]) -> tuple[int, tuple[int, ...]]:
    """How many samples there are, and the shape of one."""
    count = sum(_samples_of(form, stack) for stack in stacks)
    modalities = stacks[0].shape[1]
    if form.kind == "volumes":
        return count, (modalities, form.depth or stacks[0].shape[2], *form.image_size)
    if form.kind == "series":
        most = max(len(_taken(form, stack)) for stack in stacks)
        return count, (most, modalities, *form.image_size)
    return count, (modalities, *form.image_size)


def _samples_of(form: Form, stack: VisitStack) -> int:
    visits = 1 if form.kind == "series" else int(stack.is_observed.sum())
    return visits * _samples_a_visit(form, stack)


def _samples_a_visit(form: Form, stack: VisitStack) -> int:
    return 1 if form.kind == "volumes" else int(stack.shape[2])


def _taken(form: Form, stack: VisitStack) -> NDArray[np.intp]:
    """Positions of the visits that samples are made of."""
    observed = np.flatnonzero(stack.is_observed)
    if form.kind != "series" or len(observed) <= MOST_VISITS:
        return observed
    return np.asarray(observed[np.linspace(0, len(observed) - 1, MOST_VISITS).round().astype(int)])


def pieces(stack: VisitStack, form: Form) -> Iterator[tuple[int, int, Tensor]]:
    """Go through a series, a few planes at a time.

    Parameters
    ----------
    stack
        The series.
    form
        Kind, size and range.

    Yields
    ------
    place
        Position of the visit among the observed ones, of "series" among those taken.
    z
        Of the first plane.
    planes
        ``(z, modality, y, x)`` float32 in range and size.
    """
    scalings = [fit_scaling(stack, form.value_range, modality=m) for m in range(stack.shape[1])]
    pixels = int(np.prod(stack.shape[-2:])) * stack.shape[1]
    step = max(1, AT_ONCE // pixels)
    for place, visit in enumerate(_taken(form, stack)):
        whole = []
        for z in range(0, stack.shape[2], step):
            piece = np.asarray(stack.images[visit, :, z : z + step])
            scaled = [scaling.apply(piece[m]) for m, scaling in enumerate(scalings)]
            planes = resize_planes(torch.from_numpy(np.stack(scaled, axis=1)), form.image_size)
            if form.depth is None:
                yield place, z, planes
            whole.append(planes)
        if form.depth is not None:
            volume = torch.cat(whole).swapaxes(0, 1)[None]
            yield place, 0, resize_volumes(volume, (form.depth, *form.image_size))[0].swapaxes(0, 1)


def _put(array: NDArray[Any], first: int, z: int, planes: Tensor, form: Form) -> None:
    """Write planes from `z` on into the samples of their visit, the first of which is `first`."""
    found = planes.numpy()
    if form.kind == "volumes":
        array[first, :, z : z + len(found)] = found.swapaxes(0, 1)
    else:
        array[first + z : first + z + len(found)] = found


def _ages(stack: VisitStack, most: int, form: Form) -> Tensor:
    """(z, visit) years of a series, NaN beyond its visits."""
    years = torch.from_numpy(stack.ages[_taken(form, stack)])
    filled_up = F.pad(years, (0, most - len(years)), value=torch.nan)
    return filled_up.expand(stack.shape[2], -1)


def masked_samples(
    form: Form,
    stacks: Sequence[VisitStack],
    labels: Sequence[Marks],
    *,
    file: Path | None = None,
    always: bool = False,
) -> Masked:
    """Observed planes, abnormal ones and their masks apart from healthy ones, a few at a time.

    Parameters
    ----------
    form
        Size and range.
    stacks
        Series of one training; each is scaled by itself.
    labels
        One a series, with masks.
    file, always
        As for `batches.filled`; sick planes and masks go beside, see `masks_beside`.

    Returns
    -------
    Masked
        float32 on the CPU; no abnormal part is lost by resampling.

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
    """Files of the sick planes and their masks, beside that of the healthy planes."""
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


def samples_of(
    cohort: Cohort, form: Form, out: Path, *, shared: bool = False
) -> tuple[tuple[Samples, Samples], tuple[list[str], list[str]]]:
    """Make samples to train and to validate on; large ones lie in files.

    Parameters
    ----------
    cohort
        The data; where they have labels and the method wants planes, those go with their masks.
    form
        What the method wants.
    out
        Folder of the training; files go into a folder in it.
    shared
        Whether all go into files, for other processes to read.

    Returns
    -------
    tuple
        Both samples, and the files they lie in, which are there only if shared.
    """
    wanted = short_hash(cohort.fingerprint + json.dumps(asdict(form)))
    found, files = [], []
    for number, (name, stacks) in enumerate(
        (("training", cohort.training), ("validation", cohort.validation))
    ):
        file = out / FOLDER / f"{name}-{wanted}.npy"
        labels = None if cohort.labels is None else cohort.labels[number]
        samples = _made(form, stacks, labels, file, always=shared)
        found.append(samples)
        files.append([str(file), *_shared_beside(samples, file)] if shared else [])
    return (found[0], found[1]), (files[0], files[1])


def drop_files(out: Path) -> None:
    """Delete the files of samples, which a finished training needs no more."""
    shutil.rmtree(out / FOLDER, ignore_errors=True)


def read_samples(files: Sequence[str]) -> Samples:
    """Read samples that `samples_of` shared."""
    first, *others = (mapped(Path(file)) for file in files)
    if len(others) == 2:
        return Masked(healthy=first, sick=others[0], masks=others[1])
    return (first, others[0]) if others else first


def _made(
    form: Form,
    stacks: Sequence[VisitStack],
    labels: Sequence[Marks] | None,
    file: Path,
    *,
    always: bool,
) -> Samples:
    if labels is not None and form.kind == "planes":
        return masked_samples(form, stacks, labels, file=file, always=always)
    return healthy_samples(form, stacks, labels=labels, file=file, always=always)


def _shared_beside(samples: Samples, file: Path) -> list[str]:
    """Files beside that of the images; small ones are written now."""
    if isinstance(samples, Masked):
        return [str(each) for each in masks_beside(file)]
    if isinstance(samples, Tensor):
        return []
    beside = file.with_suffix(".beside.npy")
    np.save(beside, samples[1].numpy())
    return [str(beside)]
