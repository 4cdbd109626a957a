from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_followup.methods.sadm import SADM, SADMConfig
from napari_followup.methods.table import TABLE
from napari_followup.series.stack import VisitStack
from napari_followup.training import batches, samples
from napari_followup.training.batches import Masked, mapped, samples_for
from napari_followup.training.cohort import Cohort, Learner, cohort_of
from napari_followup.training.fit import fit_stage
from napari_followup.training.labels import Marks, marks_of
from napari_followup.training.plan import TrainingPlan
from napari_followup.training.samples import (
    MOST_VISITS,
    Form,
    drop_files,
    healthy_samples,
    labels_of,
    masked_samples,
    masks_beside,
    read_samples,
    samples_of,
)
from napari_followup.training.settings import form_of


def made(kind: str, stacks: list[VisitStack], size: tuple[int, int] = (8, 8), **more: Any) -> Any:
    return healthy_samples(Form(kind=kind, image_size=size, **more), stacks)


def test_every_observed_plane_becomes_a_sample_in_the_models_range() -> None:
    images = np.random.default_rng(0).random((3, 2, 4, 20, 12)) * 50  # two modalities, depth 4
    images[1] = np.nan
    stack = VisitStack.from_array(images)

    planes = made("planes", [stack, stack], (16, 16), value_range=(-1.0, 1.0))

    assert planes.shape == (2 * 2 * 4, 2, 16, 16)
    assert planes.dtype == torch.float32
    assert planes.isfinite().all()
    assert planes.min() < -0.5
    assert planes.max() > 0.5


def test_planes_are_whole_images_in_order() -> None:
    images = np.random.default_rng(0).random((2, 2, 3, 8, 8)).astype(np.float32)

    planes = made("planes", [VisitStack.from_array(images)])

    for modality in range(2):
        mine = planes[1 * 3 + 2, modality].numpy().ravel()
        theirs = images[1, modality, 2].ravel()
        assert np.corrcoef(mine, theirs)[0, 1] == pytest.approx(1.0)


def test_series_of_different_modalities_or_none_are_refused() -> None:
    one, two = (VisitStack.from_array(np.random.rand(2, m, 1, 8, 8)) for m in (1, 2))

    with pytest.raises(ValueError, match="at least one healthy series"):
        made("planes", [])
    for kind in ("planes", "series", "volumes"):
        with pytest.raises(ValueError, match=r"differ in their number of modalities: \[1, 2\]"):
            made(kind, [one, two])


def series_of(visits: int, depth: int = 1, **settings: object) -> VisitStack:
    """Series whose visit `v` holds the value v in plane 0, and v + 100 in plane 1."""
    images = np.arange(visits, dtype=np.float32)[:, None, None, None] + np.zeros((depth, 8, 8))
    images += 100.0 * np.arange(depth)[:, None, None]
    images[:, :, 0, 0] = -1.0  # so that the visit is never the end of the scale
    return VisitStack.from_array(images, axes="vzyx", **settings)


def test_each_plane_of_a_series_is_a_series_with_the_ages_of_all() -> None:
    stack = series_of(3, depth=2, ages=[60.0, 61.0, 64.0])

    images, ages = made("series", [stack])

    assert images.shape == (2, 3, 1, 8, 8)
    assert images.dtype == torch.float32
    assert ages.tolist() == [[60.0, 61.0, 64.0]] * 2
    assert ages.dtype == torch.float64
    low, high = np.percentile(np.asarray(stack.images), (0.5, 99.5))
    for plane in range(2):
        own = (torch.arange(3.0) + 100 * plane - low) / (high - low)
        torch.testing.assert_close(images[plane, :, 0, 4, 4], own.float())


def test_short_series_are_filled_up_and_their_missing_visits_left_out() -> None:
    long = series_of(4, ages=[60.0, 61.0, 62.0, 63.0])
    gap = np.asarray(series_of(3).images, np.float32).copy()
    gap[1] = np.nan
    short = VisitStack.from_array(gap[:, 0], ages=[70.0, 71.0, 73.0])
    imputed = replace(long, is_observed=np.array([True, False, True, False]))

    images, ages = made("series", [long, short, imputed])

    np.testing.assert_array_equal(
        ages,
        [[60, 61, 62, 63], [70, 73, np.nan, np.nan], [60, 62, np.nan, np.nan]],
    )
    assert images.isfinite().all()
    assert not images[1:, 2:].any()
    middle = images[1, :2, 0, 4, 4]
    assert middle[1] > middle[0]  # the first and the third visit
    assert (images[2, 1, 0, 4, 4] - images[2, 0, 0, 4, 4]).item() > 0.5  # visits 0 and 2 of 0 to 2


