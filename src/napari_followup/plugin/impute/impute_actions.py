"""Impute visits of a napari layer: a layer in, layer data tuples out.

`impute_layers` needs no window; the widget *Impute visits* runs it in a thread. A stopped run gives
the visits that were finished, with a note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.utils.transforms import Affine
from numpy.typing import NDArray

from napari_followup.plugin.layers.layers import (
    KEY,
    LayerTuple,
    Series,
    Source,
    result_layer,
    series_of,
    source_of,
    to_layer_axes,
)
from napari_followup.plugin.layers.result_layers import score_layer, shared_provenance
from napari_followup.plugin.run.report import MODEL, Report, by_plane, chosen_bundle, subject_steps
from napari_followup.prediction.gaps import DRAWS
from napari_followup.recipe.recipe import Recipe
from napari_followup.series.plane_selection import Slicing
from napari_followup.series.results import Cancelled, Imputation
from napari_followup.series.stack import VisitStack

if TYPE_CHECKING:
    from napari_followup.models.bundle import ModelBundle

__all__ = [
    "ImputePlan",
    "cropped",
    "impute_layers",
]


def cropped(source: Source, slicing: Slicing | None) -> Source:
    """Source of some planes alone, at their places in space.

    Parameters
    ----------
    source
        Of a layer with a z axis.
    slicing
        Which planes; all of them when none are given.

    Returns
    -------
    Source
        Its data are a view; scale and translation are those of the planes.
    """
    if slicing is None:
        return source
    place = source.axes.index(slicing.axis)
    planes = slice(slicing.first, slicing.last, slicing.step)
    said = dict(source.about)
    if said.get("affine") is not None:
        said["affine"] = slicing.affine_of(np.asarray(said["affine"])).tolist()
    return replace(
        source,
        data=source.data[(slice(None),) * place + (planes,)],
        geometry=_moved(source, place, slicing),
        about=said,
        spacing=slicing.spacing_of(source.spacing),
    )


def _moved(source: Source, place: int, slicing: Slicing) -> dict[str, object]:
    """Geometry of a layer that begins with the first plane kept."""
    known = {
        name: source.geometry[name]
        for name in ("scale", "translate", "rotate", "shear")
        if name in source.geometry
    }
    if not known:
        return source.geometry
    whole = Affine(ndim=len(source.axes), **known)
    scale = np.array(whole.scale, float)
    scale[place] *= slicing.step
    moved = np.asarray(whole.translate) + slicing.first * whole.linear_matrix[:, place]
    return source.geometry | {"scale": scale, "translate": moved}


@dataclass(frozen=True, kw_only=True)
class ImputePlan:
    """How to impute, and which maps come back beside the images."""

    strategy: str = "joint"
    draws: int = DRAWS
    sampling_steps: int | None = None
    spread: bool = False  # needs two draws or more
    residual: bool = False
    planes: Slicing | None = None  # of volumes; the result holds these alone
    device: str = "auto"
    seed: int = 0

    @property
    def how(self) -> dict[str, Any]:
        """Settings of `imputation`, by name."""
        names = ("strategy", "draws", "sampling_steps", "device", "seed", "planes")
        return {name: getattr(self, name) for name in names}


@dataclass(eq=False, kw_only=True)
class _Made:
    """Imputations of the subjects, in the order of the layer; None where nothing was imputed."""

    series: list[Series]
    found: list[Imputation | None]
    notes: list[str]
    planes: Slicing | None = None
    is_stopped: bool = False

    def stack(self, subject: int) -> VisitStack:
        """Series of a subject, with its imputed visits."""
        found = self.found[subject]
        if found is not None:
            return found.stack
        stack = self.series[subject].stack
        return stack if self.planes is None else self.planes.crop(stack)


def impute_layers(
    image: Image | Source,
    model: str = MODEL,
    ages: Sequence[float] | None = None,
    plan: ImputePlan | None = None,
    *,
    report: Report | None = None,
) -> list[LayerTuple]:
    """Impute visits of a layer.

    Parameters
    ----------
    image
        A layer of visits, or what `source_of` took of it. Of several subjects, the missing visits
        of each are imputed in their places.
    model
        Name of an embedded model, or a file.
    ages
        In years, for a layer of one subject; those of its missing visits when none are given.
    plan
        How to impute, and which maps come back.
    report
        Progress and stop.

    Returns
    -------
    list of LayerTuple
        The images; then the spread over the draws and the temporal residual of the observed visits,
        where `plan` asks for them. All have the visits of the images.

    Raises
    ------
    ValueError
        If the model has no TDM, an age cannot be reached, or nothing is missing.
    Cancelled
        If the report was stopped before a visit was finished.
    """
    source, plan, report = source_of(image), plan or ImputePlan(), report or Report()
    bundle = chosen_bundle(model, report)
    report.phase("Imputing")
    made = _impute_each(source, bundle, ages, plan, report)
    residuals = None
    if plan.residual and not made.is_stopped:
        residuals = _residuals(source, made, bundle, plan, report)
    provenance = _provenance(source, made)
    target, series = _target(cropped(source, plan.planes), made)
    images = [_floats(each.stack.images) for each in series]
    data = to_layer_axes(target, series, images)
    layers = [result_layer(target, data, "imputed", "image", provenance, **source.display)]
    if residuals is not None:
        layers.append(score_layer(target, series, residuals, "temporal residual", provenance))
    spreads = [None if found is None else found.spread for found in made.found]
    if plan.spread and any(spread is not None for spread in spreads):
        is_on_top = residuals is None
        layers.append(score_layer(target, series, spreads, "spread", provenance, visible=is_on_top))
    return [_with_visits(layer, target) for layer in layers]


def _impute_each(
    source: Source,
    bundle: ModelBundle,
    ages: Sequence[float] | None,
    plan: ImputePlan,
    report: Report,
) -> _Made:
    """Impute subject by subject, until the end or a stop."""
    from napari_followup.prediction.impute import imputation

    series = [series_of(source, subject) for subject in range(source.n_subjects)]
    if len(series) > 1 and not any(each.stack.is_missing.any() for each in series):
        raise ValueError(f"no subject of {source.name!r} misses a visit; choose a single subject")
    made = _Made(series=series, found=[None] * len(series), notes=[], planes=plan.planes)
    try:
        for subject, on_step in enumerate(subject_steps(report, len(series))):
            stack = series[subject].stack
            if len(series) > 1 and not stack.is_missing.any():
                continue
            try:
                visits = int(stack.is_missing.sum()) if ages is None else len(ages)
                rounds = 1 if plan.strategy == "chain" else visits
                step = by_plane(on_step, series[subject], plan.planes, rounds)
                made.found[subject] = imputation(stack, bundle, ages, on_step=step, **plan.how)
            except ValueError as error:
                if len(series) == 1:
                    raise
                made.notes.append(f"{stack.subject} was left unchanged: {error}")
    except Cancelled as stop:
        if stop.partial is not None:
            made.found[subject] = stop.partial
        made.is_stopped = True
        if not any(made.found):
            raise
        made.notes.append(_how_far(made, ages))
    if not any(made.found):
        raise ValueError(made.notes[0])
    return made


def _how_far(made: _Made, ages: Sequence[float] | None) -> str:
    done = sum(int(each.imputed.sum()) for each in made.found if each is not None)
    missing = sum(int(each.stack.is_missing.sum()) for each in made.series)
    wanted = missing if ages is None else len(ages)
    return f"stopped: {done} of {wanted} visit{'s' * (wanted != 1)} imputed"


def _residuals(
    source: Source, made: _Made, bundle: ModelBundle, plan: ImputePlan, report: Report
) -> list[NDArray[np.float32] | None] | None:
    """Temporal residual of each subject on the visits of its result; none after a stop."""
    from napari_followup.detection.detect import detect

    maps: list[NDArray[np.float32] | None] = []
    try:
        report.phase("Temporal residual")
        for subject, on_step in enumerate(subject_steps(report, len(made.series))):
            before, after = made.series[subject].stack, made.stack(subject)
            try:
                score = detect(
                    before,
                    bundle,
                    Recipe.temporal(),
                    device=plan.device,
                    seed=plan.seed,
                    on_step=by_plane(on_step, made.series[subject], plan.planes),
                    planes=plan.planes,
                ).score
            except ValueError as error:
                made.notes.append(f"no temporal residual of {before.subject}: {error}")
                maps.append(None)
                continue
            if plan.planes is not None:
                score = plan.planes.cropped(score, before)
            whole = np.full((after.n_visits, *score.shape[1:]), np.nan, np.float32)
            whole[after.is_observed] = score[before.is_observed]
            maps.append(whole)
    except Cancelled:
        made.notes.append("stopped before the temporal residual was finished")
        return None
    return maps if any(each is not None for each in maps) else None


def _target(source: Source, made: _Made) -> tuple[Source, list[Series]]:
    """Source and series of the results: the source with all visits it has now."""
    stacks = [made.stack(subject) for subject in range(len(made.series))]
    orders = [each.order for each in made.series]
    data = source.data
    if "s" not in source.axes:
        orders = [np.arange(stacks[0].n_visits)]
        sizes = dict(zip(source.axes, data.shape, strict=True)) | {"v": stacks[0].n_visits}
        data = np.broadcast_to(np.float32(0), tuple(sizes[letter] for letter in source.axes))
    series = [Series(stack=stack, order=order) for stack, order in zip(stacks, orders, strict=True)]
    rows = [_visits_of(each) for each in series]
    said = (
        {name: [row[name] for row in rows] for name in rows[0]} if "s" in source.axes else rows[0]
    )
    ages = None if source.ages is None else np.array(said["ages"])
    return replace(source, data=data, ages=ages, about=source.about | said), series


def _visits_of(series: Series) -> dict[str, list[Any]]:
    """One value a visit, from the order of the stack into that of the layer."""
    stack, place = series.stack, np.argsort(series.order)
    values = {
        "ages": stack.ages,
        "is_observed": stack.is_observed,
        "is_imputed": ~stack.is_observed & ~stack.is_missing,
    }
    return {name: each[place].tolist() for name, each in values.items()}


def _floats(images: Any) -> NDArray[Any]:
    """Images in a type that can hold fractions and NaN."""
    array = np.asarray(images)
    return np.asarray(array, np.result_type(array.dtype, np.float32))


def _provenance(source: Source, made: _Made) -> dict[str, Any]:
    """How the visits were imputed; its ages are those of the finished visits."""
    said = [
        None
        if each is None
        else each.provenance | {"imputed_ages": each.stack.ages[each.imputed].tolist()}
        for each in made.found
    ]
    shared = shared_provenance(source.subjects, said)
    notes = dict.fromkeys(note for each in said if each for note in each.get("notes", ()))
    return shared | {"notes": [*notes, *made.notes]}


def _with_visits(layer: LayerTuple, target: Source) -> LayerTuple:
    """Add the ages even where they are assumed, and the place of the images in space."""
    data, attributes, kind = layer
    said = attributes["metadata"][KEY] | {"ages": target.about["ages"]}
    if "affine" in target.about:
        said["affine"] = target.about["affine"]
    return data, attributes | {"metadata": {KEY: said}}, kind
