"""From a method's evidence to a fused score map, as a recipe says.

The one place where a recipe's choices meet the functions they stand for; `detect` uses it on a
patient, the training on healthy subjects, whose scores the model then remembers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

from torch import Tensor

from napari_followup.bundle import ModelBundle
from napari_followup.methods.method import Evidence, Visits
from napari_followup.recipe import (
    Fam,
    Fusion,
    Lafm,
    Own,
    Pixel,
    Recipe,
    Score,
    Support,
    Temporal,
)
from napari_followup.scores.feature import combine, feature_distance
from napari_followup.scores.pixel import pixel_distance
from napari_followup.scores.smooth import blur, median_filter
from napari_followup.scores.temporal import fuse_over_time, support_over_time

__all__ = ["examiner", "fuse", "score_series", "score_stages"]


def examiner(bundle: ModelBundle, recipe: Recipe) -> tuple[ModelBundle, Mapping[str, Any]]:
    """Model that finds a recipe's evidence, and the options it is used with.

    Parameters
    ----------
    bundle
        The model given.
    recipe
        Its score may ask for another part of the bundle.

    Returns
    -------
    tuple
        The bundle, or its part, and options by name.

    Raises
    ------
    ValueError
        If the bundle has no such part.
    """
    if not isinstance(recipe.score, Temporal):
        return bundle, recipe.options
    return bundle.part("tdm"), {"draws": recipe.score.draws}


def score_series(visits: Visits, evidence: Evidence, recipe: Recipe) -> dict[str, Tensor]:
    """Every stage of the score by name, the final one last.

    Parameters
    ----------
    visits
        The patient's visits in use.
    evidence
        What the method found in them.
    recipe
        Score, fusion and filter.

    Returns
    -------
    dict
        Maps ``(visit, z, y, x)`` float32: ``"pixel"`` first where there is a healthy image,
        ``"final"`` always last.

    Raises
    ------
    ValueError
        If the score needs what the method does not give.
    """
    stages = score_stages(visits, evidence, recipe.score)
    score = fuse(stages[list(stages)[-1]], visits.ages, recipe.fusion)
    if recipe.fusion is not None:
        stages[type(recipe.fusion).__name__.lower()] = score
    stages["final"] = median_filter(score, recipe.median)
    return stages


def score_stages(visits: Visits, evidence: Evidence, score: Score) -> dict[str, Tensor]:
    """Stages of the score before fusion, each ``(visit, z, y, x)``, the score itself last.

    Raises
    ------
    ValueError
        If the score needs what the method does not give: healthy images, features, its own score.
    """
    if isinstance(score, Own):
        return _own_stages(visits, evidence)
    if evidence.healthy is None:
        raise ValueError(
            "this method gives no healthy image to compare with; choose the method's own score"
        )
    healthy = evidence.healthy.mean(dim=0)
    pixel = pixel_distance(visits.images, healthy)
    match score:
        case Pixel(tolerance=tolerance):
            return {"pixel": pixel_distance(visits.images, healthy, tolerance=tolerance)}
        case Temporal(tolerance=tolerance):
            distance = pixel_distance(visits.images, healthy, tolerance=tolerance)
            return {"pixel": pixel, "temporal": distance}
        case Fam(weight=weight, levels=levels, blur=sigma):
            if evidence.features is None:
                raise ValueError(
                    "FAM needs a method with features, such as SDM; choose the pixel score"
                )
            others = Visits(images=healthy, ages=visits.ages)
            flat = feature_distance(visits.planes, others.planes, evidence.features, levels)
            feature = flat.unflatten(0, (len(healthy), healthy.shape[2]))
            fam = blur(combine(pixel, feature, weight=weight), sigma)
            return {"pixel": pixel, "feature": feature, "fam": fam}
        case _:
            assert_never(score)


def _own_stages(visits: Visits, evidence: Evidence) -> dict[str, Tensor]:
    if evidence.score is None:
        raise ValueError("this method brings no score of its own; choose the pixel score")
    if evidence.healthy is None:
        return {"own": evidence.score}
    healthy = evidence.healthy.mean(dim=0)
    return {"pixel": pixel_distance(visits.images, healthy), "own": evidence.score}


def fuse(scores: Tensor, ages: Tensor, fusion: Fusion) -> Tensor:
    """Scores ``(visit, z, y, x)`` corrected by the other visits', as `fusion` says."""
    match fusion:
        case None:
            return scores
        case Lafm(sigma=sigma, beta=beta, gamma=gamma):
            return fuse_over_time(scores, ages, sigma=sigma, beta=beta, gamma=gamma)
        case Support(sigma=sigma, gain=gain, reach=reach):
            return support_over_time(scores, ages, sigma=sigma, gain=gain, reach=reach)
        case _:
            assert_never(fusion)
