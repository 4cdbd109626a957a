"""The samples of a training, from the series of its cohort; large and shared ones lie in files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from torch import Tensor

from napari_followup.series.stack import VisitStack
from napari_followup.training.batches import Masked, Samples, mapped
from napari_followup.training.cohort import Cohort, short_hash
from napari_followup.training.labels import Marks
from napari_followup.training.samples import Form, healthy_samples, masked_samples, masks_beside

__all__ = ["drop_files", "read_samples", "samples_of"]

FOLDER = "samples"


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
