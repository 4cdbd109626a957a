"""Score maps from a method's evidence: the score and the fusion of a recipe.

The one place where the score and fusion of a recipe meet the functions they stand for. Pure tensor
functions of one plane or of several, at all visits together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

import torch
from torch import Tensor

from napari_followup.methods.method import Evidence, Visits
from napari_followup.recipe.recipe import (
    Fam,
    Fusion,
    Lafm,
    Mahalanobis,
    Own,
    Pixel,
    Recipe,
    Score,
    Ssim,
    Support,
    Temporal,
)
from napari_followup.scores.distance import (
    combine,
    feature_distance,
    in_unit_range,
    mahalanobis,
    pixel_distance,
    ssim_distance,
)
from napari_followup.scores.filters import blur, median_filter, middle_median
from napari_followup.scores.temporal import fuse_over_time, reference_of, support_over_time

__all__ = [
    "Bounds",
    "bounds_of",
    "final_stages",
    "fuse",
    "fused_stages",
    "last_of",
    "raw_stages",
]

Stages = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What some planes of a series must know of all the others before their score is complete."""

    tops: Mapping[str, Tensor] = field(default_factory=dict)  # highest value of every raw stage
    reference: tuple[Tensor, Tensor] | None = None  # (visit, 1, 1, 1) each: see `fuse_over_time`


def bounds_of(parts: Callable[[], Iterable[Stages]], ages: Tensor, recipe: Recipe) -> Bounds:
    """Gather what the score of each part of a series must know of the others.

    Parameters
    ----------
    parts
        Gives the raw stages part by part, and again from the start each time it is called.
    ages
        ``(visit,)`` years.
    recipe
        Score and fusion.

    Returns
    -------
    Bounds
        Of all parts together; without what the recipe has no use for.
    """
    bounds = Bounds()
    if isinstance(recipe.score, Fam):
        tops = [_tops(raw) for raw in parts()]
        bounds = Bounds(
            tops={name: torch.stack([t[name] for t in tops]).amax() for name in tops[0]}
        )
    if not isinstance(recipe.fusion, Lafm) or len(ages) < 2:
        return bounds
    lows, highs = [], []
    for raw in parts():
        score = last_of(_whole_stages(raw, recipe.score, bounds.tops))
        reference = reference_of(score, ages, recipe.fusion.sigma)
        lows.append(reference.amin(dim=(1, 2, 3), keepdim=True))
        highs.append(reference.amax(dim=(1, 2, 3), keepdim=True))
    return Bounds(
        tops=bounds.tops,
        reference=(torch.stack(lows).amin(dim=0), torch.stack(highs).amax(dim=0)),
    )


def fused_stages(raw: Stages, ages: Tensor, recipe: Recipe, bounds: Bounds) -> Stages:
    """Stages of the score up to its fusion over visits, in the order they are made.

    Parameters
    ----------
    raw
        As `raw_stages` gives them.
    ages
        ``(visit,)`` years.
    recipe
        Score and fusion.
    bounds
        Of the whole series, of which `raw` may be a part.

    Returns
    -------
    dict
        Maps ``(visit, z, y, x)``, the fused score last.
    """
    stages = _whole_stages(raw, recipe.score, bounds.tops)
    if recipe.fusion is not None:
        score = fuse(last_of(stages), ages, recipe.fusion, bounds.reference)
        stages[type(recipe.fusion).__name__.lower()] = score
    return stages


def final_stages(
    raw: Stages, around: Stages | None, ages: Tensor, recipe: Recipe, bounds: Bounds
) -> Stages:
    """All stages of the score of one plane.

    Parameters
    ----------
    raw
        As `raw_stages` gives them, of the plane.
    around
        Those of the plane and its neighbours on both sides, for a median in space; or none.
    ages, recipe, bounds
        As for `fused_stages`, and the filter.

    Returns
    -------
    dict
        Maps ``(visit, 1, y, x)``, the filtered score last, as ``"final"``.
    """
    stages = fused_stages(raw, ages, recipe, bounds)
    if around is None:
        filtered = median_filter(last_of(stages), recipe.median)
    else:
        score = last_of(fused_stages(around, ages, recipe, bounds))
        filtered = middle_median(score, recipe.median)
    return stages | {"final": blur(filtered, recipe.blur)}


