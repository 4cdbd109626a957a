"""Who plays which part in an evaluation: some subjects get an anomaly, the others stay healthy.

No subject plays two parts, and the same subjects always play the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_followup.evaluation.extra_anomalies import EXTRA_ANOMALIES, add_extra_anomaly
from napari_followup.stack import VisitStack
from napari_followup.synthetic import add_anomaly

__all__ = ["EXTRA_KINDS", "HEALTHY", "KINDS", "Case", "make_cases"]

HEALTHY = "healthy"
KINDS = ("growing_circle", "darker_circle", "darker_line")  # Dang (2025), Sec. 4.1
EXTRA_KINDS = EXTRA_ANOMALIES


@dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """One subject in its part.

    `healthy` is the series before the anomaly was drawn; `truth` is ``(visit, z, y, x)``; `number`
    is the subject's position in the data, which its noise is seeded with.
    """

    kind: str
    stack: VisitStack
    healthy: VisitStack
    truth: NDArray[np.bool_]
    number: int


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
        Anomalies, of `synthetic.ANOMALIES` or `EXTRA_ANOMALIES`.
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
        If no subject would be left to stay healthy.
    """
    sick = patients * len(kinds)
    if patients < 1 or len(stacks) <= sick:
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


def _remedy(subjects: int, kinds: int) -> str:
    most = (subjects - 1) // max(kinds, 1)
    if most < 1:
        return f"give at least {kinds + 1} subjects"
    return f"at most {most} of a kind (patients={most}, or --patients {most}), or more data"


def _healthy_case(stack: VisitStack, number: int) -> Case:
    truth = np.zeros((stack.n_visits, *stack.shape[2:]), dtype=bool)
    return Case(kind=HEALTHY, stack=stack, healthy=stack, truth=truth, number=number)


def _sick_case(stack: VisitStack, kind: str, number: int, seed: int) -> Case:
    draw = add_extra_anomaly if kind in EXTRA_KINDS else add_anomaly
    sick, truth = draw(stack, kind, seed=seed + number)
    return Case(kind=kind, stack=sick, healthy=stack, truth=truth, number=number)
