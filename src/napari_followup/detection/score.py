"""From a method's evidence to a fused score map, as a recipe says.

The one place where a recipe's choices meet the functions they stand for; `detect` uses it on a
patient, the training on healthy subjects, whose scores the model then remembers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import torch
from torch import Tensor

from napari_followup.methods.method import Evidence, Visits
from napari_followup.models.bundle import ModelBundle
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
from napari_followup.scores.feature import combine, feature_distance
from napari_followup.scores.mahalanobis import mahalanobis
from napari_followup.scores.pixel import pixel_distance
from napari_followup.scores.smooth import blur, median_filter
from napari_followup.scores.ssim import ssim_distance
from napari_followup.scores.temporal import fuse_over_time, reference_of, support_over_time

__all__ = [
    "Bounds",
    "bounds_of",
    "examiner",
    "fuse",
    "fused_stages",
    "last_of",
    "raw_stages",
    "score_series",
    "score_stages",
]

Stages = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What some planes of a series must know of all the others before their score is complete."""

    tops: Mapping[str, Tensor] = field(default_factory=dict)  # highest value of every raw stage
    reference: tuple[Tensor, Tensor] | None = None  # (visit, 1, 1, 1) each: see `fuse_over_time`


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
    raw = raw_stages(visits, evidence, recipe.score)
    stages = fused_stages(raw, visits.ages, recipe, bounds_of(lambda: [raw], visits.ages, recipe))
    filtered = median_filter(last_of(stages), recipe.median, volume=recipe.volume_median)
    stages["final"] = blur(filtered, recipe.blur)
    return stages


def score_stages(visits: Visits, evidence: Evidence, score: Score) -> Stages:
    """Stages of the score before fusion, each ``(visit, z, y, x)``, the score itself last.

    Errors as for `raw_stages`.
    """
    raw = raw_stages(visits, evidence, score)
    return _whole_stages(raw, score, _tops(raw))


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
    images, healthy = visits.in_unit_range(visits.images), visits.in_unit_range(mean)
    pixel = pixel_distance(images, healthy)
    match score:
        case Pixel(tolerance=tolerance):
            return {"pixel": pixel_distance(images, healthy, tolerance=tolerance)}
        case Temporal(tolerance=tolerance):
            distance = pixel_distance(images, healthy, tolerance=tolerance)
            return {"pixel": pixel, "temporal": distance}
        case Ssim(sigmas=sigmas):
            return {"pixel": pixel, "ssim": ssim_distance(images, healthy, sigmas=sigmas)}
        case Mahalanobis():
            draws = visits.in_unit_range(evidence.healthy)
            return {"pixel": pixel} | _mahalanobis_stages(images, draws, score)
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


def _mahalanobis_stages(images: Tensor, draws: Tensor, score: Mahalanobis) -> Stages:
    distance = mahalanobis(images, draws, full=score.full, ridge=score.ridge)
    stages = {"mahalanobis": blur(distance, score.blur)}
    if score.with_ssim:
        stages["ssim"] = ssim_distance(images, draws.mean(dim=0), sigmas=(1.0,))
        stages["mahalanobis_ssim"] = stages["mahalanobis"] * stages["ssim"]
    return stages


def _own_stages(visits: Visits, evidence: Evidence) -> dict[str, Tensor]:
    if evidence.score is None:
        raise ValueError("this method brings no score of its own; choose the pixel score")
    if evidence.healthy is None:
        return {"own": evidence.score}
    healthy = visits.in_unit_range(evidence.healthy.mean(dim=0))
    images = visits.in_unit_range(visits.images)
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
