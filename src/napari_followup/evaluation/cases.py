"""Cases of an evaluation: some subjects get an anomaly, the others stay healthy.

No subject is both, and the same data always give the same cases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_followup.evaluation.patients import HEALTHY, Case
from napari_followup.series.intensity import fit_scaling
from napari_followup.series.stack import VisitStack
from napari_followup.synthetic import add_anomaly, generic
from napari_followup.synthetic.anomalies import VISIBLE

__all__ = [
    "EXTRA_KINDS",
    "GENERIC_KINDS",
    "KINDS",
    "add_extra_anomaly",
    "healthy_cases",
    "make_cases",
    "unused",
]


Frames = NDArray[np.floating[Any]]
Drawing = Callable[[Frames, np.random.Generator], Frames]
"""Takes planes ``(visit, y, x)`` in [0, 1], returns them with the anomaly."""

EXTRA_KINDS = (
    "transient_circle",
    "faint_disc",
    "erased_limb",
    "background_square",
    "local_blur",
)
KINDS = ("growing_circle", "darker_circle", "darker_line")  # Dang (2025), Sec. 4.1
GENERIC_KINDS = generic.GENERIC_ANOMALIES  # for images that look like no starman


def add_extra_anomaly(
    stack: VisitStack, kind: str, *, seed: int = 0
) -> tuple[VisitStack, NDArray[np.bool_]]:
    """Draw an anomaly that no benchmark names.

    Parameters
    ----------
    stack
        A healthy series of bright bodies on a dark ground. Volumes get the anomaly in their middle
        plane, and every modality alike.
    kind
        "transient_circle": a bright disc at the hand, at one visit only.
        "faint_disc": a disc of radius 3 somewhere inside the body, 25 % darker, at every visit.
        "erased_limb": the body's lowest rows are gone, one row more every visit from the third on.
        "background_square": a bright square of 5 × 5 pixels away from the body, at every visit.
        "local_blur": a disc of radius 5 on the body's outline, blurred by 2 pixels.
    seed
        Chooses the place, or the visit of the transient circle.

    Returns
    -------
    stack, truth
        A copy with the anomaly, and ``(visit, z, y, x)`` booleans: every pixel that changed by more
        than 1/255 of the series' range. Missing visits stay as they are.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    if kind == "transient_circle":
        return add_anomaly(stack, kind, seed=seed)
    if kind not in DRAWINGS:
        raise ValueError(f"kind: got {kind!r}; choose one of {', '.join(EXTRA_KINDS)}")
    observed, plane = np.flatnonzero(stack.is_observed), stack.shape[2] // 2
    images = np.array(stack.images)
    truth = np.zeros((stack.n_visits, *stack.shape[2:]), dtype=bool)
    for modality in range(stack.shape[1]):
        scaling = fit_scaling(stack, percentiles=(0, 100), modality=modality)
        before = scaling.apply(images[observed, modality, plane])
        after = DRAWINGS[kind](before, np.random.default_rng(seed))
        changed = np.abs(after - before) > VISIBLE
        truth[observed, plane] |= changed
        drawn = scaling.invert(after)
        if images.dtype.kind in "bui":
            drawn = np.rint(drawn)
        frames = images[observed, modality, plane]
        frames[changed] = drawn[changed].astype(images.dtype)
        images[observed, modality, plane] = frames
    return stack.with_images(images), truth


def _faint_disc(frames: Frames, rng: np.random.Generator) -> Frames:
    always_body = np.all(frames > 0.9, axis=0)
    inside = always_body & (gaussian_filter(always_body.astype(float), 2) > 0.85)
    disc = _disc(_somewhere(inside, always_body, rng), 3, frames.shape[1:])
    return np.where(disc & (frames > 0.5), 0.75 * frames, frames)


def _erased_limb(frames: Frames, rng: np.random.Generator) -> Frames:
    erased = frames.copy()
    for visit, frame in enumerate(erased):
        rows = np.flatnonzero((frame > 0.5).any(axis=1))
        if rows.size and visit >= 2:
            frame[rows[-1] - visit + 1 :] = frame.min()
    return erased


