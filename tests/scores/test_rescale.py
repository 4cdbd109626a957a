from __future__ import annotations

import torch

from napari_followup.scores.rescale import rescale


def test_the_whole_series_shares_one_scale() -> None:
    scores = torch.tensor([1.0, 2.0, 5.0]).view(3, 1, 1, 1).expand(3, 1, 2, 2)

    assert rescale(scores)[:, 0, 0, 0].tolist() == [0.0, 0.25, 1.0]


def test_each_visit_may_have_a_scale_of_its_own() -> None:
    scores = torch.tensor([[1.0, 3.0], [10.0, 20.0], [7.0, 7.0]]).view(3, 1, 1, 2)

    found = rescale(scores, over="visit")

    assert found.flatten(1).tolist() == [[0.0, 1.0], [0.0, 1.0], [0.0, 0.0]]


def test_constant_scores_become_zero() -> None:
    assert not rescale(torch.full((2, 1, 3, 3), 0.7)).any()
