"""Scores of healthy subjects a model was not trained on: what its bundle draws its line at."""

from __future__ import annotations

from collections.abc import Sequence

from napari_followup.detection.rim import in_region
from napari_followup.detection.score import examiner
from napari_followup.models.files import HealthyScores, ModelBundle
from napari_followup.recipe.recipe import Recipe
from napari_followup.series.stack import VisitStack
from napari_followup.training.examining import scored

__all__ = ["healthy_scores"]


def healthy_scores(
    bundle: ModelBundle,
    stacks: Sequence[VisitStack],
    recipe: Recipe,
    *,
    device: str = "cpu",
    seed: int = 0,
) -> ModelBundle:
    """Bundle that knows how high `recipe` scores healthy subjects.

    Parameters
    ----------
    bundle
        The trained model.
    stacks
        Healthy series it was not trained on.
    recipe
        Score, fusion and filter, and the rim that is left out; its threshold does not matter here.

    Returns
    -------
    ModelBundle
        With one more entry in ``healthy``, or in that of the part that finds the evidence.
    """
    model, _ = examiner(bundle, recipe)
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