def last_of(stages: Stages) -> Tensor:
    """Give the stage that was made last."""
    return stages[list(stages)[-1]]


def _tops(raw: Stages) -> Stages:
    return {name: values.max() for name, values in raw.items()}


def _whole_stages(raw: Stages, score: Score, tops: Mapping[str, Tensor]) -> Stages:
    """Raw stages and what follows from them before visits are fused."""
    if not isinstance(score, Fam):
        return dict(raw)
    fam = combine(
        raw["pixel"],
        raw["feature"],
        weight=score.weight,
        tops=(tops["pixel"], tops["feature"]),
    )
    return raw | {"fam": blur(fam, score.blur)}


def raw_stages(visits: Visits, evidence: Evidence, score: Score) -> Stages:
    """Stages of the score that each plane has by itself, ``(visit, z, y, x)``.

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
    mean = evidence.healthy.mean(dim=0)
    images, healthy = (in_unit_range(each, visits.value_range) for each in (visits.images, mean))
    pixel = pixel_distance(images, healthy)
    match score:
        case Pixel(tolerance=tolerance):
            return {"pixel": pixel_distance(images, healthy, tolerance=tolerance)}
        case Temporal(tolerance=tolerance):
            distance = pixel_distance(images, healthy, tolerance=tolerance)
            return {"pixel": pixel, "temporal": distance}
        case Ssim(sigmas=sigmas):
            return {"pixel": pixel, "ssim": ssim_distance(images, healthy, sigmas=sigmas)}
        case Mahalanobis(full=full, ridge=ridge):
            draws = in_unit_range(evidence.healthy, visits.value_range)
            distance = blur(mahalanobis(images, draws, full=full, ridge=ridge), score.blur)
            stages = {"pixel": pixel, "mahalanobis": distance}
            if score.with_ssim:
                stages["ssim"] = ssim_distance(images, draws.mean(dim=0), sigmas=(1.0,))
                stages["mahalanobis_ssim"] = distance * stages["ssim"]
            return stages
        case Fam(levels=levels):
            if evidence.features is None:
                raise ValueError(
                    "FAM needs a method with features, such as SDM; choose the pixel score"
                )
            others = replace(visits, images=mean)
            flat = feature_distance(visits.planes, others.planes, evidence.features, levels)
            feature = flat.unflatten(0, (len(healthy), healthy.shape[2]))
            return {"pixel": pixel, "feature": feature}
        case _:
            assert_never(score)


def _own_stages(visits: Visits, evidence: Evidence) -> dict[str, Tensor]:
    if evidence.score is None:
        raise ValueError("this method brings no score of its own; choose the pixel score")
    if evidence.healthy is None:
        return {"own": evidence.score}
    mean = evidence.healthy.mean(dim=0)
    images, healthy = (in_unit_range(each, visits.value_range) for each in (visits.images, mean))
    return {"pixel": pixel_distance(images, healthy), "own": evidence.score}


def fuse(
    scores: Tensor,
    ages: Tensor,
    fusion: Fusion,
    within: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Scores ``(visit, z, y, x)`` corrected by the other visits', as `fusion` says.

    `within` as for `fuse_over_time`, where the scores are but some planes of the series.
    """
    match fusion:
        case None:
            return scores
        case Lafm(sigma=sigma, beta=beta, gamma=gamma):
            return fuse_over_time(scores, ages, sigma=sigma, beta=beta, gamma=gamma, within=within)
        case Support(sigma=sigma, gain=gain, reach=reach):
            return support_over_time(scores, ages, sigma=sigma, gain=gain, reach=reach)
        case _:
            assert_never(fusion)
