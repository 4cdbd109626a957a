"""Find what is abnormal in one patient's series: the door of scripts, command line and widgets.

`detect` is the whole way. `reconstruct`, `score_pair` and `fuse_scores` are its steps, to be
chained by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_followup.bundle import ModelBundle
from napari_followup.cutting import Cut, segment
from napari_followup.device import (
    choose_device,
    fast_networks,
    halving,
    inference,
    planes_at_once,
)
from napari_followup.methods import method_class, method_recipe
from napari_followup.methods.method import Evidence, Visits
from napari_followup.preparation import Prepared, check_types, prepare, visits_of
from napari_followup.recipe import Fusion, Recipe, Score
from napari_followup.results import Cancelled, Detection, Reconstruction
from napari_followup.scores.image import image_scores
from napari_followup.scoring import examiner, fuse, score_series, score_stages
from napari_followup.stack import VisitStack

__all__ = ["detect", "examine", "fuse_scores", "judge", "reconstruct", "score_pair"]

STRANGE = 0.2  # share of marked pixels above which the images are taken for foreign to the model

OnStep = Callable[[int, int], "bool | None"]


def detect(
    stack: VisitStack,
    bundle: ModelBundle,
    recipe: Recipe | None = None,
    *,
    device: str = "auto",
    seed: int = 0,
    on_step: OnStep | None = None,
) -> Detection:
    """Reconstruct, score, fuse and segment one patient's visits.

    Parameters
    ----------
    stack
        The series; missing visits stay missing in the result.
    bundle
        The trained model.
    recipe
        How evidence becomes a mask. When none is given, the one that measures best with the model's
        method, for an SDM `Recipe.default`; `Recipe.published` is the thesis'.
    device
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    seed
        Source of all noise; the same seed gives the same result.
    on_step
        Called with the network calls done and to do; return False to stop.

    Returns
    -------
    Detection
        Maps ``(visit, z, y, x)`` in the order of ``stack``, whose visits stand by age.

    Raises
    ------
    ValueError
        If the model and the series do not go together, or the recipe asks for what the method
        cannot give.
    Cancelled
        If `on_step` returned False.
    """
    check_types(stack, bundle)
    recipe = recipe or method_recipe(bundle.method)
    model, options = examiner(bundle, recipe)
    where = choose_device(device)
    prepared = prepare(stack, model, where, with_imputed=recipe.imputed_references)
    with inference(where):
        evidence = examine(prepared.visits, model, options, where, seed, on_step)
        return judge(prepared, evidence, bundle, recipe, seed=seed)


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
    stages = score_series(prepared.visits, evidence, recipe)
    healthy = (
        None if evidence.healthy is None else prepared.images_back(evidence.healthy.mean(dim=0))
    )
    image_score = prepared.spread(image_scores(stages["final"]).float().cpu().numpy())
    maps = {name: prepared.map_back(values) for name, values in stages.items()}
    model, _ = examiner(bundle, recipe)
    known = model.healthy_for(recipe.score_key)
    cut = segment(maps["final"], maps.get("pixel", maps["final"]), recipe, *known)
    score, threshold, floor = _presented(maps.pop("final"), cut, recipe)
    return Detection(
        stack=prepared.stack,
        mask=cut.mask,
        score=score,
        scores=maps,
        healthy=healthy,
        image_score=image_score,
        threshold=threshold,
        floor=floor,
        provenance=model.provenance(
            seed,
            recipe=recipe.as_dict(),
            notes=[*prepared.notes, *cut.notes, *_remarks(cut.mask, prepared.observed)],
        ),
    )


def reconstruct(
    stack: VisitStack,
    bundle: ModelBundle,
    *,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    seed: int = 0,
    on_step: OnStep | None = None,
) -> Reconstruction:
    """Pseudo-healthy images of every visit: the mean of the method's draws.

    Parameters
    ----------
    stack, bundle, device, seed, on_step
        As for `detect`, and so are the errors.
    options
        The method's own, by name; those of its best recipe when none are given.

    Returns
    -------
    Reconstruction
        In the shape and intensity units of ``stack.images``.
    """
    where = choose_device(device)
    prepared = prepare(stack, bundle, where)
    wanted = method_recipe(bundle.method).options if options is None else options
    with inference(where):
        evidence = examine(prepared.visits, bundle, wanted, where, seed, on_step)
        if evidence.healthy is None:
            raise ValueError(f"method {bundle.method!r} gives no healthy images")
        healthy = prepared.images_back(evidence.healthy.mean(dim=0))
    said = bundle.provenance(seed, options=dict(wanted), notes=list(prepared.notes))
    return Reconstruction(stack=stack, healthy=healthy, provenance=said)


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
    other = visits_of(stack, healthy, prepared.scalings, bundle.image_size, where)
    with inference(where):
        features = getattr(bundle.build(where), "examine_features", None)
        evidence = Evidence(healthy=other.images[None], features=features)
        stages = score_stages(prepared.visits, evidence, score)
        return {name: prepared.map_back(values) for name, values in stages.items()}


def fuse_scores(
    scores: NDArray[np.floating], ages: NDArray[np.floating], fusion: Fusion
) -> NDArray[np.float32]:
    """Correct each visit's scores by those of the other visits.

    Parameters
    ----------
    scores
        ``(visit, z, y, x)``; a visit of NaN stays out and stays NaN.
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
    present = np.isfinite(scores).all(axis=(1, 2, 3))
    fused = np.full(scores.shape, np.nan, np.float32)
    values = torch.from_numpy(np.ascontiguousarray(scores[present], np.float32))
    fused[present] = fuse(
        values, torch.from_numpy(np.asarray(ages, float)[present]), fusion
    ).numpy()
    return fused


