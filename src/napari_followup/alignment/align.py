"""Align visits: register each one rigidly to a reference visit and resample it.

A visit is rotated and shifted to fit the reference best (`rigid`), then resampled onto the grid of
the reference. Planes rotate and shift within their plane. The notes name visits that fit better
mirrored, or that agree badly with the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.alignment.agreement import correlation
from napari_followup.alignment.rigid import LEVELS, Rigid, need_simpleitk, rigid
from napari_followup.series.grid import background, resampled, spacing_of
from napari_followup.series.results import Cancelled
from napari_followup.series.stack import VisitStack, add_step, refuse_partly_missing

__all__ = [
    "SingleVisit",
    "align",
    "check_alike",
    "reference_of",
    "single_visits",
]

MOST_TURN = 45.0  # degrees; patients lie in the same orientation
LEAST_OVERLAP = 0.1  # share of the reference's voxels
# Two FLAIR visits of one patient reach 0.97 to 0.98, mirrored 0.87, those of two patients 0.76.
LEAST_CORRELATION = 0.8
CLEARLY = 0.05  # of the coarsest metric: two patients differ by 0.01 from their mirror images

OnStep = Callable[[int, int], bool | None]


@dataclass(frozen=True, eq=False, kw_only=True)
class SingleVisit:
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
        """Voxel (z, y, x) to the coordinates of the registration: world, or (x, y) in the plane."""
        if self.images.shape[1] > 1:
            return self.affine
        z, y, x = spacing_of(self.affine)
        return np.array([[0, 0, x, 0], [0, y, 0, 0], [z, 0, 0, 0], [0, 0, 0, 1.0]])

    def image(self, modality: int) -> NDArray[np.float32]:
        """Image of one modality, ``(z, y, x)``.

        Raises
        ------
        ValueError
            If it has the same value everywhere.
        """
        image = np.asarray(self.images[modality], dtype=np.float32)
        refuse_partly_missing(image, self.name)
        if image.min() == image.max():
            raise ValueError(f"{self.name} has the same value everywhere; mark it as missing")
        return image


def single_visits(stacks: Sequence[VisitStack]) -> list[SingleVisit]:
    """Split stacks into single visits.

    Parameters
    ----------
    stacks
        Of any number of visits each.

    Returns
    -------
    list of SingleVisit
        By age, or in the given order if there are no ages.
    """
    pairs = [(stack, index) for stack in stacks for index in range(stack.n_visits)]
    ages = [float(stack.ages[index]) for stack, index in pairs]
    if not stacks[0].ages_known:
        ages = [float(number) for number in range(len(pairs))]
    order = sorted(range(len(pairs)), key=ages.__getitem__)
    return [_visit(*pairs[place], number, ages[place]) for number, place in enumerate(order, 1)]


def check_alike(stacks: Sequence[VisitStack]) -> None:
    """Check that visits can be aligned with each other.

    Raises
    ------
    ValueError
        If there is no visit, or they differ in ages known, modalities, unit or number of axes.
    """
    if not stacks:
        raise ValueError("align: got no visit; give one stack, or one per visit")
    if len({stack.ages_known for stack in stacks}) > 1:
        raise ValueError("align: some visits have ages and others not; give all ages, or none")
    for what in ("modalities", "unit"):
        found = {str(getattr(stack, what)) for stack in stacks}
        if len(found) > 1:
            raise ValueError(
                f"{what}: the visits have {' and '.join(sorted(found))}; align needs the same ones"
            )
    if len({stack.shape[2] == 1 for stack in stacks}) > 1:
        raise ValueError("align: some visits are planes and others volumes; give one kind")


def reference_of(visits: Sequence[SingleVisit], reference: int | None) -> SingleVisit:
    """Visit that does not move.

    Parameters
    ----------
    visits
        By age.
    reference
        Counted from 0; by default the first visit that is not missing.

    Raises
    ------
    ValueError
        If there is no such visit, or it is missing.
    """
    if reference is None:
        return next(visit for visit in visits if not visit.is_missing)
    if not 0 <= reference < len(visits):
        raise ValueError(
            f"reference: got {reference}; there are {len(visits)} visits, counted from 0 by age"
        )
    if visits[reference].is_missing:
        raise ValueError(f"reference: {visits[reference].name} is missing; choose another")
    return visits[reference]


def _visit(stack: VisitStack, index: int, number: int, age: float) -> SingleVisit:
    when = f"visit {number} (age {age:.4g})" if stack.ages_known else f"visit {number}"
    return SingleVisit(
        name=f"{when} of {stack.subject!r}",
        images=stack.images[index],
        affine=stack.affine,
        age=age,
        is_observed=bool(stack.is_observed[index]),
        is_missing=bool(stack.is_missing[index]),
        provenance=stack.provenance,
    )


@dataclass(frozen=True, kw_only=True)
class _Search:
    """Settings of the search for a transform."""

    modality: int
    seed: int
    threads: int


class _Counter:
    """Counts levels, reports progress, and raises if the work shall stop."""

    def __init__(self, on_step: OnStep | None, total: int) -> None:
        self._on_step, self._total, self._done = on_step, total, 0

    def step(self) -> None:
        """Count one more level."""
        self._done += 1
        self.look()

    def look(self) -> None:
        """Report without counting: the work can also stop within a level."""
        if self._on_step is not None and self._on_step(self._done, self._total) is False:
            raise Cancelled("stopped before all visits were aligned")


def align(
    visits: VisitStack | Sequence[VisitStack],
    *,
    reference: int | None = None,
    modality: int = 0,
    interpolation: str = "linear",
    seed: int = 0,
    threads: int = 1,
    on_step: OnStep | None = None,
) -> VisitStack:
    """Register every visit rigidly to a reference visit, and resample it onto its grid.

    Parameters
    ----------
    visits
        A stack whose visits share a grid, or several, of any number of visits, each on its own
        grid.
    reference
        Visit that does not move, counted from 0 by age, or in the given order without ages; by
        default the first visit that is not missing.
    modality
        Index of the modality to register by; the others move with it.
    interpolation
        "linear", "cubic" or "nearest".
    seed
        Chooses the voxels that the metric uses.
    threads
        More than one is faster, but sums in another order, so that results differ slightly.
    on_step
        Called with the levels done and to do, also within a level; returns False to stop.

    Returns
    -------
    VisitStack
        On the reference's grid. A missing visit stays missing. What lies outside a visit's field of
        view has the intensity of its background. ``provenance["steps"]`` gains "align": for each
        visit the matrix from world points (x, y, z) of the reference to those of this one, the
        metric, the correlation with the reference, the mean displacement of the subject, the share
        of voxels outside the field of view, and notes.

    Raises
    ------
    ImportError
        If SimpleITK is not installed.
    ValueError
        If the visits do not belong together, or one cannot be registered; the error names it.
    Cancelled
        If `on_step` returned False.
    """
    need_simpleitk()
    stacks = [visits] if isinstance(visits, VisitStack) else list(visits)
    check_alike(stacks)
    search = _checked(_Search(modality=modality, seed=seed, threads=threads), stacks[0])
    parts = single_visits(stacks)
    onto = reference_of(parts, reference)
    steps = _Counter(on_step, len(LEVELS) * (sum(not part.is_missing for part in parts) - 1))
    made = [_placed(onto, part, search, interpolation, steps) for part in parts]
    shared = stacks[0].provenance
    entries = [
        each | ({} if part.provenance == shared else {"provenance": dict(part.provenance)})
        for part, (_, each) in zip(parts, made, strict=True)
    ]
    settings = {
        "onto": onto.name,
        "modality": stacks[0].modalities[modality],
        "interpolation": interpolation,
        "seed": seed,
        "threads": threads,
    }
    return replace(
        stacks[0],
        images=np.stack([images for images, _ in made]),
        ages=np.array([part.age for part in parts]),
        affine=onto.affine,
        spacing=spacing_of(onto.affine),
        is_observed=np.array([part.is_observed for part in parts]),
        provenance=add_step(shared, "align", **settings, visits=entries),
    )


def _checked(search: _Search, stack: VisitStack) -> _Search:
    if not 0 <= search.modality < len(stack.modalities):
        raise ValueError(
            f"modality: got {search.modality}; the visits have {len(stack.modalities)}, counted "
            "from 0"
        )
    if search.threads < 1:
        raise ValueError(f"threads: got {search.threads}; give 1 or more")
    return search


def _placed(
    onto: SingleVisit, part: SingleVisit, search: _Search, interpolation: str, steps: _Counter
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Images of one visit on the grid of the reference, and their entry in the provenance."""
    if part.is_missing:
        gone = {"visit": part.name, "matrix": None, "notes": ["missing"]}
        return np.full(onto.images.shape, np.nan, dtype=np.float32), gone
    if part is onto:
        note = "reference; the other visits are registered to it"
        entry = _entry(onto, part, Rigid(np.eye(4), (0.0,)), search.modality)
        entry |= {"correlation": 1.0, "outside": 0.0, "notes": [note]}
        return np.asarray(part.images, dtype=np.float32), entry
    is_mirrored, found = _registered(onto, part, search, steps)
    images, outside = _moved(onto, part, found, interpolation)
    alike = correlation(
        onto.image(search.modality), images[search.modality], spacing_of(onto.affine)
    )
    entry = _entry(onto, part, found, search.modality)
    notes = _notes(outside, alike, onto, is_mirrored=is_mirrored)
    return images, entry | {"correlation": alike, "outside": outside, "notes": notes}


