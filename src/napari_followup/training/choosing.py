"""Choose a model's recipe among variations, tried on anomalies drawn into healthy series.

Which recipe is best depends on the images: on clean silhouettes a tolerance at edges prevents false
positives, on grainy images a filter does, and each does harm on the other. So a model gets its own
recipe when it is trained, by one rule for all data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_followup.detection.recipe_checks import model_and_options
from napari_followup.detection.segment import in_region
from napari_followup.device import fast_networks, inference
from napari_followup.models.bundle import HealthyScores, ModelBundle
from napari_followup.recipe.recipe import Pixel, Recipe, Temporal
from napari_followup.series.stack import VisitStack
from napari_followup.synthetic.generic import GENERIC_ANOMALIES, draw
from napari_followup.training.examining import dices, examined, thinned
from napari_followup.training.labels import Entry
from napari_followup.training.samples import healthy_samples
from napari_followup.training.settings import form_of

__all__ = [
    "Trial",
    "choose_recipe",
    "refined",
    "try_recipes",
    "variations",
]

FILTERS: tuple[dict[str, Any], ...] = (
    *({"median": side, "blur": 0.0} for side in (1, 3, 5, 7)),
    *({"median": 1, "blur": sigma} for sigma in (0.5, 1.0, 1.5, 2.0, 3.0)),
)
TOLERANT = (Pixel(), Pixel(tolerance=2.0))
HEALTHY = 24  # subjects that set the threshold, at most
SICK = 8  # subjects that anomalies are drawn into, at most
SIZES = (1.0, 0.4)  # of what is drawn, in turn, since a filter that helps one may harm the other
ELSEWHERE = 1000  # added to the seed: anomalies lie elsewhere than where the card measures them
CLEARLY = 0.03  # Dice by which another recipe must be better than the method's to take its place
SUBJECTS, PLANES = 32, 48  # that are looked at, at most


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A recipe and its Dice by kind of anomaly, in [0, 1]."""

    recipe: Recipe
    dice: dict[str, float]

    @property
    def mean(self) -> float:
        """Mean over the kinds."""
        return _mean(list(self.dice.values()))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a card."""
        score = self.recipe.as_dict()["score"]
        return {
            "score": score,
            "median": self.recipe.median,
            "blur": self.recipe.blur,
            "mdice_percent": round(100 * self.mean, 1),
        }


def choose_recipe(
    bundle: ModelBundle,
    stacks: Sequence[VisitStack],
    recipe: Recipe | None = None,
    *,
    device: str = "cpu",
    seed: int = 0,
) -> tuple[ModelBundle, list[dict[str, Any]]]:
    """Give a model the recipe that finds most of the anomalies drawn into healthy subjects.

    Parameters
    ----------
    bundle
        The trained model.
    stacks
        Healthy series it was not trained on, looked at in a few visits and planes each.
    recipe
        What is varied; the recipe that the model has when none is given.
    device
        ``"cpu"`` or ``"cuda"``.
    seed
        Source of the noise, and of the anomalies' places.

    Returns
    -------
    bundle
        With a recipe of its own if one is clearly better, by 3 points of mean Dice.
    tried
        Recipes tried and their Dice: plain values for the card.
    """
    recipes = variations(recipe or bundle.recipe)
    if len(recipes) == 1:
        return bundle, []
    usual, *others = trials = try_recipes(bundle, stacks, recipes, device=device, seed=seed)
    best = max(others, key=lambda trial: trial.mean)
    tried = [trial.as_dict() for trial in trials]
    if best.mean < usual.mean + CLEARLY:
        return bundle, tried
    return replace(bundle, own_recipe=best.recipe), tried


def variations(recipe: Recipe) -> list[Recipe]:
    """Recipes that differ in their filter, and in their tolerance at edges if they have one.

    Parameters
    ----------
    recipe
        The usual one, which comes first. A temporal residual has no variations: the anomalies that
        are drawn are there at all visits, and it does not see those.

    Returns
    -------
    list of Recipe
        With the same options, so that the network need not run again.
    """
    if isinstance(recipe.score, Temporal):
        return [recipe]
    scores = [recipe.score]
    if isinstance(recipe.score, Pixel):
        scores += [score for score in TOLERANT if score != recipe.score]
    varied = [replace(recipe, score=score, **each) for score in scores for each in FILTERS]
    return [recipe, *(each for each in varied if each != recipe)]


def try_recipes(
    bundle: ModelBundle,
    stacks: Sequence[VisitStack],
    recipes: Sequence[Recipe],
    *,
    device: str = "cpu",
    seed: int = 0,
) -> list[Trial]:
    """Measure recipes with the same options by anomalies drawn into healthy series.

    Parameters
    ----------
    bundle
        The trained model.
    stacks
        Healthy series it was not trained on: 24 set each recipe's threshold, anomalies of every
        kind are drawn into 8.
    recipes
        At least one.
    device, seed
        As for `choose_recipe`.

    Returns
    -------
    list of Trial
        In the order of `recipes`.
    """
    model, _ = model_and_options(bundle, recipes[0])
    whole = model.build(device).samples == "volumes"
    few = [thinned(stack, whole=whole) for stack in stacks[:HEALTHY]]
    look = partial(examined, bundle, recipe=recipes[0], device=device)
    healthy: list[list[NDArray[np.float32]]] = [[] for _ in recipes]
    for number, stack in enumerate(few):
        found = look(stack=stack, seed=seed + number)
        for recipe, scores in zip(recipes, healthy, strict=True):
            scores.append(in_region(found.score(recipe), stack, recipe.erosion))
    known = [HealthyScores.of(scores) for scores in healthy]
    values: list[dict[str, list[float]]] = [
        {kind: [] for kind in GENERIC_ANOMALIES} for _ in recipes
    ]
    for kind, sick, truth in _drawn(few[:SICK], seed):
        found = look(stack=sick, seed=seed)
        for recipe, scores_known, by_kind in zip(recipes, known, values, strict=True):
            by_kind[kind] += dices(found.mask(recipe, scores_known), truth)
    return [
        Trial(recipe=recipe, dice={kind: _mean(found) for kind, found in by_kind.items() if found})
        for recipe, by_kind in zip(recipes, values, strict=True)
    ]


def _drawn(
    stacks: Sequence[VisitStack], seed: int
) -> Iterator[tuple[str, VisitStack, NDArray[np.bool_]]]:
    for kind in GENERIC_ANOMALIES:
        for number, stack in enumerate(stacks):
            size = SIZES[number % len(SIZES)]
            yield kind, *draw(stack, kind, seed + ELSEWHERE + number, size=size)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def refined(
    bundle: ModelBundle,
    stacks: Sequence[VisitStack],
    *,
    labels: Sequence[Entry] | None = None,
    device: str = "cpu",
    seed: int = 0,
) -> ModelBundle:
    """Bundle whose configuration holds what is measured with the trained weights.

    Parameters
    ----------
    bundle
        The trained model.
    stacks
        Series it was not trained on: healthy ones, or with `labels` others too. Up to 32 of them
        are used, and 48 planes.
    labels
        One entry a series, see `labels.marks_of`. Where none are given, a method that needs
        anomalies makes them from healthy planes, as in its training.
    device
        ``"cpu"`` or ``"cuda"``.
    seed
        Source of those anomalies and of all noise.

    Returns
    -------
    ModelBundle
        The same one where the method has nothing of the kind. Healthy scores of recipes that the
        new numbers change are left out.
    """
    model = bundle.build(device)
    if not model.refines:
        return bundle
    planes, known = _planes(model, stacks, labels)
    where, generator = torch.device(device), torch.Generator().manual_seed(seed)
    with inference(where), fast_networks(where):
        config = model.refined(
            planes.to(where), None if known is None else known.to(where), generator
        )
    healthy = {
        key: scores for key, scores in bundle.healthy.items() if not _uses(key, model.refines)
    }
    return replace(bundle, config=asdict(config), healthy=healthy)


def _planes(
    model: Any, stacks: Sequence[VisitStack], labels: Sequence[Entry] | None
) -> tuple[Tensor, Tensor | None]:
    """Planes (b, modality, y, x); where there are labels, those too, half of them healthy."""
    few = _spread(len(stacks), SUBJECTS)
    chosen = [stacks[index] for index in few]
    if labels is None:
        form = replace(form_of(model), kind="planes")
        planes = healthy_samples(form, [thinned(stack) for stack in chosen])
        assert isinstance(planes, Tensor)
        return planes[_spread(len(planes), PLANES)], None
    form = form_of(model, labelled=True)
    planes, known = healthy_samples(form, chosen, labels=[labels[index] for index in few])
    halves = [torch.nonzero(known > 0)[:, 0], torch.nonzero(known == 0)[:, 0]]
    taken = torch.cat([half[_spread(len(half), PLANES // 2)] for half in halves])
    return planes[taken], known[taken]


def _spread(count: int, most: int) -> list[int]:
    """Evenly spread positions."""
    places: list[int] = np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()
    return places


def _uses(key: str, options: Sequence[str]) -> bool:
    """Whether a recipe, by its `score_key`, sets one of these options."""
    given = json.loads(key)["options"]
    return any(given.get(name) is not None for name in options)
