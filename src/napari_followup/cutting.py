"""From a fused score to a mask, as a recipe says; what healthy subjects score is in the bundle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from napari_followup.healthy_scores import HealthyScores
from napari_followup.recipe import (
    Fixed,
    HealthyHysteresis,
    HealthyQuantile,
    Quantile,
    Recipe,
    Threshold,
    Yen,
)
from napari_followup.segmentation.masks import confirmed_by, grown_mask, mask_at, without_small
from napari_followup.segmentation.threshold import yen_of_parts
from napari_followup.spilling import each_visit, new_array

__all__ = ["Cut", "segment"]

SAMPLE = 2**24  # values that a quantile of the patient's own is taken from, at most
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
    *,
    voxel: float = 1.0,
) -> Cut:
    """Mask of one patient's series, made visit by visit.

    Parameters
    ----------
    score, pixel
        Final score and pixel distance, ``(visit, z, y, x)``; NaN where a visit is missing.
    recipe
        Its threshold, floor and smallest part.
    known, exact
        Healthy scores from the bundle, and whether they are of this very recipe; without them a
        healthy threshold becomes Yen's and a floor is left out, and the remark says so.
    voxel
        Size of a pixel or voxel, in the unit of ``recipe.smallest``.

    Returns
    -------
    Cut
        Mask of the shape of `score`.
    """
    needs_healthy = isinstance(recipe.threshold, HealthyQuantile | HealthyHysteresis)
    asked = needs_healthy or recipe.floor is not None
    threshold = Yen() if needs_healthy and known is None else recipe.threshold
    cut = _cut(score, pixel, threshold, known)
    if asked and known is None:
        cut = replace(cut, notes=(UNKNOWN if needs_healthy else NO_FLOOR,))
    elif asked and known is not None:
        if recipe.floor is not None:
            cut = _above_floor(cut, score, known.height(recipe.floor))
        cut = cut if exact else replace(cut, notes=(NEARLY,))
    if recipe.smallest:
        without_small(cut.mask, recipe.smallest / voxel, out=cut.mask, walk=each_visit)
    return cut


def _cut(
    score: NDArray[np.float32],
    pixel: NDArray[np.float32],
    threshold: Threshold,
    known: HealthyScores | None,
) -> Cut:
    match threshold:
        case Yen(pixel_too=pixel_too):
            height = yen_of_parts(lambda: (part for (part,) in each_visit(score)))
            mask = _reached(score, height)
            if pixel_too:
                confirmed_by(mask, pixel, out=mask, walk=each_visit)
            return Cut(mask=mask, threshold=height)
        case Quantile(q=q):
            height = _own_quantile(score, q)
        case HealthyQuantile(q=q):
            height = _known(known).height(q)
        case HealthyHysteresis(low=low, high=high):
            floor = _known(known).patient_height(high)
            height = min(_known(known).height(low), floor)
            mask = new_array(score.shape, bool)
            grown_mask(score, height, floor, out=mask, walk=each_visit)
            return Cut(mask=mask, threshold=height, floor=floor)
        case Fixed(value=height):
            pass
        case _:
            assert_never(threshold)
    return Cut(mask=_reached(score, height), threshold=height)


def _reached(score: NDArray[np.float32], height: float) -> NDArray[np.bool_]:
    mask: NDArray[Any] = new_array(score.shape, bool)
    for shown, part in each_visit(mask, score):
        shown[...] = mask_at(part, height)
    return mask


def _above_floor(cut: Cut, score: NDArray[np.float32], floor: float) -> Cut:
    for shown, part in each_visit(cut.mask, score):
        shown &= mask_at(part, floor)
    return replace(cut, floor=floor)


def _own_quantile(score: NDArray[np.float32], q: float) -> float:
    """Quantile of the patient's scores; of a regular sample where there are very many."""
    stride = -(-score.size // SAMPLE)
    values = np.concatenate([part.ravel()[::stride].copy() for (part,) in each_visit(score)])
    return float(np.nanquantile(values, q, overwrite_input=True))


def _known(scores: HealthyScores | None) -> HealthyScores:
    if scores is None:
        raise ValueError(
            "this threshold needs the healthy scores of the recipe; calibrate the model for it"
        )
    return scores
