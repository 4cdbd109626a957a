"""Find what is abnormal in one patient's series: `detect`, and the `Detection` that it builds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.detection.prepare import Prepared, check_types
from napari_followup.detection.recipe_checks import (
    check_recipe,
    chosen_recipe,
    examiner_of,
    model_and_options,
)
from napari_followup.detection.segment import Thresholds
from napari_followup.detection.stream import (
    Part,
    Scored,
    Segmented,
    examine_planes,
    prepare,
    score_planes,
    segment_series,
)
from napari_followup.device import choose_device, inference
from napari_followup.methods.method import Evidence
from napari_followup.methods.table import given_by
from napari_followup.models.bundle import HealthyScores, ModelBundle
from napari_followup.recipe.recipe import Fam, Recipe, Temporal
from napari_followup.series.plane_selection import Slicing
from napari_followup.series.results import Detection, OnStep
from napari_followup.series.stack import VisitStack

__all__ = [
    "detect",
    "detection_of",
    "doubt_of",
    "score_visits",
    "segment_evidence",
]

LITTLE = 20.0  # mean Dice of drawn anomalies in per cent below which a model finds few of them
UNUSUAL = 0.99  # share of healthy subjects' pixels that lie below an unusual score
TIMES = 3.0  # so many times as many pixels above it, far from what is flagged, are too many
MOST = 0.2  # share of flagged pixels above which images are taken to be out of distribution
SPARE = 0.05  # share of an image below which a border leaves little of it
ALONE = (
    "the threshold is meant for many series together and was computed from this one alone; "
    "examine them together (in Python: detect_cohort)"
)


def detect(
    stack: VisitStack,
    bundle: ModelBundle,
    recipe: Recipe | None = None,
    *,
    device: str = "auto",
    seed: int = 0,
    on_step: OnStep | None = None,
    planes: Slicing | None = None,
) -> Detection:
    """Reconstruct, score, fuse and segment one patient's visits.

    Volumes are examined plane by plane, each plane at all visits together; results that are large
    lie in temporary files, see `stream`.

    Parameters
    ----------
    stack
        The series; missing visits stay missing in the result.
    bundle
        The trained model.
    recipe
        How evidence becomes a mask; ``bundle.recipe`` when none is given, which for the embedded
        SDM is `Recipe.default`. `Recipe.published` is the thesis'.
    device
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    seed
        Source of all noise; the same seed gives the same result, plane by plane, whichever other
        planes are examined.
    on_step
        Called with the network calls done and to do, as many for every plane; return False to stop.
    planes
        Which planes are examined, and across which axis; all across z when none are given.

    Returns
    -------
    Detection
        Maps ``(visit, z, y, x)`` in the order of ``stack``, whose visits stand by age. Planes that
        were not examined are NaN, and False in the mask.

    Raises
    ------
    TypeError
        If they are no series, no model or no recipe.
    ValueError
        If the model and the series do not go together, the recipe asks for what the method cannot
        give, `planes` do not lie in the stack, or a score comes out that is not finite.
    Cancelled
        If `on_step` returned False.
    """
    check_types(stack, bundle)
    recipe = chosen_recipe(bundle, recipe)
    prepared, found = score_visits(
        stack, bundle, recipe, device=device, seed=seed, on_step=on_step, planes=planes
    )
    return detection_of(prepared, found, bundle, recipe, seed=seed)


def score_visits(
    stack: VisitStack,
    bundle: ModelBundle,
    recipe: Recipe,
    *,
    device: str = "auto",
    seed: int = 0,
    on_step: OnStep | None = None,
    planes: Slicing | None = None,
) -> tuple[Prepared, Scored]:
    """Reconstruct, score and fuse one patient's visits: `detect` before it segments.

    Parameters and errors as for `detect`.

    Returns
    -------
    tuple
        The series as the model saw it, and its scores, for `detection_of`.
    """
    check_types(stack, bundle)
    check_recipe(bundle, recipe)
    model, options = model_and_options(bundle, recipe)
    where = choose_device(device)
    prepared = prepare(stack, model, where, with_imputed=recipe.imputed_references, slicing=planes)
    with inference(where):
        examiner = examiner_of(model, options, where)
        parts = examine_planes(prepared, examiner, seed, on_step)
        return prepared, _finite_scores(prepared, parts, recipe)


def segment_evidence(
    prepared: Prepared, evidence: Evidence, bundle: ModelBundle, recipe: Recipe, *, seed: int = 0
) -> Detection:
    """Score, fuse and segment what a method found: `detect` after its network has run.

    Parameters
    ----------
    prepared
        The series, as `prepare` made it for `bundle`.
    evidence
        What `examine` found in it.
    bundle
        The model, which remembers the scores of healthy subjects.
    recipe
        Score, fusion, filter and threshold.
    seed
        That `evidence` was found with, for the provenance.

    Returns
    -------
    Detection
        As from `detect`.
    """
    with inference(prepared.device):
        found = _finite_scores(prepared, _planes_of(prepared, evidence), recipe)
        return detection_of(prepared, found, bundle, recipe, seed=seed)


def _finite_scores(prepared: Prepared, parts: Iterable[Part], recipe: Recipe) -> Scored:
    """Score a series, see `score_planes`; raise a ValueError if the scores are not finite."""
    found = score_planes(prepared, parts, recipe)
    observed = prepared.observed
    if wrong := observed[~np.isfinite(found.image_score[observed])].tolist():
        visits = ", ".join(str(visit + 1) for visit in wrong)
        raise ValueError(
            f"{prepared.stack.subject!r}: the score is not finite at visit {visits}; give the "
            "recipe options nearer to the model's own, and look for extreme values in the images"
        )
    return found


def _planes_of(prepared: Prepared, evidence: Evidence) -> Iterator[Part]:
    """Evidence of a whole series, plane by plane."""
    for place in range(len(prepared.planes)):
        here = slice(place, place + 1)
        healthy, score = evidence.healthy, evidence.score
        one = Evidence(
            healthy=None if healthy is None else healthy[..., here, :, :],
            score=None if score is None else score[..., here, :, :],
            features=evidence.features,
        )
        yield here, prepared.slab(here), one


def detection_of(
    prepared: Prepared,
    found: Scored,
    bundle: ModelBundle,
    recipe: Recipe,
    *,
    seed: int,
    pooled: Thresholds | None = None,
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
    pooled
        The thresholds of several series together; without them, this one stands alone.

    Returns
    -------
    Detection
        As from `detect`.
    """
    model, _ = model_and_options(bundle, recipe)
    known, exact = model.healthy_for(recipe.score_key)
    segmented = segment_series(
        prepared,
        found,
        recipe,
        known,
        exact,
        thresholds=pooled,
        unusual=_unusual_score(known, recipe),
    )
    turned_back, thresholds = prepared.turned_back, _shown_thresholds(segmented)
    return Detection(
        stack=prepared.stack,
        mask=turned_back(segmented.mask),
        score=turned_back(found.maps["final"]),
        scores={name: turned_back(each) for name, each in found.maps.items() if name != "final"},
        healthy=None if found.healthy is None else turned_back(found.healthy),
        image_score=found.image_score,
        threshold=thresholds[0],
        floor=thresholds[1],
        provenance=model.provenance(
            seed,
            recipe=recipe.as_dict(),
            recipe_name=bundle.name_of(recipe),
            **prepared.about_planes,
            **_lender(bundle, recipe),
            **({} if pooled is None else {"pooled_series": pooled.series}),
            **_notes(prepared, segmented, model, recipe, pooled),
        ),
        clean=segmented.clean,
    )


