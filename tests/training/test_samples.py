from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from napari_followup.stack import VisitStack
from napari_followup.training.samples import (
    MOST_VISITS,
    RandomBatches,
    healthy_planes,
    healthy_samples,
    healthy_series,
    picked,
    size_of,
    split_subjects,
)


def test_every_observed_plane_becomes_a_sample_in_the_models_range() -> None:
    images = np.random.default_rng(0).random((3, 2, 4, 20, 12)) * 50  # two modalities, depth 4
    images[1] = np.nan
    stack = VisitStack.from_array(images)

    planes = healthy_planes([stack, stack], (16, 16), (-1.0, 1.0))

    assert planes.shape == (2 * 2 * 4, 2, 16, 16)
    assert planes.dtype == torch.float32
    assert planes.isfinite().all()
    assert planes.min() < -0.5
    assert planes.max() > 0.5


def test_planes_are_whole_images_in_order() -> None:
    images = np.random.default_rng(0).random((2, 2, 3, 8, 8)).astype(np.float32)

    planes = healthy_planes([VisitStack.from_array(images)], (8, 8))

    for modality in range(2):
        mine = planes[1 * 3 + 2, modality].numpy().ravel()
        theirs = images[1, modality, 2].ravel()
        assert np.corrcoef(mine, theirs)[0, 1] == pytest.approx(1.0)


def test_series_of_different_modalities_or_none_are_refused() -> None:
    one, two = (VisitStack.from_array(np.random.rand(2, m, 1, 8, 8)) for m in (1, 2))

    with pytest.raises(ValueError, match="at least one healthy series"):
        healthy_planes([], (8, 8))
    with pytest.raises(ValueError, match=r"differ in their number of modalities: \[1, 2\]"):
        healthy_planes([one, two], (8, 8))


@pytest.mark.parametrize(("held_out", "aside"), [(0.0, 1), (0.25, 2), (0.99, 7)])
def test_at_least_one_subject_stays_on_either_side(held_out: float, aside: int) -> None:
    stacks = VisitStack.from_cohort(np.random.rand(8, 2, 4, 4))

    training, validation = split_subjects(stacks, held_out, seed=0)

    assert len(validation) == aside
    names = [stack.subject for stack in training + validation]
    assert sorted(names) == [stack.subject for stack in stacks]
    assert [s.subject for s in split_subjects(stacks, held_out, 0)[1]] == names[len(training) :]


def test_one_subject_cannot_be_split(tiny_series: VisitStack) -> None:
    with pytest.raises(ValueError, match="at least 2 subjects, one of them to validate on; got 1"):
        split_subjects([tiny_series], 0.1, 0)


def test_batches_go_on_where_they_were_left() -> None:
    planes = torch.rand(20, 1, 4, 4)

    whole = list(islice(RandomBatches(planes, 3, seed=5), 6))
    rest = list(islice(RandomBatches(planes, 3, seed=5, start=4), 2))

    assert all(batch.shape == (3, 1, 4, 4) for batch in whole)
    assert torch.equal(whole[4], rest[0])
    assert torch.equal(whole[5], rest[1])
    assert not torch.equal(whole[0], whole[1])


def test_series_are_drawn_with_their_ages() -> None:
    images = torch.arange(20.0)[:, None, None, None, None].expand(20, 3, 1, 4, 4)
    ages = torch.arange(20.0, dtype=torch.float64)[:, None].expand(20, 3)

    first, years = next(iter(RandomBatches((images, ages), 5, seed=1)))

    assert first.shape == (5, 3, 1, 4, 4)
    assert torch.equal(first[:, :, 0, 0, 0].double(), years)
    assert size_of((images, ages)) == size_of(images) == 20
    some = picked((images, ages), slice(2, 4))
    assert torch.equal(some[0], images[2:4])
    assert torch.equal(some[1], ages[2:4])


def series_of(visits: int, depth: int = 1, **settings: object) -> VisitStack:
    """Series whose visit `v` holds the value v in plane 0, and v + 100 in plane 1."""
    images = np.arange(visits, dtype=np.float32)[:, None, None, None] + np.zeros((depth, 8, 8))
    images += 100.0 * np.arange(depth)[:, None, None]
    images[:, :, 0, 0] = -1.0  # so that the visit is never the end of the scale
    return VisitStack.from_array(images, axes="vzyx", **settings)


def test_each_plane_of_a_series_is_a_series_with_the_ages_of_all() -> None:
    stack = series_of(3, depth=2, ages=[60.0, 61.0, 64.0])

    images, ages = healthy_series([stack], (8, 8))

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

    images, ages = healthy_series([long, short, imputed], (8, 8))

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
    images, ages = healthy_series([series_of(count, ages=np.arange(count))], (8, 8))

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
        healthy_series([once, once], (8, 8))
    assert len(healthy_series([once, twice], (8, 8))[0]) == 1
    with pytest.raises(ValueError, match=r"differ in their number of modalities: \[1, 2\]"):
        healthy_series([twice, VisitStack.from_array(np.random.rand(2, 2, 1, 8, 8))], (8, 8))


def test_methods_get_the_samples_of_their_kind() -> None:
    stack = series_of(3)

    planes = healthy_samples("planes", [stack], (8, 8))
    images, ages = healthy_samples("series", [stack], (8, 8))

    assert planes.shape == (3, 1, 8, 8)
    assert torch.equal(images[0], planes)
    assert ages.tolist() == [[0.0, 1.0, 2.0]]
