"""What the thread of *Align visits* runs: layers' sources in, layer tuples out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.plugin.align.gathered import Gathered
from napari_followup.plugin.layers.layers import (
    GivenMask,
    LayerTuple,
    Series,
    Source,
    on_voxels,
    result_layer,
    to_layer_axes,
)
from napari_followup.plugin.layers.stack_layers import contrast_of
from napari_followup.plugin.layers.visits import of_one_visit
from napari_followup.plugin.run.report import Report
from napari_followup.series.grid import resampled
from napari_followup.series.provenance import add_step
from napari_followup.series.stack import VisitStack

__all__ = [
    "AlignPlan",
    "align_layers",
    "aligned_layers",
]


@dataclass(frozen=True, kw_only=True)
class AlignPlan:
    """Which steps to take, in the order of the fields, and how."""

    register: bool = True
    reference: int | None = None  # visit, counted from 0 by age; none: the first with an image
    modality: int = 0  # the one that is looked at
    interpolation: str = "linear"
    seed: int = 0
    spacing: float | None = None  # of isotropic voxels; none: those of the reference
    even_shading: bool = False
    mask: str = "none"  # "none", "brain" or "given"
    blank_outside: bool = True  # of the mask
    percentile: float | None = None  # of the foreground, which becomes 1
    margin: float | None = None  # left around the subject when it is cut out

    @property
    def needs_simpleitk(self) -> bool:
        """Whether a step needs SimpleITK."""
        return self.register or self.even_shading


@dataclass(frozen=True, eq=False, kw_only=True)
class _State:
    """Series and mask on the way."""

    stack: VisitStack
    mask: NDArray[np.bool_] | None = None  # (z, y, x), or (visit, z, y, x)


def align_layers(
    visits: Gathered,
    plan: AlignPlan | None = None,
    given: GivenMask | None = None,
    *,
    report: Report | None = None,
) -> list[LayerTuple]:
    """Bring visits onto one grid, and prepare their intensities.

    Parameters
    ----------
    visits
        The layers, sorted into visits and modalities.
    plan
        Which steps, and how.
    given
        The mask, where the plan asks for a given one; on the grid of the reference.
    report
        Progress and stop.

    Returns
    -------
    list of LayerTuple
        An image a modality, and the mask as labels if there is one; they lie on the reference's
        layer, and name the steps and the visits in their provenance.

    Raises
    ------
    ImportError
        If SimpleITK is not installed, and needed.
    ValueError
        If there is one visit to register, or a step cannot be done; the message names it.
    Cancelled
        If the report was stopped.
    """
    plan, report = plan or AlignPlan(), report or Report()
    report.phase("Reading the visits")
    stacks = visits.stacks()
    place = _reference(visits, stacks, plan)
    grid = stacks[visits.places[place][0]]
    state = _State(stack=_on_one_grid(stacks, grid, plan, place, report))
    if plan.mask == "given":
        state = replace(state, mask=_given(visits, given, plan, place))
    for work in (_respaced, _evened, _masked, _scaled, _cropped):
        state = work(state, plan, report)
    report.phase("Making the layers")
    return aligned_layers(visits, place, grid, state.stack, state.mask, settings=asdict(plan))


def _reference(visits: Gathered, stacks: Sequence[VisitStack], plan: AlignPlan) -> int:
    """Position by age of the visit whose grid is taken."""
    if plan.register and len(visits.places) < 2:
        raise ValueError(
            "there is one visit only; check the layers of two or more, choose a layer with "
            "several visits, or leave registration out"
        )
    if plan.reference is not None:
        return plan.reference
    if len(stacks) == 1:
        return int(np.argmin(stacks[0].is_missing))  # the first that is not
    missing = [bool(stacks[group].is_missing.all()) for group, *_ in visits.places]
    return missing.index(False)


def _on_one_grid(
    stacks: Sequence[VisitStack],
    grid: VisitStack,
    plan: AlignPlan,
    reference: int,
    report: Report,
) -> VisitStack:
    """One stack of all visits: registered, or resampled where they lie."""
    from napari_followup.alignment.align import align
    from napari_followup.alignment.resample import regridded
    from napari_followup.alignment.visits import check_alike

    if plan.register:
        return align(
            stacks,
            reference=reference,
            modality=plan.modality,
            interpolation=plan.interpolation,
            seed=plan.seed,
            on_step=_registering(report),
        )
    if len(stacks) == 1:
        return stacks[0]
    report.phase("Resampling onto one grid")
    check_alike(stacks)
    parts = [
        stack if stack is grid else regridded(stack, like=grid, interpolation=plan.interpolation)
        for stack in stacks
    ]
    return replace(
        grid,
        images=np.concatenate([np.asarray(part.images, np.float32) for part in parts]),
        ages=np.concatenate([part.ages for part in parts]),
        is_observed=np.concatenate([part.is_observed for part in parts]),
        provenance=add_step(
            grid.provenance,
            "regridded",
            interpolation=plan.interpolation,
            visits=[part.provenance.get("steps", [])[-1:] for part in parts],
        ),
    )


def _registering(report: Report) -> Callable[[int, int], bool]:
    """Say which visit is registered."""
    from napari_followup.alignment.rigid import LEVELS

    report.phase("Registering")

    def step(done: int, total: int) -> bool:
        count = total // len(LEVELS)
        report.detail(f"visit {min(done // len(LEVELS) + 1, count)} of {count} that are moved")
        return report(done, total)

    return step


def _given(
    visits: Gathered, given: GivenMask | None, plan: AlignPlan, reference: int
) -> NDArray[np.bool_]:
    """Mask of the reference; of all visits together, where a stack stays where it is."""
    if given is None:
        raise ValueError("mask: the labels layer was removed; choose another mask")
    group, visit, _ = visits.places[reference]
    moves = plan.register or len(visits.groups) > 1
    return given.on(visits.groups[group][0], visit if moves else None)


def _respaced(state: _State, plan: AlignPlan, report: Report) -> _State:
    from napari_followup.alignment.resample import regridded

    if plan.spacing is None:
        return state
    report.phase("Resampling to isotropic voxels")
    old, mask = state.stack, state.mask
    stack = regridded(old, spacing=plan.spacing, interpolation=plan.interpolation)
    if mask is not None:
        voxels = np.linalg.inv(old.affine) @ stack.affine
        mask = resampled(mask, voxels, stack.shape[2:], interpolation="nearest")[0] > 0
    return _State(stack=stack, mask=mask)


def _evened(state: _State, plan: AlignPlan, report: Report) -> _State:
    from napari_followup.alignment.preprocess import bias_corrected

    if not plan.even_shading:
        return state
    report.phase("Correcting the shading")
    return replace(state, stack=bias_corrected(state.stack, mask=state.mask, on_step=report))


def _masked(state: _State, plan: AlignPlan, report: Report) -> _State:
    """Find the mask, and set what is outside to 0."""
    from napari_followup.alignment.preprocess import brain_mask, masked

    stack, mask = state.stack, state.mask
    if plan.mask == "brain":
        report.phase("Looking for the brain")
        mask = np.asarray(brain_mask(stack, modality=plan.modality).any(axis=0))
        if not mask.any():
            raise ValueError(
                f"no brain was found in {stack.subject!r}; give a mask as labels, or take none"
            )
    if mask is not None and plan.blank_outside:
        stack = masked(stack, mask)
    return _State(stack=stack, mask=mask)


def _scaled(state: _State, plan: AlignPlan, report: Report) -> _State:
    from napari_followup.alignment.preprocess import scaled

    if plan.percentile is None:
        return state
    report.phase("Scaling the intensities")
    return replace(state, stack=scaled(state.stack, percentile=plan.percentile))


def _cropped(state: _State, plan: AlignPlan, report: Report) -> _State:
    from napari_followup.alignment.resample import cropped

    if plan.margin is None:
        return state
    report.phase("Cutting the subject out")
    stack, mask = cropped(state.stack, mask=state.mask, margin=plan.margin), state.mask
    if mask is not None:
        cut = stack.provenance["steps"][-1]
        part = tuple(slice(*ends) for ends in zip(cut["start"], cut["stop"], strict=True))
        mask = mask[part]
    return _State(stack=stack, mask=mask)


MASK_COLORS = {0: "transparent", 1: "#00d5c8", None: "#ffd60a"}


def aligned_layers(
    visits: Gathered,
    reference: int,
    grid: VisitStack,
    stack: VisitStack,
    mask: NDArray[np.bool_] | None = None,
    *,
    settings: Mapping[str, Any],
) -> list[LayerTuple]:
    """Make layers of a stack that came of several layers, or of one.

    Parameters
    ----------
    visits
        The layers it came of.
    reference
        Position by age of the visit on whose layer they are to lie.
    grid
        That layer's stack.
    stack
        The result, perhaps of other voxels than `grid`, axis along axis.
    mask
        ``(z, y, x)`` bool, on the grid of `stack`.
    settings
        For the provenance.

    Returns
    -------
    list of LayerTuple
        An image a modality, then the mask as labels if there is one.
    """
    group = visits.groups[visits.places[reference][0]]
    said = _provenance(visits, stack, settings)
    series = Series(stack=stack, order=visits.order)
    layers = []
    for number, source in enumerate(group):
        target = _target(source, visits, grid, series)
        images = np.asarray(stack.images)
        images = images if "m" in source.axes else images[:, number]
        data = to_layer_axes(target, [series], [images])
        shown = {
            "colormap": source.display.get("colormap", "gray"),
            "contrast_limits": contrast_of(data),
        }
        layers.append(result_layer(target, data, "aligned", "image", said, **shown))
    if mask is not None:
        layers.append(_mask_layer(_target(group[0], visits, grid, series), mask, said))
    return layers


def _target(source: Source, visits: Gathered, grid: VisitStack, series: Series) -> Source:
    """Give the reference's source the visits and the grid of the results."""
    stack = series.stack
    sizes = dict(zip("vmzyx", stack.shape, strict=True))
    place = np.argsort(series.order)
    rows = {
        "ages": stack.ages,
        "is_observed": stack.is_observed,
        "is_imputed": ~stack.is_observed & ~stack.is_missing,
    }
    said = {name: values[place].tolist() for name, values in rows.items()}
    voxels = np.linalg.inv(grid.affine) @ stack.affine
    return replace(
        source,
        name=source.name if len(visits.groups) == 1 else _shared_name(source, stack),
        data=np.broadcast_to(np.float32(0), tuple(sizes[letter] for letter in source.axes)),
        ages=np.asarray(said["ages"]) if stack.ages_known else None,
        geometry=_from_first_visit(on_voxels(source.geometry, source.axes, voxels), source.axes),
        about={**source.about, **said, "affine": stack.affine.tolist()},
    )