def examine(
    visits: Visits,
    bundle: ModelBundle,
    options: Mapping[str, Any],
    device: torch.device,
    seed: int,
    on_step: OnStep | None,
) -> Evidence:
    """Run the method on as many planes as fit at once, with fewer when memory runs out.

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
        Source of all noise.
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
    method = bundle.build(device)
    settings = _options(bundle, options)

    def in_blocks(planes: int) -> Evidence:
        parts = list(_slabs(visits, planes))
        found = []
        for index, part in enumerate(parts):
            generator = torch.Generator().manual_seed(seed + index)
            counted = counting(on_step, index, len(parts))
            with fast_networks(device):
                found.append(method.examine(part, settings, generator, counted))
        return _joined(found)

    planes = planes_at_once(device, bundle.image_size)
    if method.samples == "series":  # each plane is seen together with those of all other visits
        planes //= len(visits.ages)
    return halving(in_blocks, max(1, planes))


def _options(bundle: ModelBundle, options: Mapping[str, Any]) -> Any:
    kind = method_class(bundle.method).options_type
    known = kind.__dataclass_fields__
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(
            f"method {bundle.method!r} has no option {', '.join(unknown)}; "
            f"it has {', '.join(known)}"
        )
    return kind(**options)


def _slabs(visits: Visits, planes: int) -> Iterator[Visits]:
    """All visits, as many z planes at a time as the budget holds, one at least."""
    count, _, depth = visits.images.shape[:3]
    thickness = max(1, planes // count)
    for start in range(0, depth, thickness):
        yield Visits(images=visits.images[:, :, start : start + thickness], ages=visits.ages)


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


def counting(on_step: OnStep | None, index: int, parts: int) -> Callable[[int, int], None]:
    """Make an `on_step` for one of several parts that counts over all and raises to stop.

    Parameters
    ----------
    on_step
        Called with the calls done and to do over all parts; return False to stop.
    index, parts
        Which of how many parts of equal length.

    Returns
    -------
    callable
        Takes the calls done and to do in this part; raises `Cancelled`.
    """

    def step(done: int, total: int) -> None:
        if on_step is not None and on_step(index * total + done, parts * total) is False:
            raise Cancelled("stopped before the end")

    return step


def _remarks(mask: NDArray[np.bool_], observed: NDArray[np.intp]) -> list[str]:
    """Say what a mask tells of the whole run."""
    share = float(mask[observed].mean())
    if share < STRANGE:
        return []
    return [
        f"{100 * share:.0f} % of all pixels are marked: these images do not look like those the "
        "model was trained on, so neither scores nor mask mean much"
    ]


def _presented(
    score: NDArray[np.float32], cut: Cut, recipe: Recipe
) -> tuple[NDArray[np.float32], float, float | None]:
    """Score, threshold and floor, min-max rescaled together where the recipe says so."""
    low, high = float(np.nanmin(score)), float(np.nanmax(score))
    if not recipe.rescale or low == high:
        return score, cut.threshold, cut.floor
    floor = None if cut.floor is None else (cut.floor - low) / (high - low)
    return (score - low) / (high - low), (cut.threshold - low) / (high - low), floor
