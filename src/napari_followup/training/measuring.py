"""What is found out about a model once it is trained: its recipe, its line, what it can see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from napari_followup.detection.finish import doubt_of
from napari_followup.models.files import ModelBundle
from napari_followup.training.calibrate import healthy_scores
from napari_followup.training.checks import listed
from napari_followup.training.choosing import choose_recipe
from napari_followup.training.cohort import Cohort
from napari_followup.training.refining import refined
from napari_followup.training.sanity import outlying, what_it_sees

__all__ = ["measured"]

OUTLYING = (
    "the model explains these subjects far worse than the others: {}; see whether they are "
    "healthy, and train without them if not"
)
STEPS = 4


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
