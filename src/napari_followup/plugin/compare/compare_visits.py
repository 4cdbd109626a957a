"""Compare visits: map the change between two visits of one subject.

`compare_visits` takes a napari layer and returns layer data tuples; it needs no window. The widget
*Compare visits* makes its controls from the annotations of `compare_visits` and runs it in a
thread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from napari.layers import Image, Labels
from napari.utils import Colormap
from numpy.typing import NDArray

from napari_followup.plugin.layers.layers import (
    GivenMask,
    LayerTuple,
    Series,
    Source,
    about,
    given_mask,
    result_layer,
    series_of,
    source_of,
)
from napari_followup.plugin.layers.visits import of_one_visit
from napari_followup.plugin.run.report import Report
from napari_followup.series.stack import VisitStack

if TYPE_CHECKING:
    from napari_followup.comparison.regions import ChangeRegions

__all__ = ["COLORS", "STOPS", "compare_visits", "full_scale", "is_of_change"]

# From darker to brighter at the later visit: transparent below half the threshold, full colour at
# the threshold, lightest at twice the threshold.
COLORS = ("#54e6ff", "#1f7bff", "#1f7bff00", "#ff5a1f00", "#ff5a1f", "#ffe45e")
STOPS = (0.0, 0.25, 0.375, 0.625, 0.75, 1.0)
REGION_COLORS = {0: "transparent", 1: "#ff5a1f", 2: "#1f7bff", None: "#ffd60a"}  # as labelled
CHANGE, REGIONS = "change", "regions"  # with which the names of the results begin
LEAST_CORRELATION = 0.8  # the value of `align`


def compare_visits(
    layer: Image | Source,
    first: int = 0,
    second: int = 1,
    *,
    modality: int = 0,
    mask: Literal["foreground", "brain"] | Labels | GivenMask | None = "foreground",
    smoothing: float = 1.5,
    threshold: float = 4.0,
    smallest: float = 10.0,
    regions: bool = True,
    report: Report | None = None,
) -> list[LayerTuple]:
    """Map the change between two visits of a layer.

    Parameters
    ----------
    layer
        Visits of one subject on one grid, aligned; or what `source_of` took of such a layer.
    first
        One visit, counted from 0 in the layer's order.
    second
        The other visit; whichever is older counts as the later one.
    modality
        Kind of image that is compared.
    mask
        Where to look: the foreground of both visits, a rough brain mask, or labels.
    smoothing
        Standard deviation of the smoothing, in the layer's unit.
    threshold
        Change from which a voxel counts, in units of noise.
    smallest
        Smaller regions are left out; mm³, mm² of planes, or voxels.
    regions
        Whether the regions come back as labels.
    report
        Progress and stop.

    Returns
    -------
    list of LayerTuple
        The change in units of noise, above 0 where the later visit is brighter, and the regions
        from the threshold on as labels: 1 brighter, 2 darker. Both lie on the source, at all of its
        visits. ``provenance["notes"]`` sums them up.

    Raises
    ------
    ValueError
        If the visits cannot be compared; the message says why.
    Cancelled
        If the report was stopped.
    """
    from napari_followup.comparison.change_map import change
    from napari_followup.comparison.regions import change_regions

    report = report or Report()
    source = layer if isinstance(layer, Source) else source_of(layer)
    settings: dict[str, Any] = {
        "visits": [first, second],
        "modality": modality,
        "smoothing": smoothing,
        "mask": mask if isinstance(mask, str) else "given",
        "threshold": threshold,
        "smallest": smallest,
        "regions": regions,
    }
    report.phase("Reading the visits")
    pair = _pair(source, first, second, modality)
    report.phase("Computing the mask")
    given = None if isinstance(mask, str) else given_mask(mask)
    where = _mask(pair, settings["mask"]) if given is None else given.on(source)
    report.phase("Checking the alignment")
    notes = [_alignment(pair)]
    report.phase("Comparing")
    found = change(
        pair.stack, pair.earlier, pair.later, mask=where, modality=modality, smoothing=smoothing
    )
    report.phase("Finding regions")
    spacing = pair.stack.spacing if pair.stack.unit == "mm" else None
    sizes = change_regions(found, threshold=threshold, smallest=smallest, spacing=spacing)
    notes = [*_summary(pair, found[where], sizes, settings), *notes]
    provenance = _provenance(source, pair, settings, given, notes)
    return _layers(of_one_visit(source), pair, found, sizes if regions else None, provenance)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Pair:
    """Two visits of a series, the earlier one first."""

    series: Series
    earlier: int  # in the stack
    later: int
    modality: int

    @property
    def stack(self) -> VisitStack:
        """The whole series."""
        return self.series.stack

    def number(self, visit: int) -> int:
        """Give the number in the layer, from 1, of a visit of the stack."""
        return int(self.series.order[visit]) + 1

    @property
    def name(self) -> str:
        """Name of the pair, for layers."""
        return f"{self.number(self.earlier)} to {self.number(self.later)}"


def full_scale(threshold: float) -> float:
    """Change at which the colour scale ends, in units of noise."""
    return 2.0 * threshold


def is_of_change(layer: Any) -> bool:
    """Whether a layer is a change map or its regions, made here or read from a file."""
    meta = about(layer)
    result = str(meta.get("result") or "")
    return meta.get("modality") == CHANGE or result.split(" ")[0] in (CHANGE, REGIONS)


def _pair(source: Source, first: int, second: int, modality: int) -> _Pair:
    """Read the series, and put the two visits in order."""
    if "s" in source.axes:
        raise ValueError(
            f"{source.name!r} holds {source.n_subjects} subjects; choose a layer of one subject"
        )
    if first == second:
        raise ValueError(f"visit {first + 1} was chosen twice; choose two different ones")
    series = series_of(source)
    places = np.argsort(series.order)
    for visit in (first, second):
        if not 0 <= visit < len(places):
            raise ValueError(f"visit {visit + 1}: {source.name!r} has {len(places)} visits only")
        if series.stack.is_missing[places[visit]]:
            raise ValueError(f"visit {visit + 1} is missing; choose another one")
    earlier, later = sorted(int(places[visit]) for visit in (first, second))
    return _Pair(series=series, earlier=earlier, later=later, modality=modality)


def _mask(pair: _Pair, kind: str) -> NDArray[np.bool_]:
    """Compute the foreground, or the brain, of both visits."""
    from napari_followup.alignment.preprocess import brain_mask
    from napari_followup.comparison.change_map import change_mask

    if kind == "foreground":
        return change_mask(pair.stack, pair.earlier, pair.later, modality=pair.modality)
    both = brain_mask(pair.stack.select([pair.earlier, pair.later]), modality=pair.modality)
    if not both.all(axis=0).any():
        raise ValueError("no brain was found at both visits; give a mask as labels, or take none")
    return np.asarray(both.all(axis=0))


def _alignment(pair: _Pair) -> str:
    """Report whether the visits lie in the same place."""
    from napari_followup.alignment.agreement import agreement

    before, after = (pair.stack.images[v, pair.modality] for v in (pair.earlier, pair.later))
    found = agreement(before, after, pair.stack.spacing)
    if found.shift > 0:
        return (
            f"not aligned: shifted by {found.shift:.1f} {pair.stack.unit}, the visits agree better "
            f"(correlation {found.shifted:.2f} instead of {found.correlation:.2f}). Run Align "
            "visits first; else most of these differences come from the shift"
        )
    if found.correlation < LEAST_CORRELATION:
        return (
            f"the visits differ much (correlation {found.correlation:.2f}): run Align visits "
            "first, or check that both show the same subject and modality"
        )
    return f"aligned: the correlation of the visits is {found.correlation:.2f}"


def _summary(
    pair: _Pair,
    values: NDArray[np.float32],
    regions: ChangeRegions,
    settings: Mapping[str, Any],
) -> list[str]:
    """Regions that became brighter and darker; the share of `values` that noise alone explains."""
    threshold, smallest = settings["threshold"], settings["smallest"]
    share = float((np.abs(values) >= threshold).mean())
    chance = math.erfc(threshold / math.sqrt(2))
    least = f", {smallest:g} {regions.unit} or more" if smallest else ""
    return [
        f"visit {pair.name}, changes of {threshold:g} units of noise or more{least}: {regions}",
        f"{share:.2%} of the voxels reach the threshold; by Gaussian noise alone {chance:.2%}",
    ]


def _provenance(
    source: Source,
    pair: _Pair,
    settings: Mapping[str, Any],
    given: GivenMask | None,
    notes: list[str],
) -> dict[str, Any]:
    """Collect software, visits and settings; earlier steps of the series stay under steps."""
    stack, visits = pair.stack, (pair.earlier, pair.later)
    before = source.about.get("provenance") or {}
    return {
        "software": "napari-followup",
        "version": version("napari-followup"),
        "steps": list(before.get("steps", [])),
        "visits": [pair.number(visit) for visit in visits],
        "ages": [float(stack.ages[visit]) for visit in visits] if stack.ages_known else None,
        "mask_layer": None if given is None else given.name,
        "settings": dict(settings),
        "unit": "noise",
        "meaning": "above 0: brighter at the later visit",
        "notes": notes,
    }


def _layers(
    source: Source,
    pair: _Pair,
    found: NDArray[np.float32],
    regions: ChangeRegions | None,
    provenance: dict[str, Any],
) -> list[LayerTuple]:
    top = full_scale(provenance["settings"]["threshold"])
    shown = {
        "colormap": Colormap(COLORS, name="darker to brighter", controls=STOPS),
        "contrast_limits": (-top, top),
        "blending": "translucent",
    }
    is_flat = "z" not in source.axes
    values = found[0] if is_flat else found
    layers = [result_layer(source, values, f"{CHANGE} {pair.name}", "image", provenance, **shown)]
    if regions is not None:
        labels = regions.labels[0] if is_flat else regions.labels
        look = {"colormap": REGION_COLORS, "opacity": 0.6, "visible": False}
        layers.append(
            result_layer(source, labels, f"{REGIONS} {pair.name}", "labels", provenance, **look)
        )
    return layers