def _registered(
    onto: SingleVisit, part: SingleVisit, search: _Search, steps: _Counter
) -> tuple[bool, Rigid]:
    """Search the transform; errors name the visit."""
    images = onto.image(search.modality), part.image(search.modality)
    wrong = f"{part.name} could not be registered to {onto.name}"
    settings: dict[str, Any] = {"seed": search.seed, "threads": search.threads}
    settings |= {"on_iteration": steps.look}
    try:
        mirrored = _mirrored_metric(*images, onto.frame, part.frame, **settings)
        found = rigid(*images, onto.frame, part.frame, on_level=steps.step, **settings)
    except RuntimeError as error:  # SimpleITK raises no other
        raise ValueError(
            f"{wrong}: the images do not overlap, or one of them is nearly constant; check them "
            "and their affines"
        ) from error
    if not np.isfinite(found.metric) or found.turn > MOST_TURN:
        raise ValueError(
            f"{wrong}: the best fit rotates it by {found.turn:.0f} degrees; check that both show "
            "the same subject in the same orientation"
        )
    return mirrored < found.metrics[0] - CLEARLY, found


def _mirrored_metric(
    fixed: NDArray[np.float32],
    moving: NDArray[np.float32],
    fixed_frame: NDArray[np.float64],
    moving_frame: NDArray[np.float64],
    **settings: Any,
) -> float:
    """Metric of the best mirror image, on the coarsest level; lower is better.

    All axes are tried, since rotations are limited; infinite if no mirror image fits.
    """
    metrics = [float("inf")]
    for axis in range(1 if len(moving) == 1 else 0, 3):
        mirror = np.ascontiguousarray(np.flip(moving, axis))
        try:
            found = rigid(fixed, mirror, fixed_frame, moving_frame, levels=1, **settings)
        except RuntimeError:
            continue
        if found.turn <= MOST_TURN:
            metrics.append(found.metric)
    return min(metrics)


