"""Stream a series through detection: slabs of planes in, maps out.

This driver alone deals with arrays on disk: it allocates, fills, releases and returns them. What is
done to a slab of planes, to a plane with its neighbours or to a visit is done by pure functions of
arrays in memory, in `prepare`, `score` and `segment`. So memory does not grow with the number of
planes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_followup.detection.prepare import (
    Examiner,
    Prepared,
    check_contrast,
    check_series,
    fit_notes,
    visit_notes,
)
from napari_followup.detection.score import Bounds, bounds_of, final_stages, raw_stages
from napari_followup.detection.segment import (
    SAMPLE,
    Levels,
    Thresholds,
    cleaning_of,
    computed_threshold,
    examined_in,
    flagged,
    levels_of,
    pooled_quantile,
    visit_quantiles,
    yen_thresholds,
)
from napari_followup.methods.method import Evidence, Visits
from napari_followup.models.bundle import HealthyScores, ModelBundle
from napari_followup.recipe.recipe import Quantile, Recipe, Yen
from napari_followup.scores.filters import mirrored
from napari_followup.segmentation.masks import cleaned, far_from
from napari_followup.series.disk_arrays import (
    Output,
    each_visit,
    in_one_file,
    read_once,
    release,
)
from napari_followup.series.intensity import sampled, scaling_of
from napari_followup.series.plane_selection import Slicing
from napari_followup.series.results import OnStep, counting
from napari_followup.series.stack import VisitStack

__all__ = [
    "Maps",
    "Part",
    "Scored",
    "Segmented",
    "examine_planes",
    "maps_of",
    "own_planes",
    "own_visits",
    "prepare",
    "read_planes",
    "reconstruct_planes",
    "score_planes",
    "segment_maps",
    "segment_series",
    "thresholds_of",
]

FAR = 0.08  # of the shorter side of a plane: how far scores may be high around what is flagged

Part = tuple[slice, Visits, Evidence]
"""Which of the planes, the visits in use there, and what a method found in them."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Scored:
    """Maps of a series on its own grid, turned: ``(visit, plane, row, column)``.

    Attributes
    ----------
    maps
        Every stage of the score by name, ``"final"`` last; NaN where nothing was examined.
    healthy
        ``(visit, modality, plane, row, column)`` in the stack's units, or none.
    image_score
        ``(visit,)``.
    """

    maps: dict[str, NDArray[np.float32]]
    healthy: NDArray[np.float32] | None
    image_score: NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        """Size of all maps and images."""
        healthy = 0 if self.healthy is None else self.healthy.nbytes
        return healthy + sum(maps.nbytes for maps in self.maps.values())

    def on_disk(self) -> Scored:
        """Move maps and images into one temporary file: a process may open only so many."""
        healthy = [] if self.healthy is None else [self.healthy]
        moved = in_one_file([*self.maps.values(), *healthy])
        images = moved.pop() if healthy else None
        return replace(self, maps=dict(zip(self.maps, moved, strict=True)), healthy=images)


def prepare(
    stack: VisitStack,
    bundle: ModelBundle,
    device: torch.device,
    *,
    with_imputed: bool = False,
    slicing: Slicing | None = None,
) -> Prepared:
    """Find out how to scale and resample a series for a model.

    Parameters
    ----------
    stack
        The series; missing visits are left out.
    bundle
        The model, with its value range and image size.
    device
        Where the tensors go.
    with_imputed
        Whether imputed visits are used beside the observed ones, which alone set the scale.
    slicing
        Which planes are examined; all of them set the scale.

    Returns
    -------
    Prepared
        Gives the visits as tensors, and the way back.

    Raises
    ------
    TypeError
        If they are no series and no model.
    ValueError
        If the series has another number of modalities than the model, no contrast at all, or is a
        map that is partly NaN.
    """
    chosen, observed = slicing or Slicing(), np.flatnonzero(stack.is_observed)
    check_series(stack, bundle, chosen)
    images = read_once(stack.images)
    scalings, extremes = [], []
    for modality in range(bundle.modalities):
        sample, ends = [], []
        for visit in observed:
            image = images[visit, modality]
            ends.append((np.min(image), np.max(image)))
            sample.append(sampled(image, len(observed)))
            release(images)
        values = np.concatenate(sample)
        sample.clear()
        scalings.append(scaling_of(values, bundle.value_range))
        extremes.append(ends)
    check_contrast(stack, extremes)
    return Prepared(
        stack=stack,
        images=images,
        slicing=chosen,
        image_size=bundle.image_size,
        device=device,
        scalings=tuple(scalings),
        visit_notes=visit_notes(stack, with_imputed),
        fit_notes=fit_notes(stack, bundle, chosen),
        in_use=~stack.is_missing if with_imputed else stack.is_observed,
    )


