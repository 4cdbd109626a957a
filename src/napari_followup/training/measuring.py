"""Measure a trained model: its recipe, its threshold, what it can see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.detection.detect import doubt_of
from napari_followup.detection.recipe_checks import model_and_options
from napari_followup.detection.segment import in_region
from napari_followup.models.bundle import HealthyScores, ModelBundle
from napari_followup.recipe.recipe import Recipe
from napari_followup.series.stack import VisitStack
from napari_followup.synthetic.generic import GENERIC_ANOMALIES, draw
from napari_followup.training.choosing import choose_recipe, refined
from napari_followup.training.cohort import Cohort, listed
from napari_followup.training.examining import dices, examined, scored, thinned

__all__ = [
    "healthy_scores",
    "measured",
    "outlying",
    "what_it_sees",
]


SUBJECTS = 8  # that anomalies are drawn into, at most
FEWEST = 5  # subjects that can be compared
LOOKED_AT = 200  # subjects whose residuals are compared, at most
QUANTILE = 0.999  # of a subject's scores
# Deviations of the logarithm from the median subject's, since squared distances have long tails,
# and times its residual
FAR, LEAST = 4.0, 1.5
ABOUT = (
    "soft blobs darker and brighter by 60 % of the range, and patches from elsewhere, drawn into "
    "held-out healthy subjects at one place of all visits and growing (synthetic.generic)"
)
OUTLYING = (
    "the model explains these subjects far worse than the others: {}; check whether they are "
    "healthy, and train without them if not"
)
STEPS = 4


def healthy_scores(
    bundle: ModelBundle,
    stacks: Sequence[VisitStack],
    recipe: Recipe,
    *,
    device: str = "cpu",
    seed: int = 0,
) -> ModelBundle:
    """Bundle with the scores that `recipe` gives healthy subjects.

    Parameters
    ----------
    bundle
        The trained model.
    stacks
        Healthy series it was not trained on.
    recipe
        Score, fusion, filter and the border that is left out; its threshold is not used.

    Returns
    -------
    ModelBundle
        With one more entry in ``healthy``, or in that of the part that finds the evidence.
    """
    model, _ = model_and_options(bundle, recipe)
    found = [
        in_region(
            scored(bundle, stack, recipe, device=device, seed=seed + index).maps["final"],
            stack,
            recipe.erosion,
        )
        for index, stack in enumerate(stacks)
    ]
    known = model.with_healthy(recipe.score_key, HealthyScores.of(found))
    return known if model is bundle else bundle.with_part(known)


def what_it_sees(
    bundle: ModelBundle,
    stacks: Sequence[VisitStack],
    recipe: Recipe,
    *,
    device: str = "cpu",
    seed: int = 0,
) -> dict[str, Any]:
    """Figures of detection, for the card of a model.

    Parameters
    ----------
    bundle
        The trained model, which knows its healthy scores.
    stacks
        Healthy series it was not trained on; the first 8 are used, thinned.
    recipe
        How it detects.

    Returns
    -------
    dict
        Share of healthy pixels that are flagged in per cent, and mean Dice over the visits that
        show an anomaly in per cent, by kind: plain values for JSON.
    """
    model, _ = model_and_options(bundle, recipe)
    whole = model.build(device).samples == "volumes"
    few = [thinned(stack, whole=whole) for stack in stacks[:SUBJECTS]]
    healthy = [_mask(bundle, stack, recipe, device, seed).mean() for stack in few]
    dice = {
        kind: [
            value
            for number, stack in enumerate(few)
            for value in _dices(bundle, draw(stack, kind, seed + number), recipe, device, seed)
        ]
        for kind in GENERIC_ANOMALIES
    }
    return {
        "about": ABOUT,
        "subjects": len(few),
        "false_positives_percent": round(100 * float(np.mean(healthy)), 3),
        "mdice_percent": {
            kind: round(100 * float(np.mean(values)), 1) if values else None
            for kind, values in dice.items()
        },
    }


def outlying(
    bundle: ModelBundle,
    stacks: Sequence[VisitStack],
    recipe: Recipe,
    *,
    device: str = "cpu",
    seed: int = 0,
) -> list[str]:
    """Subjects whom the model explains far worse than the others: they may not be healthy.

    Parameters
    ----------
    bundle
        The trained model.
    stacks
        Series that it was trained on, or series that it was not: it knows the former better, so
        give one kind. At most 200, evenly spread, are looked at, thinned.
    recipe
        How it detects.

    Returns
    -------
    list of str
        Names, the worst first; none where there are fewer than 5 to compare.
    """
    if len(stacks) < FEWEST:
        return []
    model, _ = model_and_options(bundle, recipe)
    whole = model.build(device).samples == "volumes"
    chosen = stacks[:: -(-len(stacks) // LOOKED_AT)]
    tails = np.array(
        [
            np.nanquantile(
                scored(bundle, thinned(stack, whole=whole), recipe, device=device, seed=seed).maps[
                    "final"
                ],
                QUANTILE,
            )
            for stack in chosen
        ]
    )
    tails = np.log(np.maximum(tails, np.finfo(float).tiny))
    usual = np.median(tails)
    spread = 1.4826 * np.median(np.abs(tails - usual))
    far = tails > usual + max(FAR * spread, np.log(LEAST))
    return [chosen[i].subject for i in np.argsort(-tails) if far[i]]


def _mask(
    bundle: ModelBundle, stack: VisitStack, recipe: Recipe, device: str, seed: int
) -> NDArray[np.bool_]:
    """(visit, z, y, x) of a series whose visits are all observed."""
    model, _ = model_and_options(bundle, recipe)
    found = examined(bundle, stack, recipe, device=device, seed=seed)
    return found.mask(recipe, *model.healthy_for(recipe.score_key))


def _dices(
    bundle: ModelBundle,
    sick: tuple[VisitStack, NDArray[np.bool_]],
    recipe: Recipe,
    device: str,
    seed: int,
) -> list[float]:
    """Dice of every visit that shows the anomaly."""
    stack, truth = sick
    return dices(_mask(bundle, stack, recipe, device, seed), truth)


def measured(
    bundle: ModelBundle,
    cohort: Cohort,
    before: Callable[[float], None],
    *,
    device: str = "cpu",
    seed: int = 0,
) -> tuple[ModelBundle, dict[str, Any]]:
    """Choose the recipe, measure healthy scores and what the model sees, look for odd subjects.

    Parameters
    ----------
    bundle
        The trained model.
    cohort
        Its subjects; all but the odd ones are looked for among those it was not trained on.
    before
        Called before each step with the share that is done; may raise to stop.
    device
        ``"cpu"`` or ``"cuda"``.
    seed
        Source of all noise.

    Returns
    -------
    bundle
        With its recipe and its healthy scores.
    found
        For the card: plain values.
    """
    healthy = cohort.healthy
    before(0.0)
    known = None if cohort.labels is None else cohort.labels[1]
    held_back = healthy if known is None else cohort.validation
    bundle = refined(bundle, held_back, labels=known, device=device, seed=seed)
    bundle, tried = choose_recipe(bundle, healthy, device=device, seed=seed)
    recipe = bundle.recipe
    before(1 / STEPS)
    bundle = healthy_scores(bundle, healthy, recipe, device=device, seed=seed)
    before(2 / STEPS)
    seen = what_it_sees(bundle, healthy, recipe, device=device, seed=seed)
    before(3 / STEPS)
    compared = [healthy] if cohort.labels is not None else [healthy, cohort.training]
    strange = [
        name
        for subjects in compared
        for name in outlying(bundle, subjects, recipe, device=device, seed=seed)
    ]
    notes = [OUTLYING.format(listed(strange))] if strange else []
    if doubt := doubt_of(replace(bundle, card={"sees": seen}), recipe):
        notes.append(f"{doubt}; train longer, on more subjects, or on varied images")
    return bundle, {
        "recipes_tried": tried,
        "sees": seen,
        "outlying_subjects": strange,
        "notes": notes,
    }