def test_very_long_series_keep_visits_from_beginning_to_end() -> None:
    count = 3 * MOST_VISITS
    images, ages = made("series", [series_of(count, ages=np.arange(count))])

    assert images.shape[1] == MOST_VISITS
    kept = ages[0].tolist()
    assert kept == sorted(set(kept))
    assert (kept[0], kept[-1]) == (0.0, count - 1)
    assert max(np.diff(kept)) <= 4
    steps = images[0, :, 0, 4, 4].diff()
    torch.testing.assert_close(steps / ages[0].diff().float(), (steps[0] / 3).expand(15))


def test_subjects_seen_once_teach_no_change() -> None:
    once = series_of(1, ages=[60.0])
    twice = series_of(2, ages=[60.0, 61.0])

    with pytest.raises(ValueError, match="none of 2 series has two observed visits"):
        made("series", [once, once])
    assert len(made("series", [once, twice])[0]) == 1


def test_all_kinds_hold_the_same_planes() -> None:
    stack = series_of(3, depth=2)

    planes, volumes = made("planes", [stack, stack]), made("volumes", [stack, stack])
    images, ages = made("series", [stack, stack])

    assert volumes.shape == (6, 1, 2, 8, 8)
    assert torch.equal(volumes.transpose(1, 2).flatten(0, 1), planes)
    assert torch.equal(images.unflatten(0, (2, 2)).transpose(1, 2).flatten(0, 2), planes)
    assert ages.shape == (4, 3)


def test_volumes_differ_in_depth_only_where_the_model_has_one() -> None:
    thin, thick = series_of(2, depth=2), series_of(2, depth=6)

    with pytest.raises(ValueError, match=r"differ in their number of planes: \[2, 6\]"):
        made("volumes", [thin, thick])
    found = made("volumes", [thin, thick], depth=4)

    assert found.shape == (4, 1, 4, 8, 8)
    column = found[:, 0, :, 4, 4]
    assert (column.diff(dim=1) >= 0).all()  # planes rise in value, resampled or not
    assert column[0, 0] < column[0, -1]


def test_fewer_planes_are_means_of_those_there_are() -> None:
    found = made("volumes", [series_of(1, depth=4)], depth=2)
    whole = made("volumes", [series_of(1, depth=4)])

    torch.testing.assert_close(found, whole.unflatten(2, (2, 2)).mean(dim=3))


