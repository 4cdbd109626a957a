"""Detection and its steps as functions of napari layers: layers in, layer data tuples out.

They need no window, and the widgets run them in a thread. The library is imported when it is
needed::

    from napari_followup.plugin.detect.actions import fam_layers, lafm_layers, reconstruct_layers

    (healthy,) = reconstruct_layers(scan, "starmen", {"draws": 2})
    scores = fam_layers(scan, Layer.create(*healthy), "starmen")
    (fused,) = lafm_layers(Layer.create(*scores[-1]))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from napari.layers import Image

from napari_followup.plugin.layers.layers import (
    LayerTuple,
    Series,
    Source,
    result_layer,
    series_of,
    source_of,
    to_layer_axes,
)
from napari_followup.plugin.layers.result_layers import Found, score_layer, shared_provenance
from napari_followup.plugin.run.report import MODEL, Report, by_plane, chosen_bundle, subject_steps
from napari_followup.recipe.recipe import Fam, Lafm, Recipe, Support
from napari_followup.series.plane_selection import Slicing
from napari_followup.series.results import Detection, Reconstruction

if TYPE_CHECKING:
    from napari_followup.models.bundle import ModelBundle

__all__ = [
    "detect_layers",
    "fam_layers",
    "lafm_layers",
    "reconstruct_layers",
]

Value = TypeVar("Value")
OnStep = Callable[..., bool]
Each = tuple[tuple[Series | None, ...], tuple[Value | None, ...], list[str]]
"""Series and result of every subject, None for one that was left out; and notes."""


def detect_layers(
    image: Image | Source,
    model: str = MODEL,
    recipe: Recipe | None = None,
    *,
    device: str = "auto",
    seed: int = 0,
    planes: Slicing | None = None,
    report: Report | None = None,
) -> Found:
    """Detect anomalies in every subject of a layer, with one threshold if the recipe says so.

    Parameters
    ----------
    image
        A layer of visits, or what `source_of` took of it.
    model
        Name of an embedded model, or a file.
    recipe
        How scores become a mask; the default recipe when none is given.
    device
        Where the model runs; auto takes a GPU if there is one.
    seed
        Source of all noise; the same seed gives the same result.
    planes
        Which planes of volumes are examined; all across z when none are given.
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
        If the model cannot be read, or no subject can be examined.
    Cancelled
        If the report was stopped.
    """
    source, recipe, report = source_of(image), recipe or Recipe.default(), report or Report()
    bundle = chosen_bundle(model, report)
    report.phase("Detecting")
    together = recipe.is_pooled and source.n_subjects > 1
    run = partial(_detect_together if together else _detect_each, source, bundle, recipe, report)
    series, found, notes = run(device=device, seed=seed, planes=planes)
    own = dict.fromkeys(note for each in found if each for note in each.provenance.get("notes", ()))
    return Found(source=source, series=series, detections=found, notes=(*notes, *own))


def _detect_each(
    source: Source, bundle: ModelBundle, recipe: Recipe, report: Report, **settings: Any
) -> Each[Detection]:
    """Detect subject by subject; `settings` are those of `detect`."""
    from napari_followup.detection.detect import detect

    def run(each: Series, step: OnStep, _: int) -> Detection:
        on_step = by_plane(step, each, settings["planes"])
        return detect(each.stack, bundle, recipe, on_step=on_step, **settings)

    return _each_subject(source, report, run)


def _detect_together(
    source: Source, bundle: ModelBundle, recipe: Recipe, report: Report, **settings: Any
) -> Each[Detection]:
    """Examine every subject, then segment all of them with one threshold."""
    from napari_followup.detection.cohort import Cohort

    cohort = Cohort(bundle, recipe, **settings)

    def add(each: Series, step: OnStep, _: int) -> bool:
        cohort.add(each.stack, on_step=by_plane(step, each, settings["planes"]))
        return True

    series, added, notes = _each_subject(source, report, add)
    report.phase("Segmenting all subjects with one threshold")
    return series, tuple(cohort.segment() if is_in else None for is_in in added), notes


def reconstruct_layers(
    image: Image | Source,
    model: str = MODEL,
    options: Mapping[str, Any] | None = None,
    *,
    planes: Slicing | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    seed: int = 0,
    report: Report | None = None,
) -> list[LayerTuple]:
    """Make the pseudo-healthy images of a layer.

    Parameters
    ----------
    image
        A layer of visits, or what `source_of` took of it.
    model
        Name of an embedded model, or a file.
    options
        Of the model's method, by name; those of its default recipe when none are given.
    planes
        Which planes of volumes are reconstructed; all across z when none are given.
    device
        Where the model runs; auto takes a GPU if there is one.
    seed
        Source of all noise; the same seed gives the same result.
    report
        Progress and stop.

    Returns
    -------
    list of LayerTuple
        One image layer, in the intensities of the source; NaN where a visit is missing.

    Raises
    ------
    ValueError
        If the model cannot be read or gives no healthy images, or no subject can be examined.
    Cancelled
        If the report was stopped.
    """
    source, report = source_of(image), report or Report()
    bundle = chosen_bundle(model, report)
    from napari_followup.detection.steps import reconstruct

    report.phase("Reconstructing")
    settings: dict[str, Any] = {
        "options": options,
        "device": device,
        "seed": seed,
        "planes": planes,
    }

    def run(each: Series, step: OnStep, _: int) -> Reconstruction:
        return reconstruct(each.stack, bundle, on_step=by_plane(step, each, planes), **settings)

    series, found, _ = _each_subject(source, report, run)
    data = to_layer_axes(source, series, [None if each is None else each.healthy for each in found])
    provenance = shared_provenance(
        source.subjects, [None if each is None else each.provenance for each in found]
    )
    return [result_layer(source, data, "healthy", "image", provenance, **source.display)]


def fam_layers(
    image: Image | Source,
    healthy: Image | Source,
    model: str = MODEL,
    score: Fam = Fam(),  # noqa: B008  frozen
    *,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    report: Report | None = None,
) -> list[LayerTuple]:
    """Score a layer against its pseudo-healthy images, stage by stage.

    Parameters
    ----------
    image
        A layer of visits, or what `source_of` took of it.
    healthy
        Pseudo-healthy images of the same shape, as from `reconstruct_layers`.
    model
        Name of an embedded model, or a file; its features are compared.
    score
        How features are compared.
    device
        Where the model runs; auto takes a GPU if there is one.
    report
        Progress and stop.

    Returns
    -------
    list of LayerTuple
        One image layer a stage: pixel distance, feature distance, FAM; the last one is visible.

    Raises
    ------
    ValueError
        If the shapes differ, the model cannot be read or has no features, or no subject can be
        examined.
    Cancelled
        If the report was stopped.
    """
    source, report = source_of(image), report or Report()
    other = source_of(healthy, axes=source.axes)
    if source.data.shape != other.data.shape:
        raise ValueError(
            f"{other.name!r} has the shape {other.data.shape}, {source.name!r} has "
            f"{source.data.shape}; choose the healthy images of this series"
        )
    bundle = chosen_bundle(model, report)
    from napari_followup.detection.steps import score_pair

    report.phase("Scoring")

    def run(each: Series, step: OnStep, subject: int) -> dict[str, Any]:
        images = np.asarray(_aligned(other, source, subject, each))
        return score_pair(each.stack, images, bundle, score, device=device)

    series, found, _ = _each_subject(source, report, run)
    provenance = {
        "model": bundle.name,
        "model_version": bundle.version,
        "healthy": other.name,
        "score": repr(score),
    }
    *others, last = next(each for each in found if each is not None)
    maps = {
        stage: [None if each is None else each[stage] for each in found]
        for stage in (*others, last)
    }
    return [
        score_layer(source, series, values, stage, provenance, visible=stage == last)
        for stage, values in maps.items()
    ]


def lafm_layers(
    image: Image | Source,
    fusion: Lafm | Support = Lafm(),  # noqa: B008  frozen
    *,
    report: Report | None = None,
) -> list[LayerTuple]:
    """Fuse the scores of a layer over its visits; missing visits stay out.

    Parameters
    ----------
    image
        A layer of scores, such as the last one of `fam_layers`, or what `source_of` took of it.
    fusion
        How a visit's scores are corrected by those of the other visits.
    report
        Progress and stop.

    Returns
    -------
    list of LayerTuple
        One image layer.

    Raises
    ------
    ValueError
        If no subject can be examined.
    Cancelled
        If the report was stopped.
    """
    source, report = source_of(image), report or Report()
    report.phase("Fusing")
    from napari_followup.detection.steps import fuse_scores

    def run(each: Series, step: OnStep, _: int) -> Any:
        scores = np.asarray(each.stack.images[:, 0], dtype=np.float32)
        return fuse_scores(scores, each.stack.ages, fusion)

    series, found, _ = _each_subject(source, report, run)
    provenance = {**source.about.get("provenance", {}), "fusion": repr(fusion)}
    return [score_layer(source, series, found, "fused", provenance)]


def _each_subject(
    source: Source, report: Report, run: Callable[[Series, OnStep, int], Value]
) -> Each[Value]:
    """Run subject by subject; a subject that cannot be examined does not stop the others."""
    series: list[Series | None] = []
    found: list[Value | None] = []
    notes: list[str] = []
    for subject, step in enumerate(subject_steps(report, source.n_subjects)):
        try:
            each = series_of(source, subject)
            found.append(run(each, step, subject))
            series.append(each)
        except (TypeError, ValueError) as error:
            is_last = subject == source.n_subjects - 1
            if is_last and not any(before is not None for before in series):
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
