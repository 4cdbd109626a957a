"""The steps of a detection one by one: public functions, to be chained by hand.

`reconstruct`, `score_pair` and `fuse_scores` are what `detect` does before it segments. `examine`
finds the evidence of a series that fits into memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_followup.detection.prepare import Prepared, check_types
from napari_followup.detection.recipe_checks import check_healthy, examiner_of, options_of
from napari_followup.detection.score import fuse
from napari_followup.detection.stream import (
    Part,
    examine_planes,
    prepare,
    read_planes,
    reconstruct_planes,
    score_planes,
)
from napari_followup.device import choose_device, inference
from napari_followup.methods.method import Evidence
from napari_followup.models.bundle import ModelBundle
from napari_followup.recipe.recipe import Fusion, Recipe, Score
from napari_followup.series.plane_selection import Slicing
from napari_followup.series.results import OnStep, Reconstruction
from napari_followup.series.stack import VisitStack

__all__ = ["examine", "fuse_scores", "reconstruct", "score_pair"]


def reconstruct(
    stack: VisitStack,
    bundle: ModelBundle,
    *,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    seed: int = 0,
    on_step: OnStep | None = None,
    planes: Slicing | None = None,
) -> Reconstruction:
    """Pseudo-healthy images of every visit: the mean of the method's draws.

    Parameters
    ----------
    stack, bundle, device, seed, on_step, planes
        As for `detect`, and so are the errors.
    options
        The method's own, by name; those of its best recipe when none are given.

    Returns
    -------
    Reconstruction
        In the shape and intensity units of ``stack.images``, NaN in planes not looked at.
    """
    check_types(stack, bundle)
    wanted = bundle.recipe.options if options is None else options
    check_healthy(bundle)
    options_of(bundle, wanted)
    where = choose_device(device)
    prepared = prepare(stack, bundle, where, slicing=planes)
    with inference(where):
        examiner = examiner_of(bundle, wanted, where)
        parts = examine_planes(prepared, examiner, seed, on_step)
        healthy = cast("NDArray[np.float32]", reconstruct_planes(prepared, parts))
    provenance = bundle.provenance(
        seed, options=dict(wanted), **prepared.about_planes, notes=list(prepared.notes)
    )
    return Reconstruction(stack=stack, healthy=prepared.turned_back(healthy), provenance=provenance)


def score_pair(
    stack: VisitStack,
    healthy: NDArray[np.floating],
    bundle: ModelBundle,
    score: Score,
    *,
    device: str = "auto",
) -> dict[str, NDArray[np.float32]]:
    """Score maps of a series against healthy images made earlier.

    Parameters
    ----------
    stack
        The series.
    healthy
        Shape and intensity units of ``stack.images``.
    bundle
        The model whose features FAM compares.
    score
        Which score.

    Returns
    -------
    dict
        Stages by name, each ``(visit, z, y, x)`` float32, the last one the score itself.

    Raises
    ------
    ValueError
        If `healthy` has another shape than the images.
    """
    if healthy.shape != stack.shape:
        raise ValueError(
            f"healthy images are {healthy.shape}, the series is {stack.shape}; they must agree"
        )
    where = choose_device(device)
    prepared = prepare(stack, bundle, where)
    other = replace(prepared, images=healthy)
    features = getattr(bundle.build(where), "examine_features", None)

    def parts() -> Iterator[Part]:
        for place in range(len(prepared.planes)):
            one = slice(place, place + 1)
            found = Evidence(healthy=read_planes(other, one).images[None], features=features)
            yield one, read_planes(prepared, one), found

    with inference(where):
        maps = score_planes(prepared, parts(), Recipe(score=score)).maps
    return {name: values for name, values in maps.items() if name != "final"}


def fuse_scores(
    scores: NDArray[np.floating], ages: NDArray[np.floating], fusion: Fusion
) -> NDArray[np.float32]:
    """Correct each visit's scores by those of the other visits.

    Parameters
    ----------
    scores
        ``(visit, z, y, x)``; a visit, or a plane of all visits, of NaN stays out and stays NaN.
    ages
        ``(visit,)`` in years.
    fusion
        `Lafm`, `Support` or none.

    Returns
    -------
    NDArray
        Shape of `scores`.

    Raises
    ------
    ValueError
        If there is not one age per visit.
    """
    if np.shape(ages) != scores.shape[:1]:
        raise ValueError(
            f"ages: got {np.size(ages)} for {len(scores)} visits; give one age per visit"
        )
    finite = np.isfinite(scores).all(axis=(2, 3))
    place = np.ix_(finite.any(axis=1), finite.any(axis=0))
    fused = np.full(scores.shape, np.nan, np.float32)
    if not finite[place].all():
        raise ValueError("scores: some visits lack planes that others have; fuse the same planes")
    values = torch.from_numpy(np.ascontiguousarray(scores[place], np.float32))
    present = torch.from_numpy(np.asarray(ages, float)[finite.any(axis=1)])
    fused[place] = fuse(values, present, fusion).numpy()
    return fused


def examine(
    prepared: Prepared,
    bundle: ModelBundle,
    options: Mapping[str, Any],
    seed: int,
    on_step: OnStep | None = None,
) -> Evidence:
    """Run the method on every plane of a series that fits into memory, at all visits together.

    Parameters
    ----------
    prepared
        The series, as `prepare` made it for `bundle`.
    bundle
        The model.
    options
        The method's own, by name.
    seed
        Source of all noise: a plane's depends on it and on the plane's position in the volume.
    on_step
        Called with the network calls done and to do; return False to stop.

    Returns
    -------
    Evidence
        In float32.

    Raises
    ------
    ValueError
        If the method has no such option.
    Cancelled
        If `on_step` returned False.
    """
    examiner = examiner_of(bundle, options, prepared.device)
    parts = examine_planes(prepared, examiner, seed, on_step)
    return _joined([evidence for _, _, evidence in parts])


def _joined(found: list[Evidence]) -> Evidence:
    if len(found) == 1:
        return found[0]

    def along_z(parts: list[Tensor | None]) -> Tensor | None:
        whole = [part for part in parts if part is not None]
        return torch.cat(whole, dim=-3) if whole else None

    return Evidence(
        healthy=along_z([part.healthy for part in found]),
        score=along_z([part.score for part in found]),
        features=found[0].features,
    )
