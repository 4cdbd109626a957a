from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_followup.methods.table import TABLE
from napari_followup.series.stack import VisitStack
from napari_followup.training.batches import Masked
from napari_followup.training.cohort import Cohort, Learner, cohort_of
from napari_followup.training.data import drop_files, read_samples, samples_of
from napari_followup.training.plan import TrainingPlan
from napari_followup.training.samples import Form

PLAN = TrainingPlan(steps=1, held_out=0.5)


@pytest.fixture
def stacks() -> list[VisitStack]:
    return VisitStack.from_cohort(np.random.default_rng(0).random((6, 2, 8, 8)))


def learner(**what: Any) -> Learner:
    return Learner(name="a method", **what)


@pytest.fixture
def masked(stacks: list[VisitStack]) -> Cohort:
    """Two sick subjects, a square at the second visit of each."""
    mask = np.zeros((2, 8, 8), np.uint8)
    mask[1, 2:4, 2:4] = 3
    labels = [mask if number in (1, 4) else 0 for number in range(6)]
    return cohort_of(stacks, learner(takes=TABLE["sadm"].labels), PLAN, labels)


def test_labels_of_planes_go_with_their_planes(stacks: list[VisitStack]) -> None:
    labels = [0, [0, 1], 0, 0, 1, 0]
    cohort = cohort_of(stacks, learner(takes=TABLE["anofpdm"].labels), PLAN, labels)

    (planes, marks), _ = samples_of(
        cohort, Form(kind="labelled", image_size=(8, 8)), Path("unused")
    )[0]

    assert len(planes) == len(marks) == 6
    known = {s.subject: label for s, label in zip(stacks, labels, strict=True)}
    told = [np.broadcast_to(known[stack.subject], 2) for stack in cohort.training]
    assert marks.tolist() == np.concatenate(told).tolist()


def test_masks_go_with_the_sick_planes_apart_from_the_healthy(masked: Cohort) -> None:
    for samples in samples_of(masked, Form(kind="planes", image_size=(8, 8)), Path("unused"))[0]:
        assert isinstance(samples, Masked)
        assert (len(samples.healthy), len(samples.sick), len(samples.masks)) == (5, 1, 1)
        assert samples.masks[0, 0].nonzero().tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]


def test_other_processes_read_the_same_masks(masked: Cohort, tmp_path: Path) -> None:
    form = Form(kind="planes", image_size=(8, 8))

    samples, files = samples_of(masked, form, tmp_path, shared=True)

    for mine, theirs in zip(samples, map(read_samples, files), strict=True):
        assert isinstance(mine, Masked)
        assert isinstance(theirs, Masked)
        for name in ("healthy", "sick", "masks"):
            assert torch.equal(getattr(mine, name), getattr(theirs, name))


@pytest.mark.parametrize("kind", ["planes", "series"])
def test_other_processes_read_the_same_samples(
    stacks: list[VisitStack], kind: str, tmp_path: Path
) -> None:
    cohort = cohort_of(stacks, learner(samples=kind), PLAN)
    form = Form(kind=kind, image_size=(8, 8))

    samples, files = samples_of(cohort, form, tmp_path, shared=True)

    for mine, theirs in zip(samples, map(read_samples, files), strict=True):
        pairs = zip(mine, theirs, strict=True) if kind == "series" else [(mine, theirs)]
        assert all(torch.equal(one, other) for one, other in pairs)
    drop_files(tmp_path)
    assert not list(tmp_path.iterdir())


def test_small_samples_leave_no_files(stacks: list[VisitStack], tmp_path: Path) -> None:
    cohort = cohort_of(stacks, learner(), PLAN)

    samples_of(cohort, Form(kind="planes", image_size=(8, 8)), tmp_path)

    assert not list(tmp_path.iterdir())