def _background_square(frames: Frames, rng: np.random.Generator) -> Frames:
    body = gaussian_filter(frames.max(axis=0), 3)
    height, width = body.shape
    free = body < 0.02
    free[: min(5, height // 3)] = free[:, : min(5, width // 3)] = False
    y, x = _somewhere(free, body < np.median(body), rng)
    drawn = frames.copy()
    drawn[:, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = 0.8
    return drawn


def _local_blur(frames: Frames, rng: np.random.Generator) -> Frames:
    edge = np.ptp(
        np.stack([np.roll(frames[0], s, axis=a) for s in (-1, 1) for a in (0, 1)]), axis=0
    )
    disc = _disc(_somewhere(edge > 0.5, edge > 0, rng), 5, frames.shape[1:])
    return np.where(disc, gaussian_filter(frames, (0, 2, 2)), frames)


DRAWINGS: dict[str, Drawing] = {
    "faint_disc": _faint_disc,
    "erased_limb": _erased_limb,
    "background_square": _background_square,
    "local_blur": _local_blur,
}


def _somewhere(
    wished: NDArray[np.bool_], else_from: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[int, int]:
    """One pixel ``(y, x)`` of the first mask that has any, the middle of the plane if none has."""
    for mask in (wished, else_from):
        places = np.argwhere(mask)
        if len(places):
            y, x = places[rng.integers(len(places))].tolist()
            return y, x
    return wished.shape[0] // 2, wished.shape[1] // 2


def _disc(centre: tuple[int, int], radius: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.asarray((y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2)


def make_cases(
    stacks: Sequence[VisitStack],
    kinds: Sequence[str] = KINDS,
    *,
    patients: int = 20,
    healthy: int | None = None,
    seed: int = 0,
) -> list[Case]:
    """Make the cases.

    Parameters
    ----------
    stacks
        Healthy series, one a subject.
    kinds
        Anomalies, of `synthetic.ANOMALIES`, `EXTRA_KINDS` or `GENERIC_KINDS`.
    patients
        Subjects of each kind, taken from the end of `stacks`.
    healthy
        How many of the remaining subjects stay healthy, counted from the start; all if not given.
    seed
        Where an anomaly has a place or a visit to choose.

    Returns
    -------
    list of Case
        The healthy ones first.

    Raises
    ------
    ValueError
        If there would be no patient, or no subject would be left to stay healthy.
    """
    if patients < 1:
        raise ValueError(f"patients: got {patients}; give 1 of each kind or more")
    sick = patients * len(kinds)
    if len(stacks) <= sick:
        raise ValueError(
            f"patients: {len(kinds)} kinds of {patients} need more than {sick} subjects, got "
            f"{len(stacks)}; {_remedy(len(stacks), len(kinds))}"
        )
    rest = len(stacks) - sick
    cases = [
        _healthy_case(stacks[n], n) for n in range(rest if healthy is None else min(healthy, rest))
    ]
    for place, kind in enumerate(kinds):
        first = rest + place * patients
        cases += [_sick_case(stacks[n], kind, n, seed) for n in range(first, first + patients)]
    return cases


def healthy_cases(stacks: Sequence[VisitStack], first: int = 0) -> list[Case]:
    """Cases of subjects that all stay healthy; their numbers count from `first`."""
    return [_healthy_case(stack, first + number) for number, stack in enumerate(stacks)]


def unused(stacks: Sequence[VisitStack], cases: Sequence[Case]) -> list[Case]:
    """Subjects that are not among `cases`, which `make_cases` made of `stacks`; healthy ones."""
    taken = {case.number for case in cases}
    return [_healthy_case(stack, n) for n, stack in enumerate(stacks) if n not in taken]


def _remedy(subjects: int, kinds: int) -> str:
    most = (subjects - 1) // max(kinds, 1)
    if most < 1:
        return f"give at least {kinds + 1} subjects"
    return f"at most {most} of a kind (patients={most}, or --patients {most}), or more data"


def _healthy_case(stack: VisitStack, number: int) -> Case:
    truth = np.zeros((stack.n_visits, *stack.shape[2:]), dtype=bool)
    return Case(kind=HEALTHY, stack=stack, healthy=stack, truth=truth, number=number)


def _drawing(kind: str) -> Callable[..., tuple[VisitStack, NDArray[np.bool_]]]:
    if kind in GENERIC_KINDS:
        return generic.draw
    return add_extra_anomaly if kind in EXTRA_KINDS else add_anomaly


def _sick_case(stack: VisitStack, kind: str, number: int, seed: int) -> Case:
    sick, truth = _drawing(kind)(stack, kind, seed=seed + number)
    return Case(kind=kind, stack=sick, healthy=stack, truth=truth, number=number)
