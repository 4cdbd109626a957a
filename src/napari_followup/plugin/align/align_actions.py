"""What the thread of *Align visits* runs: layers' sources in, layer tuples out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_followup.plugin.align.aligned_layers import aligned_layers
from napari_followup.plugin.align.gathered import Gathered
from napari_followup.plugin.layers.layers import GivenMask, LayerTuple
from napari_followup.plugin.run.report import Report
from napari_followup.series.grid import resampled
from napari_followup.series.provenance import add_step
from napari_followup.series.stack import VisitStack

__all__ = ["AlignPlan", "align_layers"]


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
