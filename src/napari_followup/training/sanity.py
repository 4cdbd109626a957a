"""What a model can see: its figures on healthy subjects and on anomalies drawn into them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.detection.score import examiner
from napari_followup.models.files import ModelBundle
from napari_followup.recipe.recipe import Recipe
from napari_followup.series.stack import VisitStack
from napari_followup.synthetic.generic import GENERIC_ANOMALIES, draw
from napari_followup.training.examining import dices, examined, scored, thinned

__all__ = ["outlying", "what_it_sees"]

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
        Share of healthy pixels that are marked in per cent, and mean Dice over the visits that
        show an anomaly in per cent, by kind: plain values for JSON.
    """
    model, _ = examiner(bundle, recipe)
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
    model, _ = examiner(bundle, recipe)
    whole = model.build(device).samples == "volumes"
    chosen = stacks[:: -(-len(stacks) // LOOKED_AT)]
    heights = np.array(
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
    heights = np.log(np.maximum(heights, np.finfo(float).tiny))
    usual = np.median(heights)
    spread = 1.4826 * np.median(np.abs(heights - usual))
    far = heights > usual + max(FAR * spread, np.log(LEAST))
    return [chosen[i].subject for i in np.argsort(-heights) if far[i]]


def _mask(
    bundle: ModelBundle, stack: VisitStack, recipe: Recipe, device: str, seed: int
) -> NDArray[np.bool_]:
    """(visit, z, y, x) of a series whose visits are all observed."""
    model, _ = examiner(bundle, recipe)
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
