"""Imputed visits as references in the fusion over visits, measured on series with few visits.

Of every sick series only a few visits are observed (the axis of Dang 2025, Fig. 5.10). The others
are imputed from them, and the same recipe detects with and without them as references.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_followup.detection.detect import detect
from napari_followup.evaluation.patients import Case
from napari_followup.evaluation.prediction import OnStep
from napari_followup.evaluation.statistics import bootstrap_interval, dice_by_visit, mean_of_kinds
from napari_followup.models.bundle import ModelBundle
from napari_followup.prediction.impute import impute
from napari_followup.recipe.recipe import Lafm, Recipe, Yen
from napari_followup.series.stack import VisitStack

__all__ = ["ReferenceFigures", "evaluate_references", "fusion_recipes", "hidden"]

Dices = dict[str, list[NDArray[np.float64]]]


@dataclass(frozen=True, kw_only=True)
class ReferenceFigures:
    """Dice in [0, 1] of one recipe with so many observed visits, over those that show a truth.

    `interval` is the 95 % one of `mean_mdice` for other patients; `images` counts visits.
    """

    name: str
    observed: int
    with_imputed: bool
    mdice: Mapping[str, float]
    mean_mdice: float
    interval: tuple[float, float]
    images: int


def fusion_recipes(default: Recipe) -> dict[str, Recipe]:
    """Recipe on trial, and the same evidence fused and segmented as published."""
    published = replace(default, fusion=Lafm(), threshold=Yen(), floor=None)
    return {"recipe on trial": default, "its score, LAFM and Yen as published": published}


def evaluate_references(
    cases: Sequence[Case],
    bundle: ModelBundle,
    recipes: Mapping[str, Recipe],
    *,
    observed: Sequence[int] = (2, 3, 4),
    device: str = "auto",
    seed: int = 0,
    on_step: OnStep | None = None,
) -> list[ReferenceFigures]:
    """Dice with few observed visits, with and without imputed references.

    Parameters
    ----------
    cases
        Sick ones, from `make_cases`.
    bundle
        A model that detects and has a TDM.
    recipes
        By the name they go by, see `fusion_recipes`.
    observed
        How many visits of a series are observed; which ones is drawn from `seed` and the subject.
        All of them is measured besides, without imputed references.
    device, seed
        As for `detect`.
    on_step
        Called with the patients done and to do.

    Returns
    -------
    list of ReferenceFigures
        By recipe and number of visits, each without and with imputed references.
    """
    found: dict[tuple[str, int, bool], Dices] = {}
    for done, case in enumerate(cases, start=1):
        visits = case.stack.n_visits
        for count in (*(count for count in observed if count < visits), visits):
            for with_imputed, stack in _series(case, count, bundle, device, seed).items():
                for name, recipe in recipes.items():
                    wanted = replace(recipe, imputed_references=with_imputed)
                    mask = detect(
                        stack, bundle, wanted, device=device, seed=seed + case.number
                    ).mask
                    table = found.setdefault((name, count, with_imputed), {})
                    seen = stack.is_observed
                    dices = dice_by_visit(mask[seen], case.truth[seen])
                    table.setdefault(case.kind, []).append(dices)
        if on_step is not None and on_step(done, len(cases)) is False:
            break
    rows = [_figures(*key, table) for key, table in found.items()]
    names = list(recipes)
    return sorted(rows, key=lambda row: (names.index(row.name), row.observed, row.with_imputed))


def hidden(stack: VisitStack, count: int, seed: int) -> VisitStack:
    """Series of which `count` visits, drawn at random, are observed and all others missing."""
    if count >= stack.n_visits:
        return stack
    chosen = np.random.default_rng((seed, count)).permutation(stack.n_visits)[:count]
    seen = np.isin(np.arange(stack.n_visits), chosen)
    images = np.where(seen[:, None, None, None, None], stack.images, np.float32(np.nan))
    return stack.with_images(images.astype(np.float32), is_observed=seen)


def _series(
    case: Case, count: int, bundle: ModelBundle, device: str, seed: int
) -> dict[bool, VisitStack]:
    """Series of `count` observed visits, and where some are missing the one with these imputed."""
    few = hidden(case.stack, count, seed + case.number)
    if not few.is_missing.any():
        return {False: few}
    return {False: few, True: impute(few, bundle, device=device, seed=seed + case.number)}


def _figures(name: str, observed: int, with_imputed: bool, table: Dices) -> ReferenceFigures:
    shown = {kind: dices for kind, dices in table.items() if _count(dices)}
    return ReferenceFigures(
        name=name,
        observed=observed,
        with_imputed=with_imputed,
        mdice={kind: mean_of_kinds({kind: dices}) for kind, dices in shown.items()},
        mean_mdice=mean_of_kinds(shown),
        interval=bootstrap_interval(shown),
        images=sum(_count(dices) for dices in shown.values()),
    )


def _count(dices: Sequence[NDArray[np.float64]]) -> int:
    return int(np.isfinite(np.concatenate(dices)).sum())
