"""Who plays which part in an evaluation: some subjects get an anomaly, the others stay healthy.

No subject plays two parts, and the same subjects always play the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_followup.evaluation.case import HEALTHY, Case
from napari_followup.evaluation.extra_anomalies import EXTRA_ANOMALIES, add_extra_anomaly
from napari_followup.series.stack import VisitStack
from napari_followup.synthetic import add_anomaly, generic

__all__ = [
    "EXTRA_KINDS",
    "GENERIC_KINDS",
    "HEALTHY",
    "KINDS",
    "Case",
    "healthy_cases",
    "make_cases",
    "unused",
]

KINDS = ("growing_circle", "darker_circle", "darker_line")  # Dang (2025), Sec. 4.1
EXTRA_KINDS = EXTRA_ANOMALIES
GENERIC_KINDS = generic.GENERIC_ANOMALIES  # for images that look like no starman


def make_cases(
    stacks: Sequence[VisitStack],
    kinds: Sequence[str] = KINDS,
    *,
    patients: int = 20,
    healthy: int | None = None,
    seed: int = 0,
) -> list[Case]:
    """Hand out the parts.

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
    """Subjects that play no part in `cases`, which `make_cases` made of `stacks`; healthy ones."""
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
