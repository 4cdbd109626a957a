"""Scores of healthy subjects a model was not trained on: what its bundle draws its line at."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from napari_followup.bundle import HealthyScores, ModelBundle
from napari_followup.methods import method_class
from napari_followup.preparation import prepare
from napari_followup.recipe import Recipe
from napari_followup.scoring import examiner, score_series
from napari_followup.stack import VisitStack

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
        Score, fusion and filter; its threshold does not matter here.

    Returns
    -------
    ModelBundle
        With one more entry in ``healthy``, or in that of the part that finds the evidence.
    """
    model, wanted = examiner(bundle, recipe)
    method, options = model.build(device), method_class(model.method).options_type(**wanted)
    found = []
    with torch.no_grad():
        for index, stack in enumerate(stacks):
            visits = prepare(stack, model, torch.device(device)).visits
            generator = torch.Generator().manual_seed(seed + index)
            evidence = method.examine(visits, options, generator, lambda done, total: None)
            found.append(score_series(visits, evidence, recipe)["final"].cpu().numpy().ravel())
    scored = model.with_healthy(recipe.score_key, HealthyScores.of(found))
    return scored if model is bundle else bundle.with_part(scored)