def _lender(bundle: ModelBundle, recipe: Recipe) -> dict[str, str]:
    """Whose features compared the images, where the model has none of its own."""
    sdm = bundle.parts.get("sdm")
    if sdm is None or not isinstance(recipe.score, Fam):
        return {}
    own = "features" in given_by(bundle.method, bundle.config, ())
    return {} if own else {"features_of": f"{sdm.name} {sdm.fingerprint}"}


def _notes(
    prepared: Prepared,
    segmented: Segmented,
    model: ModelBundle,
    recipe: Recipe,
    pooled: Thresholds | None,
) -> dict[str, Any]:
    """List notes for a provenance; one on images out of distribution also stands by itself."""
    is_alone = recipe.is_pooled and (pooled is None or pooled.series == 1)
    notes = [
        *prepared.notes,
        *([ALONE] if is_alone else []),
        *([doubt] if (doubt := doubt_of(model, recipe)) else []),
        *_threshold_notes(segmented, recipe),
    ]
    visits, (_, height, width) = len(prepared.observed), prepared.grid
    unlike = _out_of_distribution(segmented, visits * len(prepared.planes) * height * width)
    if not unlike:
        return {"notes": notes}
    return {"out_of_distribution": unlike, "notes": [*notes, unlike]}


def doubt_of(bundle: ModelBundle, recipe: Recipe) -> str:
    """Say why empty masks of a model mean little, from the figures of its card.

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
    is_other = recipe != bundle.recipe or isinstance(recipe.score, Temporal)
    if is_other or not found or (mean := sum(found) / len(found)) >= LITTLE:
        return ""
    return (
        "the model found few of the anomalies drawn into held-out subjects (mean Dice "
        f"{mean:.0f} %), so an empty mask does not mean that there is no anomaly"
    )


def _threshold_notes(segmented: Segmented, recipe: Recipe) -> list[str]:
    """Say what is special about the levels of a mask."""
    notes = [*segmented.levels.notes]
    if segmented.examined < SPARE:
        notes.append(
            f"the border of {recipe.erosion} pixels leaves {100 * segmented.examined:.1f} % of an "
            "image in which something may be flagged; give the recipe a smaller erosion where "
            "subjects are this slender"
        )
    own = segmented.levels.thresholds.score
    if isinstance(own, np.ndarray):
        notes.append(f"{_own_thresholds(own, segmented)}; the lowest is given")
    return notes


def _own_thresholds(own: NDArray[Any], segmented: Segmented) -> str:
    """Say what the thresholds are where there are many."""
    if own.ndim == 3:
        low, high = (f"{segmented.rescaled(float(end)):.3g}" for end in (own.min(), own.max()))
        return f"each pixel has a threshold of its own, from {low} to {high}"
    shown = ("-" if np.isnan(each) else f"{segmented.rescaled(float(each)):.3g}" for each in own)
    return f"each visit has a threshold of its own, {', '.join(shown)}"


def _shown_thresholds(segmented: Segmented) -> tuple[float, float | None]:
    """Lowest threshold and floor, in the unit of the final score."""
    levels = segmented.levels
    floor = levels.seed if levels.floor is None else levels.floor
    lowest = segmented.rescaled(levels.thresholds.lowest)
    return lowest, None if floor is None else segmented.rescaled(floor)


def _unusual_score(known: HealthyScores | None, recipe: Recipe) -> float:
    """Score that few pixels of healthy subjects exceed; infinite where it is not known."""
    if known is None or recipe.erosion:  # whose healthy scores leave out what is examined here
        return float("inf")
    return known.pixel_quantile(UNUSUAL)


def _out_of_distribution(segmented: Segmented, examined: int) -> str:
    """Say why images are probably out of distribution; empty where nothing suggests it."""
    counts = segmented.counts
    share = counts.flagged / examined
    if share >= MOST:
        return (
            f"{100 * share:.0f} % of all pixels are flagged: the images are probably out of "
            "distribution for this model, so neither scores nor mask can be trusted"
        )
    if counts.unusual > TIMES * (1 - UNUSUAL) * counts.far:
        return (
            f"{100 * counts.unusual / counts.far:.1f} % of the pixels far from any flagged region "
            "score as high as the top 1 % of pixels in healthy subjects: the images are probably "
            "out of distribution for this model, and what is flagged may be no more than that"
        )
    return ""
