"""What the widgets' threads run: plain values in, layer tuples out.

The doors are imported here, when they are needed. Nothing in this module touches a viewer or Qt, so
every function can be called from a script.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_followup.plugin.layers.layers import (
    LayerTuple,
    Series,
    Source,
    result_layer,
    series_of,
    to_layer_axes,
)
from napari_followup.plugin.layers.result_layers import Found, score_layer, shared_provenance
from napari_followup.plugin.run.report import Report, by_plane, chosen_bundle, subject_steps
from napari_followup.recipe.recipe import Fam, Fusion, Recipe, Score
from napari_followup.series.plane_selection import Slicing
from napari_followup.series.results import Detection

if TYPE_CHECKING:
    from napari_followup.models.bundle import ModelBundle

__all__ = [
    "detect_layers",
    "fam_layers",
    "lafm_layers",
    "reconstruct_layers",
]

Value = TypeVar("Value")
Each = tuple[tuple[Series | None, ...], tuple[Value | None, ...], list[str]]
"""Of every subject its series and what was found in it, none where it was left out; and notes."""


def detect_layers(
    source: Source,
    model: str,
    recipe: Recipe,
    *,
    device: str = "auto",
    seed: int = 0,
    planes: Slicing | None = None,
    report: Report | None = None,
) -> Found:
    """Detect anomalies in every subject of a layer, at one threshold if the recipe says so.

    Parameters
    ----------
    source
        The layer, as `source_of` took it.
    model
        Name of an embedded model, or a file.
    recipe
        How evidence becomes a mask.
    device, seed, planes
        As for `detect`.
    report
        Progress and stop.

    Returns
    -------
    Found
        `detection_layers` makes layers of it. Of several subjects, those that cannot be examined
        are left out and named in its notes.

    Raises
    ------
    ValueError
        If the model cannot be read, or no subject be examined.
    Cancelled
        If the report was stopped.
    """
    report = report or Report()
    bundle = chosen_bundle(model, report)
    together = recipe.is_pooled and source.n_subjects > 1
    run = partial(_cut_together if together else _cut_alone, source, bundle, recipe, report)
    series, found, notes = run(device=device, seed=seed, planes=planes)
    said = dict.fromkeys(
        note for each in found if each for note in each.provenance.get("notes", ())
    )
    return Found(source=source, series=series, detections=found, notes=(*notes, *said))


def _cut_alone(
    source: Source, bundle: ModelBundle, recipe: Recipe, report: Report, **settings: Any
) -> Each[Detection]:
    """Detect subject by subject; `settings` are those of `detect`."""
    from napari_followup.detection.detect import detect

    report.phase("Detecting")

    def run(each: Series, step: Callable[..., bool]) -> Detection:
        told = by_plane(step, each, settings["planes"])
        return detect(each.stack, bundle, recipe, on_step=told, **settings)

    return _each_subject(source, report, run)


def _cut_together(
    source: Source, bundle: ModelBundle, recipe: Recipe, report: Report, **settings: Any
) -> Each[Detection]:
    """Examine every subject, then cut all of them at one threshold."""
    from napari_followup.detection.cohort import Cohort

    cohort = Cohort(bundle, recipe, **settings)

    def add(each: Series, step: Callable[..., bool]) -> bool:
        cohort.add(each.stack, on_step=by_plane(step, each, settings["planes"]))
        return True

    report.phase("Detecting")
    series, added, notes = _each_subject(source, report, add)
    report.phase("Cutting all subjects at one threshold")
    return series, tuple(cohort.segment() if is_in else None for is_in in added), notes


def reconstruct_layers(
    source: Source,
    model: str,
    options: Mapping[str, Any],
    *,
    device: str = "auto",
    seed: int = 0,
    planes: Slicing | None = None,
    report: Report | None = None,
) -> list[LayerTuple]:
    """Make the pseudo-healthy images of a layer; parameters and errors as `detect_layers`."""
    report = report or Report()
    bundle = chosen_bundle(model, report)
    from napari_followup.detection.steps import reconstruct

    report.phase("Reconstructing")
    run = partial(
        reconstruct, bundle=bundle, options=options, device=device, seed=seed, planes=planes
    )
    series, found, _ = _each_subject(
        source, report, lambda each, step: run(each.stack, on_step=by_plane(step, each, planes))
    )
    data = to_layer_axes(source, series, [None if each is None else each.healthy for each in found])
    said = shared_provenance(
        source.subjects, [None if each is None else each.provenance for each in found]
    )
    return [result_layer(source, data, "healthy", "image", said, **source.display)]


def fam_layers(
    source: Source,
    healthy: Source,
    model: str,
    score: Score | None = None,
    *,
    device: str = "auto",
    report: Report | None = None,
) -> list[LayerTuple]:
    """Score a layer against a layer of healthy images, stage by stage.

    Parameters and errors as for `detect_layers`.
    """
    if source.data.shape != healthy.data.shape:
        raise ValueError(
            f"{healthy.name!r} has the shape {healthy.data.shape}, {source.name!r} has "
            f"{source.data.shape}; choose the healthy images of this series"
        )
    report, score = report or Report(), score or Fam()
    bundle = chosen_bundle(model, report)
    from napari_followup.detection.steps import score_pair

    report.phase("Scoring")

    def run(each: Series, subject: int) -> dict[str, Any]:
        other = np.asarray(_aligned(healthy, source, subject, each))
        return score_pair(each.stack, other, bundle, score, device=device)

    subjects = iter(range(source.n_subjects))
    series, found, _ = _each_subject(source, report, lambda each, step: run(each, next(subjects)))
    said = {
        "model": bundle.name,
        "model_version": bundle.version,
        "healthy": healthy.name,
        "score": repr(score),
    }
    *others, last = next(each for each in found if each is not None)
    maps = {
        stage: [None if each is None else each[stage] for each in found]
        for stage in (*others, last)
    }
    return [
        score_layer(source, series, values, stage, said, visible=stage == last)
        for stage, values in maps.items()
    ]


def lafm_layers(
    source: Source, fusion: Fusion, *, report: Report | None = None
) -> list[LayerTuple]:
    """Fuse a layer of scores over visits; missing visits stay out. Errors as `detect_layers`."""
    report = report or Report()
    report.phase("Fusing")
    from napari_followup.detection.steps import fuse_scores

    def run(each: Series, step: Callable[[int, int], bool]) -> Any:
        scores = np.asarray(each.stack.images[:, 0], dtype=np.float32)
        return fuse_scores(scores, each.stack.ages, fusion)

    series, found, _ = _each_subject(source, report, run)
    said = {**source.about.get("provenance", {}), "fusion": repr(fusion)}
    return [score_layer(source, series, found, "fused", said)]


def _each_subject(
    source: Source, report: Report, run: Callable[[Series, Callable[[int, int], bool]], Value]
) -> Each[Value]:
    """Run subject by subject; a subject that cannot be examined does not stop the others."""
    series: list[Series | None] = []
    found: list[Value | None] = []
    notes: list[str] = []
    for subject, step in enumerate(subject_steps(report, source.n_subjects)):
        try:
            each = series_of(source, subject)
            found.append(run(each, step))
            series.append(each)
        except (TypeError, ValueError) as error:
            if source.n_subjects == 1 or (
                subject == source.n_subjects - 1 and not any(s is not None for s in series)
            ):
                raise
            series.append(None)
            found.append(None)
            notes.append(f"{source.subjects[subject]} was left out: {error}")
    return tuple(series), tuple(found), notes


def _aligned(healthy: Source, source: Source, subject: int, each: Series) -> Any:
    """Healthy images of one subject in the shape and visit order of its stack."""
    axes, data = source.axes, healthy.data
    if "s" in axes:
        data = data[(slice(None),) * axes.index("s") + (subject,)]
        axes = axes.replace("s", "")
    letters = [letter for letter in "vmzyx" if letter in axes]
    moved = data.transpose([axes.index(letter) for letter in letters])
    return moved.reshape(each.stack.shape)[each.order]
