"""Thresholds of a series' final score, and what becomes of the mask after them.

A threshold is the recipe's own, that of healthy subjects, or computed from the scores: by Yen's
method or as a quantile, of a visit, of a patient, of a pixel, or of many series together. Pure
functions of arrays in memory; scores that do not fit there come visit by visit, see `Parts`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import binary_erosion, generate_binary_structure
from skimage.filters import threshold_otsu

from napari_followup.alignment.brain_mask import foreground
from napari_followup.models.bundle import HealthyScores
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
    grown_mask,
    inside_mask,
    mask_at,
)
from napari_followup.segmentation.threshold import yen_threshold
from napari_followup.series.stack import VisitStack

__all__ = [
    "NEARLY",
    "NO_FLOOR",
    "SAMPLE",
    "UNKNOWN",
    "Levels",
    "Parts",
    "Thresholds",
    "cleaning_of",
    "computed_threshold",
    "examined_in",
    "flagged",
    "in_region",
    "levels_of",
    "pooled_quantile",
    "subject_in",
    "visit_quantiles",
    "without_border",
    "yen_thresholds",
]

Parts = Callable[[], Iterable[tuple[NDArray[Any], NDArray[Any]]]]
"""Gives score and pixel distance of one visit after another, from the start each time."""

SAMPLE = 2**24  # values that a quantile is computed from at once, at most
SIDES = generate_binary_structure(3, 1)  # neighbours by a side
UNKNOWN = (
    "the model knows no healthy scores for this recipe, so Yen's threshold was used; "
    "it flags something even in a healthy series"
)
NO_FLOOR = "the model knows no healthy scores for this recipe, so its floor was left out"
NEARLY = (
    "the threshold of healthy subjects was taken from the same recipe with other draws, sampling "
    "steps or a narrower border; calibrate the model for the exact one"
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Thresholds:
    """What a score must reach, and inside its mask the pixel distance.

    Attributes
    ----------
    score
        One number; or ``(visit,)``, or ``(z, y, x)`` where each visit or each pixel has its own.
    pixel
        What the pixel distance must reach inside the mask, or none.
    series
        How many series they were computed from.
    """

    score: float | NDArray[Any]
    pixel: float | None = None
    series: int = 1

    @property
    def lowest(self) -> float:
        """The lowest threshold of the score, below which nothing is flagged."""
        return float(np.nanmin(self.score))

    def at(self, visit: int) -> Any:
        """Threshold of the score at a visit: a number, or one a pixel."""
        if isinstance(self.score, np.ndarray) and self.score.ndim == 1:
            return float(self.score[visit])
        return self.score

    def unscaled(self, scale: tuple[float, float] | None) -> Thresholds:
        """Give the same thresholds for scores of which `scale` became 0 and 1, as they were."""
        if scale is None:
            return self
        low, high = scale
        return replace(self, score=low + self.score * (high - low))


@dataclass(frozen=True, eq=False, kw_only=True)
class Levels:
    """What makes a score a flagged one.

    Attributes
    ----------
    thresholds
        What every flagged pixel reaches.
    seed
        What one pixel of every region reaches, for hysteresis; or none.
    floor
        What every flagged pixel reaches too; or none.
    notes
        What the user should know of them.
    """

    thresholds: Thresholds
    seed: float | None = None
    floor: float | None = None
    notes: tuple[str, ...] = ()


def computed_threshold(recipe: Recipe, known: HealthyScores | None) -> Yen | Quantile | None:
    """Threshold that a series' own scores give, or none where the recipe or the bundle gives one.

    Parameters
    ----------
    recipe
        Its threshold.
    known
        Healthy scores from the bundle; without them a healthy threshold becomes Yen's.

    Returns
    -------
    Yen, Quantile or None
        What to compute.
    """
    if known is None and isinstance(recipe.threshold, HealthyQuantile | HealthyHysteresis):
        return Yen()
    return recipe.threshold if isinstance(recipe.threshold, Yen | Quantile) else None


def levels_of(
    recipe: Recipe, known: HealthyScores | None, exact: bool, computed: Thresholds | None
) -> Levels:
    """Levels of a recipe.

    Parameters
    ----------
    recipe
        Its threshold and floor.
    known, exact
        Healthy scores from the bundle, and whether they are of this very recipe. Without them a
        floor is left out, and a note says so.
    computed
        What `computed_threshold` asks for, in the unit of the scores.

    Returns
    -------
    Levels
        In the unit of the scores.
    """
    needs_healthy = isinstance(recipe.threshold, HealthyQuantile | HealthyHysteresis)
    if known is None:
        missing = (UNKNOWN,) if needs_healthy else (NO_FLOOR,) if recipe.floor is not None else ()
        return replace(_plain_levels(recipe.threshold, known, computed), notes=missing)
    levels = _plain_levels(recipe.threshold, known, computed)
    if recipe.floor is not None:
        levels = replace(levels, floor=known.pixel_quantile(recipe.floor))
    is_near = not exact and (needs_healthy or recipe.floor is not None)
    return replace(levels, notes=(NEARLY,) if is_near else ())


def _plain_levels(
    threshold: Threshold, known: HealthyScores | None, computed: Thresholds | None
) -> Levels:
    """Levels of a threshold alone."""
    if computed is not None:
        return Levels(thresholds=computed)
    match threshold:
        case HealthyQuantile(q=q):
            return Levels(thresholds=Thresholds(score=_known(known).pixel_quantile(q)))
        case HealthyHysteresis(low=low, high=high):
            seed = _known(known).subject_quantile(high)
            lowest = min(_known(known).pixel_quantile(low), seed)
            return Levels(thresholds=Thresholds(score=lowest), seed=seed)
        case Fixed(value=value):
            return Levels(thresholds=Thresholds(score=value))
        case Yen() | Quantile():
            raise ValueError(f"{threshold} is computed from the scores; give what was computed")
        case _:
            assert_never(threshold)


def _known(scores: HealthyScores | None) -> HealthyScores:
    if scores is None:
        raise ValueError(
            "this threshold needs the healthy scores of the recipe; calibrate the model for it"
        )
    return scores


def flagged(
    score: NDArray[np.float32], pixel: NDArray[np.float32], levels: Levels, visit: int
) -> NDArray[np.bool_]:
    """Mask of one visit, before it is cleaned.

    Parameters
    ----------
    score, pixel
        Final score and pixel distance, ``(1, z, y, x)``; NaN where the visit is missing.
    levels
        Of the series.
    visit
        Its position in the series.

    Returns
    -------
    NDArray
        Same shape, bool.
    """
    thresholds = levels.thresholds
    if levels.seed is not None:
        mask = grown_mask(score, thresholds.at(visit), levels.seed)
    else:
        mask = mask_at(score, thresholds.at(visit))
    if thresholds.pixel is not None:
        mask = confirmed_at(mask, pixel, thresholds.pixel)
    if levels.floor is not None:
        mask = mask & mask_at(score, levels.floor)
    return mask


def cleaning_of(recipe: Recipe, voxel: float) -> dict[str, Any]:
    """Smallest part and dilation of a recipe's masks, as `cleaned` takes them.

    Parameters
    ----------
    recipe
        The recipe.
    voxel
        Size of a pixel or voxel, in the unit of ``Recipe.smallest``.

    Returns
    -------
    dict
        In pixels or voxels.
    """
    return {"smallest": recipe.smallest / voxel, "dilation": recipe.dilation}


def yen_thresholds(visits: Parts, *, pixel_too: bool) -> tuple[float, float | None]:
    """Yen's threshold of scores, and of the pixel distance inside what reaches it.

    Parameters
    ----------
    visits
        Of one series or of many.
    pixel_too
        Whether the pixel distance has a threshold.

    Returns
    -------
    tuple
        The two; none for the pixel distance where it has no threshold.
    """
    threshold = yen_threshold(lambda: (score for score, _ in visits()))
    if not pixel_too:
        return threshold, None
    inside = yen_threshold(
        lambda: (inside_mask(mask_at(score, threshold), pixel) for score, pixel in visits())
    )
    return threshold, inside


def visit_quantiles(visits: Parts, q: float) -> NDArray[np.float64]:
    """Quantile of the scores of each visit, ``(visit,)``; NaN where nothing is there."""
    return np.array([_quantile([score], q) for score, _ in visits()])


def pooled_quantile(visits: Parts, q: float, sizes: Sequence[int]) -> float:
    """Quantile of the scores of all visits together; of a regular sample where they are very many.

    Parameters
    ----------
    visits
        Of one series or of many.
    q
        Share of the scores below it.
    sizes
        How many scores each of the visits has.

    Returns
    -------
    float
        NaN where nothing is there.
    """
    stride = _stride(sizes)
    return _quantile([score.ravel()[::stride].copy() for score, _ in visits()], q)


def _stride(sizes: Sequence[int]) -> int:
    """Take every so-manyth score of images of these sizes: never the same columns of each row."""
    stride = -(-sum(sizes) // SAMPLE)
    while any(math.gcd(stride, size) > 1 for size in set(sizes)):
        stride += 1
    return stride


def _quantile(parts: Sequence[NDArray[Any]], q: float) -> float:
    values = np.concatenate([part.ravel() for part in parts])
    values = values[~np.isnan(values)]
    return float(np.quantile(values, q, overwrite_input=True)) if values.size else float("nan")


def examined_in(images: NDArray[Any], erosion: int) -> NDArray[np.bool_]:
    """Find where a visit shows the subject, less its border.

    The outline of a subject lights up in any score map, since no subject is quite where a model
    expects it.

    Parameters
    ----------
    images
        ``(modality, z, y, x)``; the subject is what any modality shows.
    erosion
        Width of the border in pixels, see `without_border`.

    Returns
    -------
    NDArray
        ``(z, y, x)`` bool.

    References
    ----------
    Behrendt et al. (2026) erode the brain's mask by 3 voxels.
    """
    shown = np.zeros(images.shape[1:], bool)
    for image in images:
        shown |= subject_in(image)
    return without_border(shown, erosion)


def in_region(scores: NDArray[np.float32], stack: VisitStack, erosion: int) -> NDArray[np.float32]:
    """Take the scores that can be flagged, see `examined_in`; all where there is no border.

    Parameters
    ----------
    scores
        ``(visit, z, y, x)`` of the series.
    stack
        The series.
    erosion
        Width of the border in pixels.

    Returns
    -------
    NDArray
        One axis, of the observed visits; or `scores` itself.
    """
    if not erosion:
        return scores
    observed = np.flatnonzero(stack.is_observed)
    return np.concatenate([scores[v][examined_in(stack.images[v], erosion)] for v in observed])


def subject_in(image: ArrayLike) -> NDArray[np.bool_]:
    """Find the subject in an image, be it brighter or darker than the background.

    Otsu's threshold divides the image in two. The side that holds most of its frame, which is the
    outline of every plane, is the background; the subject is the largest part of the other, filled
    plane by plane. A subject that fills the frame cannot be separated from its background.

    Parameters
    ----------
    image
        ``(z, y, x)``, one intensity a pixel.

    Returns
    -------
    NDArray
        Same shape, bool; True throughout an image that is the same value everywhere, which has no
        border.
    """
    values = np.asarray(image, dtype=np.float32)
    if values.min() == values.max():
        return np.ones(values.shape, bool)
    is_bright = values > _middle(values)
    rows, columns = is_bright[:, [0, -1]], is_bright[:, :, [0, -1]]
    background_is_bright = np.concatenate([rows.ravel(), columns.ravel()]).mean() > 0.5
    return foreground(is_bright != background_is_bright)


def _middle(values: NDArray[np.float32]) -> float:
    """Middle of the means of Otsu's two sides: his threshold itself may touch the lower one."""
    is_bright = values > threshold_otsu(values)
    return float(values[is_bright].mean() + values[~is_bright].mean()) / 2


def without_border(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Take pixels off a mask on all sides, as many steps from pixel to pixel by their sides.

    Parameters
    ----------
    mask
        ``(z, y, x)``; in volumes a border is one in space.
    width
        Number of pixels.

    Returns
    -------
    NDArray
        Same shape. Where the image ends inside a subject, the subject has no border.
    """
    if not width:
        return mask.copy()
    return np.asarray(binary_erosion(mask, SIDES, iterations=width, border_value=1))
