"""The data of a training: who is learned from, who is held out, and the samples of both."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from napari_followup.stack import VisitStack
from napari_followup.training.batches import Samples
from napari_followup.training.cache import mapped
from napari_followup.training.plan import TrainingPlan
from napari_followup.training.samples import Form, healthy_samples
from napari_followup.training.subjects import fingerprint, seen_twice, split_subjects

__all__ = ["Cohort", "cohort_of", "drop_files", "read_samples", "samples_of"]

FOLDER = "samples"


@dataclass(frozen=True, eq=False, kw_only=True)
class Cohort:
    """Series to learn from and held-out ones, with their labels if there are any.

    `healthy` are the held-out series without a label above 0, which a model is measured on.
    """

    training: list[VisitStack]
    validation: list[VisitStack]
    healthy: list[VisitStack]
    labels: tuple[list[ArrayLike], list[ArrayLike]] | None = None

    @property
    def fingerprint(self) -> str:
        """Short hash of the data."""
        plain = fingerprint([*self.training, *self.validation])
        if self.labels is None:
            return plain
        entries = [np.asarray(entry).tolist() for part in self.labels for entry in part]
        return f"{plain}-{_hash(repr(entries))}"


def cohort_of(
    stacks: Sequence[VisitStack],
    model: Any,
    plan: TrainingPlan,
    labels: Sequence[ArrayLike] | None = None,
) -> Cohort:
    """Split subjects into those a method learns from and those it is measured on.

    Parameters
    ----------
    stacks
        Healthy series; with `labels`, others too.
    model
        The method, which says what samples it learns from.
    plan
        Its share of held-out subjects, and seed.
    labels
        One entry a series, see `samples.labels_of`, for methods that learn from them.

    Returns
    -------
    Cohort
        Split by subject.

    Raises
    ------
    ValueError
        If there are too few subjects, no held-out one is healthy, or the method takes no labels.
    """
    if model.samples == "series":
        stacks = seen_twice(stacks)
    if labels is not None:
        _check_labels(model, len(stacks), labels)
    training, validation = split_subjects(stacks, plan.held_out, plan.seed)
    if labels is None:
        return Cohort(training=training, validation=validation, healthy=validation)
    entry = {id(stack): label for stack, label in zip(stacks, labels, strict=True)}
    healthy = [stack for stack in validation if not np.any(np.asarray(entry[id(stack)]))]
    if not healthy:
        raise ValueError(
            "labels: no held-out series is healthy at all its visits, so nothing tells how high "
            "healthy ones score; give more healthy subjects, or another seed"
        )
    parts = tuple([entry[id(stack)] for stack in part] for part in (training, validation))
    return Cohort(
        training=training, validation=validation, healthy=healthy, labels=(parts[0], parts[1])
    )


def samples_of(
    cohort: Cohort, form: Form, out: Path, *, shared: bool = False
) -> tuple[tuple[Samples, Samples], tuple[list[str], list[str]]]:
    """Make samples to train and to validate on; large ones lie in files.

    Parameters
    ----------
    cohort
        The data.
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
    wanted = _hash(cohort.fingerprint + json.dumps(asdict(form)))
    found, files = [], []
    for number, (name, stacks) in enumerate(
        (("training", cohort.training), ("validation", cohort.validation))
    ):
        file = out / FOLDER / f"{name}-{wanted}.npy"
        labels = None if cohort.labels is None else cohort.labels[number]
        samples = healthy_samples(form, stacks, labels=labels, file=file, always=shared)
        found.append(samples)
        files.append([str(file)])
        if shared and not isinstance(samples, Tensor):
            beside = file.with_suffix(".beside.npy")
            np.save(beside, samples[1].numpy())
            files[-1].append(str(beside))
    return (found[0], found[1]), (files[0], files[1])


def drop_files(out: Path) -> None:
    """Delete the files of samples, which a finished training needs no more."""
    shutil.rmtree(out / FOLDER, ignore_errors=True)


def read_samples(files: Sequence[str]) -> Samples:
    """Read samples that `samples_of` shared."""
    first, *others = (mapped(Path(file)) for file in files)
    return (first, others[0]) if others else first


def _check_labels(model: Any, count: int, labels: Sequence[ArrayLike]) -> None:
    if not (model.samples == "labelled" or getattr(model, "takes_labels", False)):
        raise ValueError(
            f"labels: {type(model).__name__} learns from healthy images alone; leave them out"
        )
    if len(labels) != count:
        raise ValueError(f"labels: got {len(labels)} for {count} series; give one entry a series")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