@pytest.mark.parametrize("kind", ["planes", "series", "volumes"])
def test_samples_are_the_same_in_memory_on_disk_and_in_pieces(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(0).random((3, 2, 5, 20, 12))
    stacks = [VisitStack.from_array(images), VisitStack.from_array(images[:2] * 3)]
    form = Form(kind=kind, image_size=(8, 8))

    whole = healthy_samples(form, stacks)
    monkeypatch.setattr(batches, "IN_MEMORY", 0)
    monkeypatch.setattr(samples, "AT_ONCE", 20 * 12 * 2 * 2)  # two planes of both modalities
    pieces = healthy_samples(form, stacks, file=tmp_path / "a.npy")

    first = [one if isinstance(one, Tensor) else one[0] for one in (whole, pieces)]
    assert torch.equal(*first)
    assert (tmp_path / "a.npy").exists()


class Spy:
    """Images that know how many values were asked for at once at most."""

    def __init__(self, images: np.ndarray) -> None:
        self.images, self.most = images, 0
        self.shape, self.dtype = images.shape, images.dtype

    def __getitem__(self, where: object) -> np.ndarray:
        found = self.images[where]
        self.most = max(self.most, found.size)
        return found


@pytest.mark.parametrize("kind", ["planes", "series", "volumes"])
def test_a_series_is_never_in_memory_as_a_whole(kind: str) -> None:
    stack = VisitStack.from_array(np.random.rand(6, 2, 50, 8, 8))
    spy = Spy(stack.images)
    object.__setattr__(stack, "images", spy)

    made(kind, [stack])

    assert spy.most == 2 * 50 * 8 * 8  # one visit


def test_labels_go_to_every_observed_plane() -> None:
    images = np.random.rand(3, 2, 8, 8)
    images[1] = np.nan
    stack = VisitStack.from_array(images, axes="vzyx")

    assert labels_of([stack], [1]).tolist() == [1, 1, 1, 1]
    assert labels_of([stack], [[0, 0, 1]]).tolist() == [0, 0, 1, 1]
    assert labels_of([stack, stack], [0, [[0, 1], [1, 1], [1, 0]]]).tolist() == [0] * 4 + [
        *(0, 1, 1, 0)
    ]
    form = Form(kind="labelled", image_size=(8, 8))
    planes, labels = healthy_samples(form, [stack], labels=[[0, 0, 1]])
    assert torch.equal(planes, made("planes", [stack]))
    assert labels.dtype == torch.int64


def test_labels_that_do_not_fit_are_told() -> None:
    stack = series_of(3)

    with pytest.raises(ValueError, match="labels: got none for 1 series"):
        made("labelled", [stack])
    with pytest.raises(ValueError, match="labels: got 2 for 1 series"):
        labels_of([stack], [0, 1])
    with pytest.raises(
        ValueError, match=r"got shape \(2,\); give a number, \(3,\), \(3, 1\), or a mask"
    ):
        labels_of([stack], [[0, 1]])


def test_a_kind_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'patches'; a method learns from planes, series"):
        Form(kind="patches", image_size=(8, 8))
    with pytest.raises(ValueError, match="depth: planes have none"):
        Form(kind="planes", image_size=(8, 8), depth=3)


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
    monkeypatch.setattr(samples, "AT_ONCE", 1)

    found = masked_samples(FORM, stacks, marks)

    assert torch.equal(found.sick, whole.sick)
    assert torch.equal(found.masks, whole.masks)


def test_large_samples_lie_in_three_files(
    stacks: list[VisitStack], marks: list[Marks], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "IN_MEMORY", 8)
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


PLAN = TrainingPlan(steps=1, held_out=0.5)


@pytest.fixture
def six() -> list[VisitStack]:
    return VisitStack.from_cohort(np.random.default_rng(0).random((6, 2, 8, 8)))


def learner(**what: Any) -> Learner:
    return Learner(name="a method", **what)


@pytest.fixture
def masked(six: list[VisitStack]) -> Cohort:
    """Two sick subjects, a square at the second visit of each."""
    mask = np.zeros((2, 8, 8), np.uint8)
    mask[1, 2:4, 2:4] = 3
    labels = [mask if number in (1, 4) else 0 for number in range(6)]
    return cohort_of(six, learner(takes=TABLE["sadm"].labels), PLAN, labels)


def test_labels_of_planes_go_with_their_planes(six: list[VisitStack]) -> None:
    labels = [0, [0, 1], 0, 0, 1, 0]
    cohort = cohort_of(six, learner(takes=TABLE["anofpdm"].labels), PLAN, labels)

    (planes, marks), _ = samples_of(
        cohort, Form(kind="labelled", image_size=(8, 8)), Path("unused")
    )[0]

    assert len(planes) == len(marks) == 6
    known = {s.subject: label for s, label in zip(six, labels, strict=True)}
    told = [np.broadcast_to(known[stack.subject], 2) for stack in cohort.training]
    assert marks.tolist() == np.concatenate(told).tolist()


def test_masks_go_with_the_sick_planes_apart_from_the_healthy(masked: Cohort) -> None:
    for found in samples_of(masked, Form(kind="planes", image_size=(8, 8)), Path("unused"))[0]:
        assert isinstance(found, Masked)
        assert (len(found.healthy), len(found.sick), len(found.masks)) == (5, 1, 1)
        assert found.masks[0, 0].nonzero().tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]


def test_other_processes_read_the_same_masks(masked: Cohort, tmp_path: Path) -> None:
    form = Form(kind="planes", image_size=(8, 8))

    made, files = samples_of(masked, form, tmp_path, shared=True)

    for mine, theirs in zip(made, map(read_samples, files), strict=True):
        assert isinstance(mine, Masked)
        assert isinstance(theirs, Masked)
        for name in ("healthy", "sick", "masks"):
            assert torch.equal(getattr(mine, name), getattr(theirs, name))


@pytest.mark.parametrize("kind", ["planes", "series"])
def test_other_processes_read_the_same_samples(
    six: list[VisitStack], kind: str, tmp_path: Path
) -> None:
    cohort = cohort_of(six, learner(samples=kind), PLAN)
    form = Form(kind=kind, image_size=(8, 8))

    made, files = samples_of(cohort, form, tmp_path, shared=True)

    for mine, theirs in zip(made, map(read_samples, files), strict=True):
        pairs = zip(mine, theirs, strict=True) if kind == "series" else [(mine, theirs)]
        assert all(torch.equal(one, other) for one, other in pairs)
    drop_files(tmp_path)
    assert not list(tmp_path.iterdir())


def test_small_samples_leave_no_files(six: list[VisitStack], tmp_path: Path) -> None:
    cohort = cohort_of(six, learner(), PLAN)

    samples_of(cohort, Form(kind="planes", image_size=(8, 8)), tmp_path)

    assert not list(tmp_path.iterdir())