def _moved(
    onto: SingleVisit, part: SingleVisit, found: Rigid, interpolation: str
) -> tuple[NDArray[np.float32], float]:
    """Images on the grid of the reference, and its share outside the visit's field of view."""
    voxels = np.linalg.inv(part.frame) @ found.matrix @ onto.frame
    moved, inside = [], np.ones(0, dtype=bool)
    for image in part.images:
        image = np.asarray(image)
        values, inside = resampled(
            image,
            voxels,
            onto.images.shape[1:],
            interpolation=interpolation,
            fill=background(image),
        )
        moved.append(values)
    if inside.mean() < LEAST_OVERLAP:
        raise ValueError(
            f"{part.name} could not be registered to {onto.name}: they overlap in only "
            f"{inside.mean():.0%} of the latter; check that both show the same region"
        )
    return np.stack(moved), float(1 - inside.mean())


def _entry(onto: SingleVisit, part: SingleVisit, found: Rigid, modality: int) -> dict[str, Any]:
    """Entry of the provenance: how one visit was moved."""
    # Between world coordinates; the frame of a plane does not know them.
    to_world = part.affine @ np.linalg.inv(part.frame)
    matrix = to_world @ found.matrix @ onto.frame @ np.linalg.inv(onto.affine)
    matrix = np.eye(4) if part is onto else matrix
    return {
        "visit": part.name,
        "matrix": matrix.tolist(),
        "metric": found.metric,
        "mean_displacement": _displacement(matrix, onto, modality),
    }


def _notes(outside: float, alike: float, onto: SingleVisit, *, is_mirrored: bool) -> list[str]:
    """List what the user should know about one visit."""
    notes = []
    if outside > 0:
        notes.append(
            f"{outside:.1%} of the voxels lie outside its field of view and have the intensity "
            "of its background"
        )
    if is_mirrored:
        notes.append(
            f"fits {onto.name} clearly better when mirrored: check left and right in its file"
        )
    if alike < LEAST_CORRELATION:
        notes.append(
            f"agrees badly with {onto.name}: correlation {alike:.2f}; look at both, and check that "
            "they show the same subject"
        )
    return notes


def _displacement(matrix: NDArray[np.float64], onto: SingleVisit, modality: int) -> float:
    """Mean displacement of the subject: the voxels of the reference brighter than the mean."""
    image = np.asarray(onto.images[modality])
    places = np.argwhere(image > image.mean())
    places = places[:: max(1, len(places) // 10_000)]
    points = np.c_[places, np.ones(len(places))] @ onto.affine.T
    return float(np.linalg.norm((points @ matrix.T - points)[:, :3], axis=1).mean())
