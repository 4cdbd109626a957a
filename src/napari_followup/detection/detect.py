"""Find what is abnormal in one patient's series: the door of scripts, command line and widgets.

`detect` is the whole way. `reconstruct`, `score_pair` and `fuse_scores` are its steps, to be
chained by hand. All of them go through a series of volumes plane by plane.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_followup.detection.examine import OnStep, examined_planes
from napari_followup.detection.finish import about_planes, judged
from napari_followup.detection.planewise import Part, Scored, heal, score_planes
from napari_followup.detection.prepare import Prepared, check_types, prepare
from napari_followup.detection.recipe_checks import (
    check_healthy,
    check_recipe,
    chosen_recipe,
    options_of,
)
from napari_followup.detection.score import examiner, fuse
from napari_followup.device import choose_device, inference
from napari_followup.methods.method import Evidence, Visits
from napari_followup.models.files import ModelBundle
from napari_followup.recipe.recipe import Fusion, Recipe, Score
from napari_followup.series.plane_selection import Slicing
from napari_followup.series.results import Detection, Reconstruction
from napari_followup.series.stack import VisitStack

__all__ = [
    "detect",
    "examine",
    "fuse_scores",
    "judge",
    "reconstruct",
    "score_pair",
    "score_visits",
]


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
    lie in temporary files, see `spilling`.

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
    return judged(prepared, found, bundle, recipe, seed=seed)


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
        The series as the model saw it, and its scores, for `judging.judged`.
    """
    check_types(stack, bundle)
    check_recipe(bundle, recipe)
    model, options = examiner(bundle, recipe)
    where = choose_device(device)
    prepared = prepare(stack, model, where, with_imputed=recipe.imputed_references, slicing=planes)
    with inference(where):
        parts = examined_planes(
            prepared.slab, prepared.planes, model, options_of(model, options), where, seed, on_step
        )
        return prepared, _scored(prepared, parts, recipe)


def judge(
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
        found = _scored(prepared, _planes_of(prepared, evidence), recipe)
        return judged(prepared, found, bundle, recipe, seed=seed)


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
        parts = examined_planes(
            prepared.slab, prepared.planes, bundle, options_of(bundle, wanted), where, seed, on_step
        )
        healthy = cast("NDArray[np.float32]", heal(prepared, parts))
    said = bundle.provenance(
        seed, options=dict(wanted), **about_planes(prepared), notes=list(prepared.notes)
    )
    return Reconstruction(stack=stack, healthy=prepared.turned_back(healthy), provenance=said)


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
            found = Evidence(healthy=other.slab(one).images[None], features=features)
            yield one, prepared.slab(one), found

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
    visits: Visits,
    bundle: ModelBundle,
    options: Mapping[str, Any],
    device: torch.device,
    seed: int,
    on_step: OnStep | None,
) -> Evidence:
    """Run the method on every plane of a series, at all visits together.

    Parameters
    ----------
    visits
        Prepared visits, on `device`.
    bundle
        The model.
    options
        The method's own, by name.
    device
        Where to compute.
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

    def slab(places: slice) -> Visits:
        return replace(visits, images=visits.images[:, :, places])

    planes = range(visits.images.shape[2])
    found = examined_planes(
        slab, planes, bundle, options_of(bundle, options), device, seed, on_step
    )
    return _joined([evidence for _, _, evidence in found])


def _scored(prepared: Prepared, parts: Iterable[Part], recipe: Recipe) -> Scored:
    """Score a series, and refuse scores that say nothing."""
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
