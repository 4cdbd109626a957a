"""Bring every visit onto the first one: rigid registration.

Each visit is turned and shifted, in one piece, to where it fits the first one best (`rigid`), and
resampled onto that one's grid. Planes turn and shift within their plane; they are taken to lie the
same way round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.grids import background, resampled, spacing_of
from napari_followup.provenance import add_step
from napari_followup.results import Cancelled
from napari_followup.rigid import LEVELS, Rigid, need_simpleitk, rigid
from napari_followup.stack import VisitStack

__all__ = ["align"]

MOST_TURN = 45.0  # degrees; patients lie the same way round
LEAST_OVERLAP = 0.1  # share of the first visit's voxels


@dataclass(frozen=True, eq=False, kw_only=True)
class _Visit:
    """One visit on its own grid."""

    name: str
    images: Any  # (modality, z, y, x)
    affine: NDArray[np.float64]
    age: float
    is_observed: bool
    is_missing: bool
    provenance: Mapping[str, Any]

    @property
    def frame(self) -> NDArray[np.float64]:
        """Voxel (z, y, x) to where it is registered: the world, or (x, y) within its plane."""
        if self.images.shape[1] > 1:
            return self.affine
        z, y, x = spacing_of(self.affine)
        return np.array([[0, 0, x, 0], [0, y, 0, 0], [z, 0, 0, 0], [0, 0, 0, 1.0]])


def align(
    visits: VisitStack | Sequence[VisitStack],
    *,
    modality: int = 0,
    interpolation: str = "linear",
    seed: int = 0,
    threads: int = 1,
    on_step: Callable[[int, int], bool | None] | None = None,
) -> VisitStack:
    """Register every visit rigidly to the first one, and resample it onto the first one's grid.

    Parameters
    ----------
    visits
        A stack whose visits share a grid, or several, of any number of visits, each on its own
        grid. The first observed visit by age stays as it is; without ages, the first in order.
    modality
        Position of the modality that is looked at; the others move with it.
    interpolation
        "linear", "cubic" or "nearest".
    seed
        Chooses the voxels that the metric looks at.
    threads
        More than one is faster, but sums in another order, so that results differ slightly.
    on_step
        Called with the levels done and to do; return False to stop.

    Returns
    -------
    VisitStack
        On the first visit's grid. A missing visit stays missing. What lies outside a visit's field
        of view has the intensity of its background. ``provenance["steps"]`` gains "align": for each
        visit the matrix from world points (x, y, z) of the first visit to those of this one, the
        metric, the mean displacement of the subject, the share of voxels outside the field of
        view, and notes.

    Raises
    ------
    ImportError
        If SimpleITK is not installed.
    ValueError
        If the visits do not belong together, or one of them cannot be registered; it is named.
    Cancelled
        If `on_step` returned False.
    """
    need_simpleitk()
    stacks = [visits] if isinstance(visits, VisitStack) else list(visits)
    _check(stacks, modality, threads)
    shared, parts = stacks[0], _parts(stacks)
    present = [part for part in parts if not part.is_missing]
    first = present[0]
    steps = _counter(on_step, len(LEVELS) * (len(present) - 1))
    images, said = [], []
    for part in parts:
        found = None
        if part is first:
            found = Rigid(np.eye(4), 0.0)
        elif not part.is_missing:
            found = _registered(first, part, modality, seed, threads, steps)
        moved, outside = _moved(first, part, found, interpolation)
        images.append(moved)
        said.append(_said(first, part, found, outside, modality))
        if part.provenance != shared.provenance:
            said[-1]["provenance"] = dict(part.provenance)
    return VisitStack(
        images=np.stack(images),
        ages=np.array([part.age for part in parts]),
        affine=first.affine,
        spacing=spacing_of(first.affine),
        unit=shared.unit,
        is_observed=np.array([part.is_observed for part in parts]),
        subject=shared.subject,
        modalities=shared.modalities,
        ages_known=shared.ages_known,
        provenance=add_step(
            shared.provenance,
            "align",
            onto=first.name,
            modality=shared.modalities[modality],
            interpolation=interpolation,
            seed=seed,
            threads=threads,
            visits=said,
        ),
    )


def _parts(stacks: Sequence[VisitStack]) -> list[_Visit]:
    """Visits one by one, by age, or in their order where there are no ages."""
    pairs = [(stack, index) for stack in stacks for index in range(stack.n_visits)]
    ages = [float(stack.ages[index]) for stack, index in pairs]
    if not stacks[0].ages_known:
        ages = [float(number) for number in range(len(pairs))]
    order = sorted(range(len(pairs)), key=ages.__getitem__)
    return [_visit(*pairs[place], number, ages[place]) for number, place in enumerate(order, 1)]


def _visit(stack: VisitStack, index: int, number: int, age: float) -> _Visit:
    when = f"visit {number} (age {age:.4g})" if stack.ages_known else f"visit {number}"
    return _Visit(
        name=f"{when} of {stack.subject!r}",
        images=stack.images[index],
        affine=stack.affine,
        age=age,
        is_observed=bool(stack.is_observed[index]),
        is_missing=bool(stack.is_missing[index]),
        provenance=stack.provenance,
    )


def _check(stacks: Sequence[VisitStack], modality: int, threads: int) -> None:
    """Refuse visits that are not of one kind."""
    if not stacks:
        raise ValueError("align: got no visit; give a stack, or one a visit")
    if len({stack.ages_known for stack in stacks}) > 1:
        raise ValueError("align: some visits have ages and others not; give all of them, or none")
    for what in ("modalities", "unit"):
        found = {str(getattr(stack, what)) for stack in stacks}
        if len(found) > 1:
            raise ValueError(
                f"{what}: the visits have {' and '.join(sorted(found))}; align needs the same ones"
            )
    if len({stack.shape[2] == 1 for stack in stacks}) > 1:
        raise ValueError("align: some visits are planes and others volumes; give one kind")
    if not 0 <= modality < len(stacks[0].modalities):
        raise ValueError(
            f"modality: got {modality}; the visits have {len(stacks[0].modalities)}, counted from 0"
        )
    if threads < 1:
        raise ValueError(f"threads: got {threads}; give 1 or more")


def _counter(on_step: Callable[[int, int], bool | None] | None, total: int) -> Callable[[], None]:
    """Make a function that counts one step more, tells it, and raises where it is to stop."""
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if on_step is not None and on_step(done, total) is False:
            raise Cancelled("stopped before all visits were aligned")

    return step


def _registered(
    first: _Visit, part: _Visit, modality: int, seed: int, threads: int, step: Callable[[], None]
) -> Rigid:
    """Look for the transform; whatever goes wrong is said with the visit's name."""
    fixed, moving = (_image(each, modality) for each in (first, part))
    wrong = f"{part.name} could not be registered to {first.name}"
    try:
        found = rigid(
            fixed, moving, first.frame, part.frame, seed=seed, threads=threads, on_level=step
        )
    except RuntimeError as error:  # all that SimpleITK raises
        raise ValueError(
            f"{wrong}: the images do not overlap, or one of them is nearly the same value all "
            "over; check them and their affines"
        ) from error
    if not np.isfinite(found.metric) or found.turn > MOST_TURN:
        raise ValueError(
            f"{wrong}: the best fit turns it by {found.turn:.0f} degrees; check that both show "
            "the same subject the same way round"
        )
    return found


