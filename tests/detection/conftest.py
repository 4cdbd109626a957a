"""Scores of a whole series at once, in memory: what the driver must give plane by plane."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from napari_followup.detection.score import bounds_of, fused_stages, last_of, raw_stages
from napari_followup.methods.method import Evidence, Visits
from napari_followup.recipe.recipe import Recipe, Score
from napari_followup.scores.filters import blur, median_filter, middle_median, mirrored

Stages = dict[str, Tensor]


def filtered(scores: Tensor, recipe: Recipe) -> Tensor:
    """Median of every pixel, in its plane or in space."""
    if not recipe.volume_median:
        return median_filter(scores, recipe.median)
    depth, reach = scores.shape[1], recipe.median // 2
    around = [scores[:, mirrored(z, depth, reach)] for z in range(depth)]
    return torch.cat([middle_median(planes, recipe.median) for planes in around], dim=1)


@pytest.fixture
def score_series() -> Callable[[Visits, Evidence, Recipe], Stages]:
    """Every stage of the score by name, the final one last."""

    def score(visits: Visits, evidence: Evidence, recipe: Recipe) -> Stages:
        raw = raw_stages(visits, evidence, recipe.score)
        bounds = bounds_of(lambda: [raw], visits.ages, recipe)
        stages = fused_stages(raw, visits.ages, recipe, bounds)
        return stages | {"final": blur(filtered(last_of(stages), recipe), recipe.blur)}

    return score


@pytest.fixture
def score_stages() -> Callable[[Visits, Evidence, Score], Stages]:
    """Stages of the score before fusion, the score itself last."""

    def score(visits: Visits, evidence: Evidence, score: Score) -> Stages:
        raw, recipe = raw_stages(visits, evidence, score), Recipe(score=score)
        return fused_stages(raw, visits.ages, recipe, bounds_of(lambda: [raw], visits.ages, recipe))

    return score