def read_planes(prepared: Prepared, places: slice) -> Visits:
    """Read some planes of the visits in use, see `Prepared.slab`."""
    visits = prepared.slab(places)
    release(prepared.images)
    return visits


def own_planes(prepared: Prepared, places: slice) -> NDArray[Any]:
    """Read some planes of all visits as the stack has them, see `Prepared.own`; a copy."""
    planes = prepared.own(places).copy()
    release(prepared.images)
    return planes


def own_visits(prepared: Prepared) -> Iterator[NDArray[Any]]:
    """Planes that are examined, as the stack has them, visit by visit."""
    for (images,) in each_visit(prepared.own(slice(None))):
        yield images


def examine_planes(
    prepared: Prepared, examiner: Examiner, seed: int, on_step: OnStep | None = None
) -> Iterator[Part]:
    """Find the evidence of one plane after another.

    Methods lay out planes and draw noise each in its own way: one plane at a time is what keeps a
    plane's noise, and its result, the same whichever others are examined.

    Parameters
    ----------
    prepared
        The series.
    examiner
        The method and its options.
    seed
        Source of all noise: a plane's depends on it and on the plane's position in the volume.
    on_step
        Called with the network calls done and to do; return False to stop.

    Yields
    ------
    Part
        Of one plane, or of all where the method looks at volumes.

    Raises
    ------
    Cancelled
        If `on_step` returned False.
    """
    count = len(prepared.planes) if examiner.takes_volumes else 1  # which are one sample each
    starts = range(0, len(prepared.planes), count)
    for index, place in enumerate(starts):
        here = slice(place, place + count)
        visits = read_planes(prepared, here)
        generator = torch.Generator().manual_seed(seed + prepared.planes[place])
        yield here, visits, examiner.find(visits, generator, counting(on_step, index, len(starts)))


def score_planes(
    prepared: Prepared, parts: Iterable[Part], recipe: Recipe, *, healthy: bool = True
) -> Scored:
    """Every stage of the score of a series.

    What a plane's score depends on beyond the plane (the highest feature distance, the extremes of
    a reference over visits, the neighbours of a median in space) comes from maps at the model's
    size.

    Parameters
    ----------
    prepared
        The series.
    parts
        What was found in it, part by part; each is dropped before the next is asked for.
    recipe
        Score, fusion and filter.
    healthy
        Whether healthy images are brought onto the series' grid, too.

    Returns
    -------
    Scored
        The same however the planes are divided.

    Raises
    ------
    ValueError
        If the score needs what the method does not give.
    """
    raw, images = _RawStages(prepared), _HealthyImages(prepared)
    for places, visits, evidence in parts:
        if healthy:
            images.put(places, evidence)
        raw.put(places, raw_stages(visits, evidence, recipe.score))
    bounds = bounds_of(raw.each, prepared.ages, recipe)
    maps: dict[str, Output] = {}
    highest: list[Tensor] = []
    for place in range(len(prepared.planes)):
        stages = raw.final(place, recipe, bounds)
        highest.append(stages["final"].flatten(1).amax(dim=1))
        for name, values in stages.items():
            shown = prepared.grid_back(values)
            if name not in maps:
                maps[name] = Output((prepared.stack.n_visits, *prepared.grid))
            maps[name].put(prepared.where(slice(place, place + 1)), shown[prepared.shown])
    scores = torch.stack(highest).amax(dim=0).float().cpu().numpy()
    return Scored(
        maps={name: output.values for name, output in maps.items()},
        healthy=images.values,
        image_score=prepared.spread(scores),
    )


