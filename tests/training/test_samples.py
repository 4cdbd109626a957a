from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from napari_followup.stack import VisitStack
from napari_followup.training.samples import RandomPlanes, healthy_planes, split_subjects


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

    whole = list(islice(RandomPlanes(planes, 3, seed=5), 6))
    rest = list(islice(RandomPlanes(planes, 3, seed=5, start=4), 2))

    assert all(batch.shape == (3, 1, 4, 4) for batch in whole)
    assert torch.equal(whole[4], rest[0])
    assert torch.equal(whole[5], rest[1])
    assert not torch.equal(whole[0], whole[1])
