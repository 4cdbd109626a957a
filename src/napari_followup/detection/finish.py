"""From the score maps of a series to its `Detection`: cut, turned back, told.

What `detect` does once the network has run. Series that share a threshold are scored first, one by
one, and come here together with the line that was drawn for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.detection.prepare import Prepared
from napari_followup.detection.rim import examined_region
from napari_followup.detection.score import examiner
from napari_followup.detection.segment import Cut, finish, segment
from napari_followup.detection.threshold import Line, Maps
from napari_followup.methods.given import given_by
from napari_followup.models.bundle import ModelBundle
from napari_followup.models.healthy_scores import HealthyScores
from napari_followup.recipe.recipe import Fam, Recipe, Temporal
from napari_followup.segmentation.masks import dilated
from napari_followup.series.disk_arrays import each_visit, new_array
from napari_followup.series.results import Detection

if TYPE_CHECKING:
    from napari_followup.detection.planewise import Scored

__all__ = ["about_planes", "cut_of", "doubt_of", "judged", "maps_of"]

LITTLE = 20.0  # mean Dice of drawn anomalies in per cent below which a model sees next to nothing
RAISED = 0.99  # share of healthy subjects' pixels that lie below a height
TIMES = 3.0  # so many times as many pixels above it, far from marks, and the images are foreign
FAR = 0.08  # of the shorter side, that scores reach beyond a mark
STRANGE = 0.2  # share of marked pixels above which the images are taken for foreign to the model
ALONE = (
    "the threshold is meant for many series together and was taken from this one alone; examine "
    "them together (in Python: detect_cohort)"
)


def maps_of(prepared: Prepared, found: Scored, recipe: Recipe) -> Maps:
    """Give the maps of the planes that were examined, as `lines` and `cutting` take them.

    Parameters
    ----------
    prepared
        The series.
    found
        Its scores, as the network's evidence gave them; see `judged`.
    recipe
        Whether scores are rescaled before they are pooled with those of other series.

    Returns
    -------
    Maps
        Views of the scores.
    """
    score = found.maps["final"]
    shown, pixel = (maps[:, prepared.taken] for maps in (score, found.maps.get("pixel", score)))
    scale = _ends(score) if recipe.rescale and recipe.is_pooled else None
    return Maps(score=shown, pixel=pixel, voxel=prepared.voxel, scale=scale)


def cut_of(
    prepared: Prepared,
    found: Scored,
    recipe: Recipe,
    known: HealthyScores | None,
    exact: bool,
    *,
    line: Line | None = None,
) -> Cut:
    """Segment the planes that were examined.

    Parameters
    ----------
    prepared, found, recipe
        As for `maps_of`.
    known, exact, line
        As for `cutting.segment`.

    Returns
    -------
    Cut
        Its mask has the examined planes alone.
    """
    maps = replace(maps_of(prepared, found, recipe), inside=_inside(prepared, recipe))
    return segment(maps, recipe, known, exact, line=line)


def judged(
    prepared: Prepared,
    found: Scored,
    bundle: ModelBundle,
    recipe: Recipe,
    *,
    seed: int,
    line: Line | None = None,
) -> Detection:
    """Segment a series by its scores.

    Parameters
    ----------
    prepared
        The series.
    found
        Its scores; the final one is rescaled in its place where the recipe says so, so use them
        once.
    bundle
        The model, which remembers the scores of healthy subjects.
    recipe
        Threshold and what follows.
    seed
        That the scores were found with, for the provenance.
    line
        What several series are cut at together; without it, this one stands alone.

    Returns
    -------
    Detection
        As from `detect`.
    """
    model, _ = examiner(bundle, recipe)
    known = model.healthy_for(recipe.score_key)
    cut = cut_of(prepared, found, recipe, *known, line=line)
    unlike = _many_flagged(cut.mask, prepared.observed) or _scores_high_everywhere(
        maps_of(prepared, found, recipe).score, cut.mask, recipe, known[0]
    )
    score, turned_back = found.maps["final"], prepared.turned_back
    unit = _rescaled(score) if recipe.rescale else float
    alone = recipe.is_pooled and (line is None or line.series == 1)
    doubt = doubt_of(model, recipe)
    own = [*([ALONE] if alone else []), *([doubt] if doubt else [])]
    notes = [*prepared.notes, *own, *cut.notes, *_of_own(cut, unit)]
    pooled = {"pooled_series": line.series} if line is not None else {}
    return Detection(
        stack=prepared.stack,
        mask=turned_back(_on_grid(cut.mask, prepared, score.shape)),
        score=turned_back(score),
        scores={name: turned_back(each) for name, each in found.maps.items() if name != "final"},
        healthy=None if found.healthy is None else turned_back(found.healthy),
        image_score=found.image_score,
        threshold=unit(cut.threshold),
        floor=None if cut.floor is None else unit(cut.floor),
        provenance=model.provenance(
            seed,
            recipe=recipe.as_dict(),
            recipe_name=bundle.name_of(recipe),
            **about_planes(prepared),
            **_lender(bundle, recipe),
            **pooled,
            **({"out_of_distribution": unlike} if unlike else {}),
            notes=[*notes, *([unlike] if unlike else [])],
        ),
        clean=_cleaner(prepared, recipe),
    )


def doubt_of(bundle: ModelBundle, recipe: Recipe) -> str:
    """Say why the masks of a model mean little, from the figures of its card.

    Parameters
    ----------
    bundle
        The model.
    recipe
        That it detects with. The figures are of its own, and say nothing of a temporal residual,
        which does not see what is there at all visits.

    Returns
    -------
    str
        Part of a sentence, empty where nothing is known against it.
    """
    dice = bundle.card.get("sees", {}).get("mdice_percent", {})
    found = [value for value in dice.values() if value is not None]
    foreign = recipe != bundle.recipe or isinstance(recipe.score, Temporal)
    if foreign or not found or (mean := sum(found) / len(found)) >= LITTLE:
        return ""
    return (
        "the model found little of what was drawn into held-out subjects (mean Dice "
        f"{mean:.0f} %), so an empty mask says nothing"
    )


def _lender(bundle: ModelBundle, recipe: Recipe) -> dict[str, str]:
    """Whose features compared the images, where the model has none of its own."""
    sdm = bundle.parts.get("sdm")
    if sdm is None or not isinstance(recipe.score, Fam):
        return {}
    own = "features" in given_by(bundle.method, bundle.config, ())
    return {} if own else {"features_of": f"{sdm.name} {sdm.fingerprint}"}


def about_planes(prepared: Prepared) -> dict[str, Any]:
    """Which planes were looked at, for a provenance; nothing where all of them were."""
    chosen = prepared.slicing
    return {} if chosen.is_whole else {"planes": chosen.as_dict(prepared.stack)}


def _cleaner(prepared: Prepared, recipe: Recipe) -> Callable[[NDArray[np.bool_]], None] | None:
    """Give what cleans a mask on the stack's grid in its place; none where nothing does."""
    if not (recipe.erosion or recipe.smallest or recipe.dilation):
        return None
    inside = cache(lambda: _inside(prepared, recipe))

    def clean(mask: NDArray[np.bool_]) -> None:
        turned = prepared.slicing.turned(mask)
        examined = turned[:, prepared.taken].copy()
        finish(examined, recipe, prepared.voxel, inside())
        turned[:, prepared.taken] = examined

    return clean