def reconstruct_planes(prepared: Prepared, parts: Iterable[Part]) -> NDArray[np.float32] | None:
    """Healthy images alone: ``(visit, modality, plane, row, column)``, or none."""
    images = _HealthyImages(prepared)
    for places, _, evidence in parts:
        images.put(places, evidence)
    return images.values


class _HealthyImages:
    """Healthy images of the parts of a series, put together on its grid."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._output: Output | None = None

    @property
    def values(self) -> NDArray[np.float32] | None:
        """The images; none where there were none."""
        return None if self._output is None else self._output.values

    def put(self, places: slice, evidence: Evidence) -> None:
        """Add the mean of a part's draws, if there are any."""
        if evidence.healthy is None:
            return
        prepared = self._prepared
        if self._output is None:
            self._output = Output((*prepared.stack.shape[:2], *prepared.grid))
        images = prepared.units_back(evidence.healthy.mean(dim=0))
        self._output.put(prepared.where(places), images[prepared.shown])


class _RawStages:
    """Raw stages of the visits in use at the model's size, plane by plane."""

    def __init__(self, prepared: Prepared) -> None:
        self._depth, self._device = len(prepared.planes), prepared.device
        self._ages = prepared.ages
        self._maps: dict[str, Output] = {}  # (plane, visit, row, column)

    def put(self, places: slice, stages: dict[str, Tensor]) -> None:
        """Keep the stages of some planes."""
        for name, values in stages.items():
            found = values.float().transpose(0, 1).cpu().numpy()
            if name not in self._maps:
                self._maps[name] = Output((self._depth, *found.shape[1:]), fill=0.0)
            self._maps[name].put(places, found)

    def planes(self, places: Sequence[int]) -> dict[str, Tensor]:
        """Stages of some planes, each ``(visit, plane, row, column)``."""
        return {
            name: torch.from_numpy(output.take(places)).transpose(0, 1).to(self._device)
            for name, output in self._maps.items()
        }

    def each(self) -> Iterator[dict[str, Tensor]]:
        """Stages of every plane by itself."""
        return (self.planes([place]) for place in range(self._depth))

    def final(self, place: int, recipe: Recipe, bounds: Bounds) -> dict[str, Tensor]:
        """All stages of one plane, the final score last."""
        around = None
        if recipe.volume_median and recipe.median > 1:
            around = self.planes(mirrored(place, self._depth, recipe.median // 2))
        return final_stages(self.planes([place]), around, self._ages, recipe, bounds)


@dataclass(frozen=True, eq=False, kw_only=True)
class Maps:
    """What is segmented: the scores of one series, ``(visit, plane, row, column)``.

    Attributes
    ----------
    score, pixel
        Final score and pixel distance; NaN where a visit is missing.
    taken
        Which planes are segmented.
    scale
        Ends of the score that become 0 and 1 before it is pooled with those of other series.
    ends
        Ends of the score that become 0 and 1 once it is segmented.
    """

    score: NDArray[np.float32]
    pixel: NDArray[np.float32]
    taken: slice = field(default_factory=lambda: slice(None))
    scale: tuple[float, float] | None = None
    ends: tuple[float, float] | None = None

    def visits(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Score, scaled, and pixel distance of each visit."""
        for score, pixel in each_visit(self.score[:, self.taken], self.pixel[:, self.taken]):
            yield self._scaled(score), pixel

    def block(self, plane: int, rows: slice) -> NDArray[Any]:
        """Scaled score of some rows of a plane at the visits that are there, as a copy."""
        found: NDArray[Any] = self._scaled(self.score[:, self.taken][:, plane, rows].copy())
        release(self.score)
        return np.asarray(found[~np.isnan(found).all(axis=(1, 2))])

    def _scaled(self, score: NDArray[Any]) -> NDArray[Any]:
        if self.scale is None:
            return score
        low, high = self.scale
        return (score - low) / (high - low)


def maps_of(prepared: Prepared, found: Scored, recipe: Recipe) -> Maps:
    """Give the maps of a series as `thresholds_of` and `segment_maps` take them.

    Parameters
    ----------
    prepared
        The series.
    found
        Its scores, not rescaled yet.
    recipe
        Whether scores are rescaled, and pooled with those of other series.

    Returns
    -------
    Maps
        Views of the scores.
    """
    score = found.maps["final"]
    ends = _ends(score) if recipe.rescale else None
    return Maps(
        score=score,
        pixel=found.maps.get("pixel", score),
        taken=prepared.taken,
        scale=ends if recipe.is_pooled else None,
        ends=ends,
    )


def _ends(score: NDArray[np.float32]) -> tuple[float, float] | None:
    """Lowest and highest score of a series; none where they are the same."""
    ends = [
        (np.nanmin(part), np.nanmax(part))
        for (part,) in each_visit(score)
        if not np.isnan(part).all()
    ]
    low, high = float(min(end[0] for end in ends)), float(max(end[1] for end in ends))
    return None if low == high else (low, high)


def thresholds_of(series: Sequence[Maps], threshold: Yen | Quantile) -> Thresholds:
    """Compute thresholds from the scores of one series, or of several together.

    Parameters
    ----------
    series
        One patient's, or a whole data set's. For a quantile of each pixel they must lie on one
        grid; for one of each image, or of each patient, give one series.
    threshold
        Which ones.

    Returns
    -------
    Thresholds
        In the unit of the scaled scores.
    """

    def visits() -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        return (visit for maps in series for visit in maps.visits())

    if isinstance(threshold, Yen):
        score, pixel = yen_thresholds(visits, pixel_too=threshold.pixel_too)
        return Thresholds(score=score, pixel=pixel, series=len(series))
    if threshold.per == "pixel":
        return Thresholds(score=_pixel_quantiles(series, threshold.q), series=len(series))
    if threshold.per == "image":
        return Thresholds(score=visit_quantiles(visits, threshold.q), series=len(series))
    sizes = [maps.score[0, maps.taken].size for maps in series for _ in maps.score]
    return Thresholds(score=pooled_quantile(visits, threshold.q, sizes), series=len(series))


def _pixel_quantiles(series: Sequence[Maps], q: float) -> NDArray[np.float32]:
    """(plane, row, column): the quantile of each pixel over the visits of all series."""
    depth, height, width = series[0].score[0, series[0].taken].shape
    count = max(1, SAMPLE // (sum(len(maps.score) for maps in series) * width))
    rows = [slice(start, start + count) for start in range(0, height, count)]
    blocks = (
        (place, np.concatenate([maps.block(*place) for maps in series]))
        for place in product(range(depth), rows)
    )
    quantiles = Output((depth, height, width))
    for place, values in blocks:
        quantiles.put(place, np.quantile(values, q, axis=0, overwrite_input=True))
    return quantiles.values


@dataclass
class Counts:
    """Pixels that are flagged; pixels far from these, and those of them with unusual scores."""

    flagged: int = 0
    far: int = 0
    unusual: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Segmented:
    """A mask, and what it was made by.

    Attributes
    ----------
    mask
        ``(visit, plane, row, column)``, False where nothing was examined.
    levels
        What a score had to reach.
    counts
        Of all visits together.
    examined
        Share of an image in which something may be flagged: the largest of all visits.
    scale
        Ends of the final score that became 0 and 1 after that, or none.
    clean
        Cleans another mask on the stack's grid in its place as this one was.
    """

    mask: NDArray[np.bool_]
    levels: Levels
    counts: Counts
    examined: float
    scale: tuple[float, float] | None = None
    clean: Callable[[NDArray[np.bool_]], None] | None = None

    def rescaled(self, threshold: float) -> float:
        """Give a threshold in the unit that the final score has now."""
        if self.scale is None:
            return threshold
        low, high = self.scale
        return (threshold - low) / (high - low)


def segment_series(
    prepared: Prepared,
    found: Scored,
    recipe: Recipe,
    known: HealthyScores | None,
    exact: bool,
    *,
    thresholds: Thresholds | None = None,
    unusual: float = np.inf,
) -> Segmented:
    """Segment the planes of a series that were examined.

    Parameters
    ----------
    prepared
        The series.
    found
        Its scores; the final one is rescaled in its place where the recipe says so, so use them
        once.
    recipe, known, exact, thresholds, unusual
        As for `segment_maps`.

    Returns
    -------
    Segmented
        On the whole grid of the series, turned.
    """
    maps, stack, taken = maps_of(prepared, found, recipe), prepared.stack, prepared.taken
    cleaning = cleaning_of(recipe, prepared.voxel)
    region = Output((stack.n_visits, *prepared.grid), bool, False) if recipe.erosion else None
    if region is not None:
        for visit in np.flatnonzero(stack.is_observed):
            inside = examined_in(stack.images[visit], recipe.erosion)
            region.put(visit, prepared.slicing.turned(inside))
            del inside  # its memory is for the next visit

    def examined_at(visit: int) -> NDArray[np.bool_] | None:
        return None if region is None else region.take((slice(visit, visit + 1), taken))

    def clean(mask: NDArray[np.bool_]) -> None:
        for visit, (whole,) in enumerate(each_visit(prepared.slicing.turned(mask))):
            whole[taken] = cleaned(whole[None, taken], inside=examined_at(visit), **cleaning)[0]

    segmented = segment_maps(
        maps,
        recipe,
        known,
        exact,
        thresholds=thresholds,
        voxel=prepared.voxel,
        examined_at=examined_at,
        unusual=unusual,
    )
    if maps.ends is not None:
        low, high = maps.ends
        for (score,) in each_visit(maps.score):
            score -= low
            score /= high - low
    is_cleaned = bool(recipe.erosion or recipe.smallest or recipe.dilation)
    return replace(segmented, scale=maps.ends, clean=clean if is_cleaned else None)


def segment_maps(
    maps: Maps,
    recipe: Recipe,
    known: HealthyScores | None,
    exact: bool = True,
    *,
    thresholds: Thresholds | None = None,
    voxel: float = 1.0,
    examined_at: Callable[[int], NDArray[np.bool_] | None] = lambda visit: None,
    unusual: float = np.inf,
) -> Segmented:
    """Segment one patient's series visit by visit: threshold, clean, grow.

    Parameters
    ----------
    maps
        Final score and pixel distance of the series.
    recipe
        Its threshold and floor, and how the mask is cleaned.
    known, exact
        Healthy scores from the bundle, and whether they are of this very recipe, see `levels_of`.
    thresholds
        Those of series that are examined together, in the unit of the scaled scores; without them,
        Yen's threshold and quantiles are computed from this series alone.
    voxel
        Size of a pixel or voxel, in the unit of ``Recipe.smallest``.
    examined_at
        Gives where something may be flagged at a visit, ``(1, plane, row, column)`` of the planes
        that are segmented; none for everywhere.
    unusual
        Score above which few pixels of healthy subjects lie.

    Returns
    -------
    Segmented
        Its mask has the shape of the score.
    """
    asked, computed = computed_threshold(recipe, known), None
    if asked is not None:
        computed = thresholds_of([maps], asked) if thresholds is None else thresholds
        computed = computed.unscaled(maps.scale)
    levels, cleaning = levels_of(recipe, known, exact, computed), cleaning_of(recipe, voxel)
    mask, counts, examined = Output(maps.score.shape, bool, False), Counts(), 0.0
    for visit in range(len(maps.score)):
        inside, place = examined_at(visit), (slice(visit, visit + 1), maps.taken)
        score, pixel = maps.score[place], maps.pixel[place]
        shown = flagged(score, pixel, levels, visit)
        release(maps.score, maps.pixel)  # room for the parts of the mask, which are labelled
        shown = cleaned(shown, inside=inside, **cleaning)
        mask.put(place, shown)
        counts.flagged += int(np.count_nonzero(shown))
        examined = max(examined, 1.0 if inside is None else float(inside.mean()))
        if unusual < np.inf:
            rest = score[far_from(shown, round(FAR * min(score.shape[-2:]))) & ~np.isnan(score)]
            counts.far += rest.size
            counts.unusual += int(np.count_nonzero(rest > unusual))
            release(maps.score)
    return Segmented(mask=mask.values, levels=levels, counts=counts, examined=examined)
