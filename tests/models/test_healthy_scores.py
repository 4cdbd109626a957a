from __future__ import annotations

import math

import numpy as np
import pytest

from napari_followup.models.healthy_scores import HealthyScores

SCORES = HealthyScores(shares=(1.0, 0.1, 0.01), heights=(0.0, 0.2, 0.5), maxima=(0.3, 0.4, 0.6))


@pytest.mark.parametrize(
    ("q", "height"),
    [(0.0, 0.0), (0.9, 0.2), (0.99, 0.5), (0.999999, 0.5), (1.0, 0.5), (1 - 10**-1.5, 0.35)],
)
def test_healthy_heights_are_read_on_a_logarithmic_scale(q: float, height: float) -> None:
    assert SCORES.height(q) == pytest.approx(height)


def test_a_single_healthy_height_is_the_answer_to_everything() -> None:
    single = HealthyScores(shares=(1.0,), heights=(0.3,), maxima=(0.3,))

    assert single.height(0.5) == single.height(1.0) == 0.3
    assert math.isfinite(single.height(0.0))


def test_healthy_scores_are_the_upper_tail_of_all_subjects_together() -> None:
    scores = np.random.default_rng(0).permutation(np.arange(10_000, dtype=np.float32))
    scores[0] = np.nan

    found = HealthyScores.of([scores[:4000], scores[4000:]])

    assert found.height(0.0) == np.nanmin(scores)
    assert found.height(0.9) == pytest.approx(9000, abs=60)
    assert found.height(0.999) == pytest.approx(9989, abs=3)
    assert found.shares[-1] * 10_000 >= 1  # no height that no pixel was seen above


def test_one_unusual_subject_does_not_move_the_line_of_the_others() -> None:
    usual = [np.full(100, 0.1, np.float32)] * 20
    unusual = np.full(100, 5.0, np.float32)

    found = HealthyScores.of([*usual, unusual])

    assert found.patient_height(0.9) == pytest.approx(0.1)
    assert found.patient_height(1.0) == pytest.approx(5.0)


def test_subjects_without_a_score_draw_no_line() -> None:
    nothing, some = np.full(4, np.nan, np.float32), np.array([1.0, 2.0], np.float32)

    assert HealthyScores.of([nothing, some]) == HealthyScores.of([some])
    with pytest.raises(ValueError, match="no pixel of the healthy subjects was examined"):
        HealthyScores.of([nothing, np.empty(0, np.float32)])
