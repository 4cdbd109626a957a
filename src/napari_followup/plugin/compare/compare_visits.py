"""What the thread of *Compare visits* runs: a layer's source in, layer tuples out."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils import Colormap
from numpy.typing import NDArray

from napari_followup.plugin.layers.layers import (
    GivenMask,
    LayerTuple,
    Series,
    Source,
    about,
    result_layer,
    series_of,
)
from napari_followup.plugin.layers.visits import of_one_visit
from napari_followup.plugin.run.report import Report
from napari_followup.series.stack import VisitStack

if TYPE_CHECKING:
    from napari_followup.comparison.regions import ChangeRegions

__all__ = [
    "COLORS",
    "ComparePlan",
    "compare_layers",
    "full_scale",
    "is_of_change",
]

# From darker to brighter at the later visit: transparent up to half the threshold, the sheer
# colour at the threshold, the lightest at twice the threshold.
COLORS = ("#54e6ff", "#1f7bff", "#1f7bff00", "#ff5a1f00", "#ff5a1f", "#ffe45e")
STOPS = (0.0, 0.25, 0.375, 0.625, 0.75, 1.0)
REGION_COLORS = {0: "transparent", 1: "#ff5a1f", 2: "#1f7bff", None: "#ffd60a"}  # as labelled
CHANGE, REGIONS = "change", "regions"  # with which the names of the results begin
LEAST_CORRELATION = 0.8  # as `align` takes it


@dataclass(frozen=True, kw_only=True)
class ComparePlan:
    """Which visits to compare, and how."""

    visits: tuple[int, int] = (0, 1)  # as the layer counts them, from 0
    modality: int = 0
    smoothing: float = 1.5  # in the unit of the series
    mask: str = "foreground"  # of both visits; or "brain", or "given"
    threshold: float = 4.0  # units of noise; as `change_regions` takes it
    smallest: float = 10.0  # region that counts, mm³, mm² of planes, or voxels
    regions: bool = True  # whether they come back as labels


@dataclass(frozen=True, eq=False, kw_only=True)
class _Pair:
    """Two visits of a series, the earlier one first."""

    series: Series
    earlier: int  # in the stack
    later: int

    @property
    def stack(self) -> VisitStack:
        """The whole series."""
        return self.series.stack

    def number(self, visit: int) -> int:
        """Say which visit of the layer one of the stack is, from 1."""
        return int(self.series.order[visit]) + 1

    @property
    def name(self) -> str:
        """Name of the pair, for layers."""
        return f"{self.number(self.earlier)} to {self.number(self.later)}"


def full_scale(threshold: float) -> float:
    """Change at which the colours end, in units of noise."""
    return 2.0 * threshold


def is_of_change(layer: Any) -> bool:
    """Whether a layer is a map of change or its regions: made here, saved, or by the command."""
    said = about(layer)
    result = str(said.get("result") or "")
    return said.get("modality") == CHANGE or result.split(" ")[0] in (CHANGE, REGIONS)


def compare_layers(
    source: Source,
    plan: ComparePlan | None = None,
    given: GivenMask | None = None,
    *,
    report: Report | None = None,
) -> list[LayerTuple]:
    """Map the change between two visits of a layer.

    Parameters
    ----------
    source
        The layer of one subject, as `source_of` took it; its visits on one grid, aligned.
    plan
        Which visits, and how.
    given
        The mask, where the plan asks for a given one.
    report
        Progress and stop.

    Returns
    -------
    list of LayerTuple
        The change in units of noise, above 0 where the later visit is brighter, and the regions
        beyond the threshold as labels: 1 brighter, 2 darker. Both lie on the source, at all of its
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

    plan, report = plan or ComparePlan(), report or Report()
    report.phase("Reading the visits")
    pair = _pair(source, plan)
    mask = _mask(pair, source, given, plan, report)
    report.phase("Checking that they are aligned")
    notes = _alignment(pair, plan)
    report.phase("Comparing")
    found = change(
        pair.stack,
        pair.earlier,
        pair.later,
        mask=mask,
        modality=plan.modality,
        smoothing=plan.smoothing,
    )
    report.phase("Looking for regions")
    spacing = pair.stack.spacing if pair.stack.unit == "mm" else None
    regions = change_regions(
        found, threshold=plan.threshold, smallest=plan.smallest, spacing=spacing
    )
    notes = [*_summary(pair, found, mask, regions, plan), *notes]
    said = _provenance(source, pair, plan, given, notes)
    return _layers(of_one_visit(source), pair, found, regions, plan, said)