def _from_first_visit(geometry: dict[str, Any], axes: str) -> dict[str, Any]:
    """Begin at the visit slider's zero: a layer that held one visit may lie at its own place."""
    translate = np.array(geometry["translate"], dtype=float)
    translate[axes.index("v")] = 0.0
    return {**geometry, "translate": tuple(translate.tolist())}


def _shared_name(source: Source, stack: VisitStack) -> str:
    """Name for the visits of several layers: the subject's, and the modality's of several."""
    if "subject" not in source.about:
        return source.name
    modality = source.about.get("modality", "")
    return stack.subject if len(stack.modalities) == 1 else f"{stack.subject} {modality}".strip()


def _mask_layer(target: Source, mask: NDArray[np.bool_], said: dict[str, Any]) -> LayerTuple:
    """Mask as labels, the same at every visit."""
    target = of_one_visit(target)
    mask = mask if "z" in target.axes else mask[0]
    colors = {"colormap": MASK_COLORS, "opacity": 0.4, "visible": False}
    return result_layer(target, mask.astype(np.uint8), "brain mask", "labels", said, **colors)


def _provenance(visits: Gathered, stack: VisitStack, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Software, layers, settings, and each step with what came of it."""
    said = dict(stack.provenance)
    return {
        **said,
        "software": "napari-followup",
        "version": version("napari-followup"),
        "layers": [source.name for source in visits.sources],
        "settings": dict(settings),
        "notes": _notes(visits, said),
    }


def _notes(visits: Gathered, said: dict[str, Any]) -> list[str]:
    """Say what the user should know of each visit, and of the layers."""
    names = visits.subjects
    notes = [f"taken as one subject: {' and '.join(names)}"] if len(names) > 1 else []
    last = next((s for s in reversed(said.get("steps", [])) if s["step"] == "align"), None)
    for visit in () if last is None else last["visits"]:
        notes.append(f"{visit['visit']}: {'; '.join([*_moved(visit), *visit['notes']])}")
    return notes


def _moved(visit: Mapping[str, Any]) -> list[str]:
    """Say how far a visit was moved; nothing of the reference, and of a missing one."""
    moved = visit.get("mean_displacement")
    if not moved:
        return []
    return [f"moved by {moved:.1f} mm on average, correlation {visit['correlation']:.2f}"]