def _inside(prepared: Prepared, recipe: Recipe) -> NDArray[np.bool_] | None:
    """Where something may be marked in the planes that were examined, or none for everywhere."""
    region = examined_region(prepared.stack, recipe.erosion)
    if region is None:
        return None
    turned: NDArray[np.bool_] = prepared.slicing.turned(region)
    return turned[:, prepared.taken]


def _on_grid(
    mask: NDArray[np.bool_], prepared: Prepared, shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Mask of the planes that were examined, on the whole grid."""
    if mask.shape == shape:
        return mask
    whole = new_array(shape, bool)
    for there, part in each_visit(whole, mask):
        there[prepared.taken] = part
    return whole


def _of_own(cut: Cut, unit: Callable[[float], float]) -> list[str]:
    """Say what the heights are where there are many."""
    if cut.own.ndim == 3:
        low, high = (f"{unit(float(end)):.3g}" for end in (cut.own.min(), cut.own.max()))
        return [f"each pixel has a threshold of its own, from {low} to {high}; the lowest is given"]
    if not cut.own.size:
        return []
    heights = ", ".join("-" if np.isnan(h) else f"{unit(float(h)):.3g}" for h in cut.own)
    return [f"each visit has a threshold of its own, {heights}; the lowest is given"]


def _many_flagged(mask: NDArray[np.bool_], observed: NDArray[np.intp]) -> str:
    """Say that the images are out of distribution if much of them is flagged; else empty."""
    marked = sum(int(np.count_nonzero(part)) for (part,) in each_visit(mask))
    share = marked / (len(observed) * mask[0].size)
    if share < STRANGE:
        return ""
    return (
        f"{100 * share:.0f} % of all pixels are flagged: the images are probably out of "
        "distribution for this model, so neither scores nor mask can be trusted"
    )


def _scores_high_everywhere(
    score: NDArray[np.float32],
    mask: NDArray[np.bool_],
    recipe: Recipe,
    known: HealthyScores | None,
) -> str:
    """Say that the images are out of distribution if scores are high far from what is flagged."""
    if known is None or recipe.erosion:  # whose healthy scores leave out what is looked at here
        return ""
    height, raised, unmarked = known.height(RAISED), 0, 0
    near = round(FAR * min(score.shape[-2:]))
    for part, shown in each_visit(score, mask):
        rest = part[~dilated(shown[None], near)[0] & ~np.isnan(part)]
        raised += int(np.count_nonzero(rest > height))
        unmarked += rest.size
    if raised <= TIMES * (1 - RAISED) * unmarked:
        return ""
    return (
        f"{100 * raised / unmarked:.1f} % of the pixels far from any flagged region score as high "
        "as the top 1 % of pixels in healthy subjects: the images are probably out of distribution "
        "for this model, and what is flagged may be no more than that"
    )


def _rescaled(score: NDArray[np.float32]) -> Callable[[float], float]:
    """Min-max rescale a score in its place; returns what does the same to a height."""
    if (ends := _ends(score)) is None:
        return float
    low, high = ends
    for (part,) in each_visit(score):
        part -= low
        part /= high - low
    return lambda height: (height - low) / (high - low)


def _ends(score: NDArray[np.float32]) -> tuple[float, float] | None:
    """Lowest and highest score of a series; none where they are the same."""
    ends = [(np.nanmin(part), np.nanmax(part)) for (part,) in each_visit(score) if _has_any(part)]
    low, high = float(min(end[0] for end in ends)), float(max(end[1] for end in ends))
    return None if low == high else (low, high)


def _has_any(part: NDArray[np.float32]) -> bool:
    return not np.isnan(part).all()