def _pair(source: Source, plan: ComparePlan) -> _Pair:
    """Read the series, and put the two visits in order."""
    if "s" in source.axes:
        raise ValueError(
            f"{source.name!r} holds {source.n_subjects} subjects; choose a layer of one subject"
        )
    if plan.visits[0] == plan.visits[1]:
        raise ValueError(f"visit {plan.visits[0] + 1} was chosen twice; choose two different ones")
    series = series_of(source)
    places = np.argsort(series.order)
    for visit in plan.visits:
        if not 0 <= visit < len(places):
            raise ValueError(f"visit {visit + 1}: {source.name!r} has {len(places)} visits only")
        if series.stack.is_missing[places[visit]]:
            raise ValueError(f"visit {visit + 1} is missing; choose another one")
    earlier, later = sorted(int(places[visit]) for visit in plan.visits)
    return _Pair(series=series, earlier=earlier, later=later)


def _mask(
    pair: _Pair, source: Source, given: GivenMask | None, plan: ComparePlan, report: Report
) -> NDArray[np.bool_]:
    from napari_followup.alignment.preprocess import brain_mask
    from napari_followup.comparison.change_map import change_mask

    report.phase("Looking for the subject")
    if plan.mask == "given":
        if given is None:
            raise ValueError("mask: the labels layer was removed; choose another mask")
        return given.on(source)
    if plan.mask == "foreground":
        return change_mask(pair.stack, pair.earlier, pair.later, modality=plan.modality)
    both = brain_mask(pair.stack.select([pair.earlier, pair.later]), modality=plan.modality)
    if not both.all(axis=0).any():
        raise ValueError("no brain was found at both visits; give a mask as labels, or take none")
    return np.asarray(both.all(axis=0))


def _alignment(pair: _Pair, plan: ComparePlan) -> list[str]:
    """Say whether the visits lie in the same place."""
    from napari_followup.alignment.agreement import agreement

    before, after = (pair.stack.images[v, plan.modality] for v in (pair.earlier, pair.later))
    found = agreement(before, after, pair.stack.spacing)
    if found.shift > 0:
        return [
            f"not aligned: shifted by {found.shift:.1f} {pair.stack.unit} the visits agree better "
            f"(correlation {found.shifted:.2f} instead of {found.correlation:.2f}); run Align "
            "visits first, or most of this is no change"
        ]
    if found.correlation < LEAST_CORRELATION:
        return [
            f"the visits agree badly (correlation {found.correlation:.2f}): run Align visits "
            "first, or check that both show the same subject and modality"
        ]
    return [f"aligned: the visits correlate by {found.correlation:.2f}"]


def _summary(
    pair: _Pair,
    found: NDArray[np.float32],
    mask: NDArray[np.bool_],
    regions: ChangeRegions,
    plan: ComparePlan,
) -> list[str]:
    """Regions that became brighter and darker, and what chance alone would give."""
    share = float((np.abs(found[mask]) >= plan.threshold).mean())
    chance = math.erfc(plan.threshold / math.sqrt(2))
    least = f", {plan.smallest:g} {regions.unit} or more" if plan.smallest else ""
    return [
        f"visit {pair.name}, beyond {plan.threshold:g} units of noise{least}: {regions}",
        f"{share:.2%} of the voxels are beyond; {chance:.2%} would be by Gaussian noise alone",
    ]


def _provenance(
    source: Source, pair: _Pair, plan: ComparePlan, given: GivenMask | None, notes: list[str]
) -> dict[str, Any]:
    """Software, visits and settings; what was done to the series before stays under steps."""
    stack, visits = pair.stack, (pair.earlier, pair.later)
    before = source.about.get("provenance") or {}
    return {
        "software": "napari-followup",
        "version": version("napari-followup"),
        "steps": list(before.get("steps", [])),
        "visits": [pair.number(visit) for visit in visits],
        "ages": [float(stack.ages[visit]) for visit in visits] if stack.ages_known else None,
        "mask_layer": None if given is None or plan.mask != "given" else given.name,
        "settings": asdict(plan) | {"visits": list(plan.visits)},
        "unit": "noise",
        "meaning": "above 0: brighter at the later visit",
        "notes": notes,
    }


def _layers(
    source: Source,
    pair: _Pair,
    found: NDArray[np.float32],
    regions: ChangeRegions,
    plan: ComparePlan,
    said: dict[str, Any],
) -> list[LayerTuple]:
    top = full_scale(plan.threshold)
    shown = {
        "colormap": Colormap(COLORS, name="darker to brighter", controls=STOPS),
        "contrast_limits": (-top, top),
        "blending": "translucent",
    }
    is_flat = "z" not in source.axes
    values = found[0] if is_flat else found
    name = f"{CHANGE} {pair.name}"
    layers = [result_layer(source, values, name, "image", said, **shown)]
    if plan.regions:
        labels = regions.labels[0] if is_flat else regions.labels
        look = {"colormap": REGION_COLORS, "opacity": 0.6, "visible": False}
        name = f"{REGIONS} {pair.name}"
        layers.append(result_layer(source, labels, name, "labels", said, **look))
    return layers
