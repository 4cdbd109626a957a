from __future__ import annotations

import numpy as np
import pytest
from skimage.filters import threshold_yen

from napari_followup.segmentation.threshold import yen_threshold


def two_levels() -> np.ndarray:
    scores = np.random.default_rng(0).normal(0.1, 0.02, (3, 1, 16, 16)).astype(np.float32)
    scores[:, :, 4:8, 4:8] += 0.8
    return scores


def test_threshold_lies_between_two_levels() -> None:
    scores = np.where(np.arange(64) < 8, 0.9, 0.1)

    assert 0.1 < yen_threshold(lambda: [scores]) < 0.9


def test_a_missing_visit_has_no_say() -> None:
    scores = two_levels()
    with_gap = np.concatenate([scores, np.full((1, 1, 16, 16), np.nan, np.float32)])

    assert yen_threshold(lambda: [with_gap]) == threshold_yen(scores)


@pytest.mark.parametrize("value", [0.0, 0.7, np.nan])
def test_a_constant_map_has_no_threshold(value: float) -> None:
    assert yen_threshold(lambda: [np.full((2, 1, 4, 4), value)]) == np.inf


def test_scores_in_parts_have_the_threshold_of_all_together() -> None:
    scores = np.random.default_rng(0).gamma(2.0, size=(5, 2, 9, 9)).astype(np.float32)
    scores[3] = np.nan

    assert yen_threshold(lambda: iter(scores)) == yen_threshold(lambda: [scores])
    assert yen_threshold(lambda: [scores]) == threshold_yen(scores[np.isfinite(scores)])
    assert yen_threshold(list) == np.inf
