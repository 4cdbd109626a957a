from __future__ import annotations

import math

import pytest
import torch

from napari_followup.scores.temporal import (
    fuse_over_time,
    reference_of,
    support_over_time,
    visit_weights,
)


def test_weights_fall_with_the_distance_in_years_and_sum_to_one() -> None:
    weights = visit_weights(torch.tensor([60.0, 61.0, 63.0]), sigma=1.0)

    near, far = math.exp(-0.5), math.exp(-4.5)
    assert weights[0].tolist() == pytest.approx([0.0, near / (near + far), far / (near + far)])
    assert weights.sum(dim=1).tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert not weights.diagonal().any()


@pytest.mark.parametrize("sigma", [0.0, 1e-6])
def test_weights_are_equal_without_a_scale_and_where_all_of_them_vanish(sigma: float) -> None:
    weights = visit_weights(torch.tensor([60.0, 70.0, 65.0]), sigma)

    expected = torch.full((3, 3), 0.5, dtype=torch.float64).fill_diagonal_(0.0)
    torch.testing.assert_close(weights, expected)


def test_visits_of_equal_age_are_each_others_reference() -> None:
    weights = visit_weights(torch.tensor([60.0, 60.0, 90.0]), sigma=1.0)

    assert weights[0].tolist() == pytest.approx([0.0, 1.0, 0.0])
    assert weights[2].tolist() == pytest.approx([0.5, 0.5, 0.0])


def test_fusion_of_three_visits_worked_by_hand() -> None:
    scores = torch.tensor([[0.4, 0.0], [0.8, 0.2], [0.0, 1.0]]).view(3, 1, 1, 2)

    fused = fuse_over_time(scores, torch.tensor([60.0, 61.0, 62.0]), sigma=0.0, beta=0.5, gamma=0.1)

    # references, means of the other two: (0.4, 0.6), (0.2, 0.5), (0.6, 0.1)
    # agreement, min-max of each: (0, 1), (0, 1), (1, 0); kept: s (1 - 0.5 (1 - agreement))
    expected = [[0.2 + 0.04, 0.0 + 0.06], [0.4 + 0.02, 0.2 + 0.05], [0.0 + 0.06, 0.5 + 0.01]]
    torch.testing.assert_close(fused.flatten(1), torch.tensor(expected))


def test_blob_seen_at_one_visit_only_is_removed() -> None:
    scores = torch.zeros(3, 1, 8, 8)
    scores[1, 0, 2:4, 2:4] = 1.0

    fused = fuse_over_time(scores, torch.tensor([60.0, 61.0, 62.0]), sigma=0.0, gamma=0.0)

    assert fused.max() == 0.0


def test_blob_seen_at_every_visit_stays() -> None:
    scores = torch.zeros(3, 1, 8, 8)
    scores[:, 0, 2:4, 2:4] = 1.0

    fused = fuse_over_time(scores, torch.tensor([62.0, 60.0, 61.0]), gamma=0.0)

    torch.testing.assert_close(fused, scores)


@pytest.mark.parametrize("fuse", [fuse_over_time, support_over_time])
def test_single_visit_passes_through(fuse: object) -> None:
    scores = torch.rand(1, 1, 4, 4)

    assert torch.equal(fuse(scores, torch.tensor([60.0])), scores)


@pytest.mark.parametrize("fuse", [fuse_over_time, support_over_time])
def test_order_of_the_visits_does_not_matter(fuse: object) -> None:
    scores, ages = torch.rand(4, 1, 5, 7), torch.tensor([60.0, 61.0, 61.0, 66.0])
    order = torch.tensor([2, 0, 3, 1])

    torch.testing.assert_close(fuse(scores, ages)[order], fuse(scores[order], ages[order]))


@pytest.mark.parametrize("fuse", [fuse_over_time, support_over_time])
def test_inputs_are_left_untouched(fuse: object) -> None:
    scores = torch.rand(3, 1, 4, 4)
    before = scores.clone()

    fuse(scores, torch.arange(3.0))

    assert torch.equal(scores, before)


@pytest.mark.parametrize("fuse", [fuse_over_time, support_over_time])
def test_one_age_per_visit_is_needed(fuse: object) -> None:
    with pytest.raises(ValueError, match="got 2 for 3 visits; give one age per visit"):
        fuse(torch.rand(3, 1, 4, 4), torch.arange(2.0))


def test_reference_is_the_weighted_mean_of_the_others() -> None:
    scores = torch.tensor([1.0, 2.0, 6.0]).view(3, 1, 1, 1)

    found = reference_of(scores, torch.tensor([0.0, 1.0, 2.0]), sigma=0.0)

    assert found.flatten().tolist() == [4.0, 3.5, 1.5]


def test_support_reaches_as_far_as_an_anomaly_may_move() -> None:
    scores = torch.zeros(2, 1, 1, 5)
    scores[0, 0, 0, 1], scores[1, 0, 0, 2] = 0.3, 0.4  # moved by one pixel

    near = support_over_time(scores, torch.tensor([0.0, 1.0]), gain=0.5, reach=1)
    still = support_over_time(scores, torch.tensor([0.0, 1.0]), gain=0.5, reach=0)

    assert near[0, 0, 0].tolist() == pytest.approx([0.0, 0.3 + 0.5 * 0.4, 0.0, 0.0, 0.0])
    assert near[1, 0, 0].tolist() == pytest.approx([0.0, 0.0, 0.4 + 0.5 * 0.3, 0.0, 0.0])
    assert torch.equal(still, scores)


def test_where_a_reference_is_constant_no_score_is_kept() -> None:
    scores = torch.full((2, 1, 3, 3), 0.7)

    fused = fuse_over_time(scores, torch.tensor([60.0, 61.0]), gamma=0.1)

    torch.testing.assert_close(fused, torch.full_like(scores, 0.07))
