"""Examine series with a model that was just trained, as `detect` does, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from napari_followup.bundle import ModelBundle
from napari_followup.device import fast_networks, inference
from napari_followup.planewise import Part, Scored, score_planes
from napari_followup.preparation import Prepared, prepare
from napari_followup.recipe import Recipe
from napari_followup.scoring import examiner
from napari_followup.stack import VisitStack

__all__ = ["scored", "thinned"]

VISITS, PLANES = 6, 9  # of a thinned series, at most


def scored(
    bundle: ModelBundle, stack: VisitStack, recipe: Recipe, *, device: str = "cpu", seed: int = 0
) -> Scored:
    """Every stage of the score of one series, on its own grid.

    Parameters
    ----------
    bundle
        The trained model.
    stack
        The series.
    recipe
        Score, fusion and filter.
    device
        ``"cpu"`` or ``"cuda"``.
    seed
        Source of the noise.

    Returns
    -------
    Scored
        With the final score among its maps.
    """
    model, _ = examiner(bundle, recipe)
    where = torch.device(device)
    prepared = prepare(stack, model, where)
    with inference(where):
        return score_planes(prepared, _parts(bundle, prepared, recipe, seed), recipe)


def thinned(stack: VisitStack, *, whole: bool = False) -> VisitStack:
    """Observed visits and planes about the middle, few enough to be examined in passing.

    Parameters
    ----------
    stack
        A series.
    whole
        Whether all planes are kept, for methods that look at volumes.

    Returns
    -------
    VisitStack
        At most 6 visits, evenly spread, and 9 planes.
    """
    observed = np.flatnonzero(stack.is_observed)
    spread = np.linspace(0, len(observed) - 1, min(VISITS, len(observed))).round().astype(int)
    few = stack.select(observed[spread])
    depth = stack.shape[2]
    if whole or depth <= PLANES:
        return few
    first = (depth - PLANES) // 2
    return few.with_images(np.asarray(few.images[:, :, first : first + PLANES]))


def _parts(bundle: ModelBundle, prepared: Prepared, recipe: Recipe, seed: int) -> Iterator[Part]:
    """Evidence plane by plane; of the whole at once for methods that look at volumes."""
    model, wanted = examiner(bundle, recipe)
    method = model.build(prepared.device)
    options = method.options_type(**wanted)
    depth = len(prepared.planes)
    step = depth if method.samples == "volumes" else 1
    for place in range(0, depth, step):
        here = slice(place, place + step)
        visits = prepared.slab(here)
        generator = torch.Generator().manual_seed(seed + prepared.planes[place])
        with fast_networks(prepared.device):
            evidence = method.examine(visits, options, generator, _untold)
        yield here, visits, evidence


def _untold(done: int, total: int) -> None:
    """Nobody waits for a single series."""
