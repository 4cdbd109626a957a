"""From a fused score to a mask, as a recipe says; what healthy subjects score is in the bundle."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from napari_followup.detection.threshold import Line, Maps, line_of
from napari_followup.models.healthy_scores import HealthyScores
from napari_followup.recipe.recipe import (
    Fixed,
    HealthyHysteresis,
    HealthyQuantile,
    Quantile,
    Recipe,
    Threshold,
    Yen,
)
from napari_followup.segmentation.masks import (
    confirmed_at,
    dilated,
    grown_mask,
    mask_at,
    without_small,
)
from napari_followup.series.disk_arrays import each_visit, new_array

__all__ = ["Cut", "finish", "segment"]

SPARE = 0.05  # share of an image below which a rim leaves little of it
UNKNOWN = (
    "the model knows no healthy scores for this recipe, so Yen's threshold was taken; "
    "it always splits, on a healthy series too"
)
NO_FLOOR = "the model knows no healthy scores for this recipe, so its floor was left out"
NEARLY = (
    "the line of healthy subjects was taken from the same recipe with other draws, sampling steps "
    "or a narrower rim; calibrate the model for the exact one"
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Cut:
    """A mask, the score's height that makes it, the one healthy subjects stay under, remarks.

    `own` holds the heights where each visit has its own, ``(visit,)``, or each pixel,
    ``(z, y, x)``; `threshold` is the lowest of them.
    """

    mask: NDArray[np.bool_]
    threshold: float
    floor: float | None = None
    notes: tuple[str, ...] = ()
    own: NDArray[Any] = field(default_factory=lambda: np.empty(0))


def segment(
    maps: Maps,
    recipe: Recipe,
    known: HealthyScores | None,
    exact: bool = True,
    *,
    line: Line | None = None,
) -> Cut:
    """Mask of one patient's series, made visit by visit: cut, cleaned, grown.

    Parameters
    ----------
    maps
        Final score and pixel distance of the series.
    recipe
        Its threshold and floor, and what becomes of the mask after them.
    known, exact
        Healthy scores from the bundle, and whether they are of this very recipe; without them a
        healthy threshold becomes Yen's and a floor is left out, and the remark says so.
    line
        What series that are examined together are cut at, in the unit of the scaled scores;
        without it, the series draws Yen's line and quantiles by itself.

    Returns
    -------
    Cut
        Mask of the shape of the score.
    """
    cut = _above_both(maps, recipe, known, exact, line)
    finish(cut.mask, recipe, maps.voxel, maps.inside)
    return replace(cut, notes=(*cut.notes, *_about_rim(maps.inside, recipe.erosion)))


def finish(
    mask: NDArray[np.bool_], recipe: Recipe, voxel: float, inside: NDArray[np.bool_] | None
) -> None:
    """Do in its place what becomes of a mask after its threshold: less its rim and parts, grown.

    Parameters
    ----------
    mask
        ``(visit, plane, row, column)``.
    recipe
        Its smallest part and dilation.
    voxel, inside
        As of `Maps`; what the recipe erodes is missing in the latter.
    """
    if inside is not None:
        for shown, region in each_visit(mask, inside):
            shown &= region
    if recipe.smallest:
        without_small(mask, recipe.smallest / voxel, out=mask, walk=each_visit)
    if recipe.dilation:
        dilated(mask, recipe.dilation, out=mask, walk=each_visit)


def _about_rim(inside: NDArray[np.bool_] | None, erosion: int) -> tuple[str, ...]:
    """Say if a rim leaves next to nothing that could be marked."""
    if inside is None:
        return ()
    share = max(float(region.mean()) for (region,) in each_visit(inside))
    if share >= SPARE:
        return ()
    return (
        f"the rim of {erosion} pixels leaves {100 * share:.1f} % of an image to be marked; give "
        "the recipe a smaller erosion where subjects are this slender",
    )


def _above_both(
    maps: Maps, recipe: Recipe, known: HealthyScores | None, exact: bool, line: Line | None
) -> Cut:
    """Cut at the threshold, and at the floor if there is one."""
    needs_healthy = isinstance(recipe.threshold, HealthyQuantile | HealthyHysteresis)
    asked = needs_healthy or recipe.floor is not None
    threshold = Yen() if needs_healthy and known is None else recipe.threshold
    cut = _cut(maps, threshold, known, line)
    if asked and known is None:
        return replace(cut, notes=(UNKNOWN if needs_healthy else NO_FLOOR,))
    if asked and known is not None:
        if recipe.floor is not None:
            cut = _above_floor(cut, maps.score, known.height(recipe.floor))
        return cut if exact else replace(cut, notes=(NEARLY,))
    return cut


def _cut(maps: Maps, threshold: Threshold, known: HealthyScores | None, line: Line | None) -> Cut:
    score = maps.score
    match threshold:
        case Yen() | Quantile():
            return _cut_at(maps, (line or line_of([maps], threshold)).for_maps(maps))
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
    return _cut_at(maps, Line(height=height))


def _cut_at(maps: Maps, line: Line) -> Cut:
    mask: NDArray[Any] = new_array(maps.score.shape, bool)
    for visit, (shown, part) in enumerate(each_visit(mask, maps.score)):
        shown[...] = mask_at(part, line.at(visit))
    if line.pixel is not None:
        confirmed_at(mask, maps.pixel, line.pixel, out=mask, walk=each_visit)
    if isinstance(line.height, np.ndarray):
        return Cut(mask=mask, threshold=line.lowest, own=line.height)
    return Cut(mask=mask, threshold=line.height)


def _above_floor(cut: Cut, score: NDArray[np.float32], floor: float) -> Cut:
    for shown, part in each_visit(cut.mask, score):
        shown &= mask_at(part, floor)
    return replace(cut, floor=floor)


def _known(scores: HealthyScores | None) -> HealthyScores:
    if scores is None:
        raise ValueError(
            "this threshold needs the healthy scores of the recipe; calibrate the model for it"
        )
    return scores
