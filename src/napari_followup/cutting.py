"""From a fused score to a mask, as a recipe says; what healthy subjects score is in the bundle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from napari_followup.bundle import HealthyScores
from napari_followup.recipe import (
    Fixed,
    HealthyHysteresis,
    HealthyQuantile,
    Quantile,
    Recipe,
    Threshold,
    Yen,
)
from napari_followup.segmentation.masks import confirmed_by, grown_mask, mask_at
from napari_followup.segmentation.threshold import yen_threshold

__all__ = ["Cut", "segment"]

UNKNOWN = (
    "the model knows no healthy scores for this recipe, so Yen's threshold was taken; "
    "it always splits, on a healthy series too"
)
NO_FLOOR = "the model knows no healthy scores for this recipe, so its floor was left out"
NEARLY = (
    "the line of healthy subjects was taken from the same recipe with other draws or "
    "sampling steps; calibrate the model for the exact one"
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Cut:
    """A mask, the score's height that makes it, the one healthy subjects stay under, remarks."""

    mask: NDArray[np.bool_]
    threshold: float
    floor: float | None = None
    notes: tuple[str, ...] = ()


def segment(
    score: NDArray[np.float32],
    pixel: NDArray[np.float32],
    recipe: Recipe,
    known: HealthyScores | None,
    exact: bool = True,
) -> Cut:
    """Mask of one patient's series.

    Parameters
    ----------
    score, pixel
        Final score and pixel distance, ``(visit, z, y, x)``; NaN where a visit is missing.
    recipe
        Its threshold and floor.
    known, exact
        Healthy scores from the bundle, and whether they are of this very recipe; without them a
        healthy threshold becomes Yen's and a floor is left out, and the remark says so.

    Returns
    -------
    Cut
        Mask of the shape of `score`.
    """
    needs_healthy = isinstance(recipe.threshold, HealthyQuantile | HealthyHysteresis)
    asked = needs_healthy or recipe.floor is not None
    threshold = Yen() if needs_healthy and known is None else recipe.threshold
    cut = _cut(score, pixel, threshold, known)
    if not asked:
        return cut
    if known is None:
        return replace(cut, notes=(UNKNOWN if needs_healthy else NO_FLOOR,))
    if recipe.floor is not None:
        floor = known.height(recipe.floor)
        cut = replace(cut, mask=cut.mask & mask_at(score, floor), floor=floor)
    return cut if exact else replace(cut, notes=(NEARLY,))


def _cut(
    score: NDArray[np.float32],
    pixel: NDArray[np.float32],
    threshold: Threshold,
    known: HealthyScores | None,
) -> Cut:
    match threshold:
        case Yen(pixel_too=pixel_too):
            height = yen_threshold(score)
            mask = mask_at(score, height)
            return Cut(mask=confirmed_by(mask, pixel) if pixel_too else mask, threshold=height)
        case Quantile(q=q):
            height = float(np.nanquantile(score, q))
        case HealthyQuantile(q=q):
            height = _known(known).height(q)
        case HealthyHysteresis(low=low, high=high):
            floor = _known(known).patient_height(high)
            height = min(_known(known).height(low), floor)
            return Cut(mask=grown_mask(score, height, floor), threshold=height, floor=floor)
        case Fixed(value=height):
            pass
        case _:
            assert_never(threshold)
    return Cut(mask=mask_at(score, height), threshold=height)


def _known(scores: HealthyScores | None) -> HealthyScores:
    if scores is None:
        raise ValueError(
            "this threshold needs the healthy scores of the recipe; calibrate the model for it"
        )
    return scores
