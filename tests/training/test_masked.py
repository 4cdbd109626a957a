from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_followup.methods.sadm import SADM, SADMConfig
from napari_followup.series.stack import VisitStack
from napari_followup.training import cache, masked
from napari_followup.training.batches import Masked, samples_for
from napari_followup.training.cache import mapped
from napari_followup.training.cohort import Learner, cohort_of
from napari_followup.training.data import samples_of
from napari_followup.training.fit import fit_stage
from napari_followup.training.labels import Marks, marks_of
from napari_followup.training.masked import masked_samples, masks_beside
from napari_followup.training.plan import TrainingPlan
from napari_followup.training.samples import Form, healthy_samples
from napari_followup.training.settings import form_of

FORM = Form(kind="planes", image_size=(8, 8))


@pytest.fixture
def stacks() -> list[VisitStack]:
    """Two subjects of three visits, two planes and two modalities; one visit is missing."""
    images = np.random.default_rng(0).random((2, 3, 2, 2, 8, 8))
    images[1, 1] = np.nan
    return VisitStack.from_cohort(images, axes="svmzyx")


@pytest.fixture
def marks(stacks: list[VisitStack]) -> list[Marks]:
    """A pixel of its own in three planes of the second subject, one of them not observed."""
    mask = np.zeros((3, 2, 8, 8), bool)
    mask[0, 1, 1, 1] = mask[1, 0, 2, 2] = mask[2, 0, 3, 3] = True
    return [marks_of(stacks[0], 0), marks_of(stacks[1], mask)]


def test_sick_planes_go_with_their_masks_and_none_is_lost(
    stacks: list[VisitStack], marks: list[Marks]
) -> None:
    planes = healthy_samples(FORM, stacks)

    found = masked_samples(FORM, stacks, marks)

    assert torch.equal(found.sick, planes[[7, 8]])
    assert torch.equal(found.healthy, planes[[0, 1, 2, 3, 4, 5, 6, 9]])
    assert found.masks.nonzero().tolist() == [[0, 0, 1, 1], [1, 0, 3, 3]]
    assert found.masks.dtype == torch.float32


def test_masks_follow_the_planes_to_another_size(
    stacks: list[VisitStack], marks: list[Marks]
) -> None:
    form = Form(kind="planes", image_size=(4, 4))

    found = masked_samples(form, stacks, marks)

    assert found.sick.shape == (2, 2, 4, 4)
    assert found.masks.nonzero().tolist() == [[0, 0, 0, 0], [1, 0, 1, 1]]


def test_a_few_planes_are_read_at_a_time(
    stacks: list[VisitStack], marks: list[Marks], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = masked_samples(FORM, stacks, marks)
    monkeypatch.setattr(masked, "AT_ONCE", 1)
    monkeypatch.setattr("napari_followup.training.samples.AT_ONCE", 1)

    found = masked_samples(FORM, stacks, marks)

    assert torch.equal(found.sick, whole.sick)
    assert torch.equal(found.masks, whole.masks)


def test_large_samples_lie_in_three_files(
    stacks: list[VisitStack], marks: list[Marks], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "IN_MEMORY", 8)
    file = tmp_path / "training.npy"

    found = masked_samples(FORM, stacks, marks, file=file)

    names = sorted(each.name for each in tmp_path.iterdir())
    assert names == ["training.masks.npy", "training.npy", "training.sick.npy"]
    assert torch.equal(mapped(masks_beside(file)[0]), found.sick)
    assert torch.equal(mapped(masks_beside(file)[1]), found.masks)


def test_nothing_sick_gives_empty_samples_in_memory_and_in_files(
    stacks: list[VisitStack], tmp_path: Path
) -> None:
    healthy = [marks_of(stack, 0) for stack in stacks]

    for found in (
        masked_samples(FORM, stacks, healthy),
        masked_samples(FORM, stacks, healthy, file=tmp_path / "held-out.npy", always=True),
    ):
        assert (len(found.healthy), len(found.sick), len(found.masks)) == (10, 0, 0)
        planes, masks = found.spread(4)
        assert planes.shape == (4, 2, 8, 8)
        assert masks.shape == (4, 1, 8, 8)


def test_series_of_other_modalities_are_refused(stacks: list[VisitStack]) -> None:
    one = VisitStack.from_array(np.random.rand(2, 8, 8))

    with pytest.raises(ValueError, match="differ in their number of modalities"):
        masked_samples(FORM, [*stacks, one], [marks_of(s, 0) for s in [*stacks, one]])


def spotted(subjects: int, sick: int) -> tuple[list[VisitStack], dict[str, np.ndarray]]:
    """Subjects of two visits, some of them with a dark and a bright square, and where these are."""
    rng = np.random.default_rng(0)
    images = 0.5 + 0.03 * rng.standard_normal((subjects, 2, 16, 16))
    dark, bright = np.zeros((2, *images.shape), bool)
    for number in np.ndindex(sick, 2):
        for squares, half in ((dark, 0), (bright, 8)):
            y, x = rng.integers(0, 13), half + rng.integers(0, 5)
            squares[number][y : y + 3, x : x + 3] = True
    images += 0.4 * bright - 0.4 * dark
    return VisitStack.from_cohort(images), {"dark": dark, "bright": bright}


@pytest.mark.parametrize("marked", ["dark", "bright"])
def test_the_second_network_of_sadm_learns_what_the_users_masks_mark(
    marked: str, tmp_path: Path
) -> None:
    pytest.importorskip("lightning")
    torch.manual_seed(0)
    stacks, squares = spotted(12, sick=6)
    base = {"dimensions": 2, "channels": (8, 16), "code_features": 6}
    config = SADMConfig(image_size=(16, 16), base="vae3d", base_config=base, channels=(8, 16))
    model = SADM(config)
    plan = TrainingPlan(steps=150, batch=16, held_out=0.3, learning_rate=2e-2, ema_decay=0.9)
    cohort = cohort_of(stacks, Learner.of(model), plan, list(squares[marked]))
    training, held_out = samples_of(cohort, form_of(model, labelled=True), tmp_path)[0]
    assert isinstance(held_out, Masked)
    samples = [samples_for("segment", model, part) for part in (training, held_out)]

    assert fit_stage(model, "segment", (samples[0], samples[1]), plan, tmp_path / "segment")

    planes, marks = held_out.sick, held_out.masks > 0
    with torch.no_grad():
        healthy = model._healthy(planes, torch.Generator().manual_seed(0))
        found = torch.sigmoid(model.segment(planes, healthy))
    unmarked = planes < 0.2 if marked == "bright" else planes > 0.8
    assert found[marks].mean() > 0.7
    assert found[~marks].mean() < 0.1
    assert found[unmarked & ~marks].mean() < 0.1