def _image(part: _Visit, modality: int) -> NDArray[np.float32]:
    image = np.asarray(part.images[modality], dtype=np.float32)
    if image.min() == image.max():
        raise ValueError(f"{part.name} is the same value all over; mark it as missing")
    return image


def _moved(
    first: _Visit, part: _Visit, found: Rigid | None, interpolation: str
) -> tuple[NDArray[np.float32], float]:
    """Images on the first visit's grid, and the share of it outside the visit's field of view."""
    if found is None:
        return np.full(first.images.shape, np.nan, dtype=np.float32), 0.0
    if part is first:
        return np.asarray(part.images, dtype=np.float32), 0.0
    voxels = np.linalg.inv(part.frame) @ found.matrix @ first.frame
    moved, inside = [], np.ones(0, dtype=bool)
    for image in part.images:
        image = np.asarray(image)
        values, inside = resampled(
            image,
            voxels,
            first.images.shape[1:],
            interpolation=interpolation,
            fill=background(image),
        )
        moved.append(values)
    if inside.mean() < LEAST_OVERLAP:
        raise ValueError(
            f"{part.name} could not be registered to {first.name}: they overlap in "
            f"{inside.mean():.0%} of the latter only; check that both show the same region"
        )
    return np.stack(moved), float(1 - inside.mean())


def _said(
    first: _Visit, part: _Visit, found: Rigid | None, outside: float, modality: int
) -> dict[str, Any]:
    """Say in the provenance what was done to one visit."""
    if found is None:
        return {"visit": part.name, "matrix": None, "notes": ["missing; stays missing"]}
    # Between the worlds, of which a plane's frame knows nothing.
    to_world = part.affine @ np.linalg.inv(part.frame)
    matrix = to_world @ found.matrix @ first.frame @ np.linalg.inv(first.affine)
    matrix = np.eye(4) if part is first else matrix
    notes = ["stays as it is; the others are brought onto it"] if part is first else []
    if outside > 0:
        notes.append(
            f"{outside:.1%} of the voxels lie outside its field of view and have the intensity "
            "of its background"
        )
    return {
        "visit": part.name,
        "matrix": matrix.tolist(),
        "metric": found.metric,
        "mean_displacement": _displacement(matrix, first, modality),
        "outside": outside,
        "notes": notes,
    }


def _displacement(matrix: NDArray[np.float64], first: _Visit, modality: int) -> float:
    """How far the first visit's subject, what is brighter than the mean, is moved on average."""
    image = np.asarray(first.images[modality])
    places = np.argwhere(image > image.mean())
    places = places[:: max(1, len(places) // 10_000)]
    points = np.c_[places, np.ones(len(places))] @ first.affine.T
    return float(np.linalg.norm((points @ matrix.T - points)[:, :3], axis=1).mean())
