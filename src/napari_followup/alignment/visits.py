"""Visits one by one, each on a grid of its own, as registration takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.series.grid import spacing_of
from napari_followup.series.missing import refuse_partly_missing
from napari_followup.series.stack import VisitStack

__all__ = ["SingleVisit", "check_alike", "reference_of", "single_visits"]


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
        """Voxel (z, y, x) to where it is registered: the world, or (x, y) within its plane."""
        if self.images.shape[1] > 1:
            return self.affine
        z, y, x = spacing_of(self.affine)
        return np.array([[0, 0, x, 0], [0, y, 0, 0], [z, 0, 0, 0], [0, 0, 0, 1.0]])

    def image(self, modality: int) -> NDArray[np.float32]:
        """Take one modality, ``(z, y, x)``.

        Raises
        ------
        ValueError
            If it is the same value all over.
        """
        image = np.asarray(self.images[modality], dtype=np.float32)
        refuse_partly_missing(image, self.name)
        if image.min() == image.max():
            raise ValueError(f"{self.name} is the same value all over; mark it as missing")
        return image


def single_visits(stacks: Sequence[VisitStack]) -> list[SingleVisit]:
    """Take stacks apart.

    Parameters
    ----------
    stacks
        Of any number of visits each.

    Returns
    -------
    list of SingleVisit
        By age, or in their order where there are no ages.
    """
    pairs = [(stack, index) for stack in stacks for index in range(stack.n_visits)]
    ages = [float(stack.ages[index]) for stack, index in pairs]
    if not stacks[0].ages_known:
        ages = [float(number) for number in range(len(pairs))]
    order = sorted(range(len(pairs)), key=ages.__getitem__)
    return [_visit(*pairs[place], number, ages[place]) for number, place in enumerate(order, 1)]


def check_alike(stacks: Sequence[VisitStack]) -> None:
    """Refuse visits that are not of one kind.

    Raises
    ------
    ValueError
        If there is none, or they differ in what they must share.
    """
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


def reference_of(visits: Sequence[SingleVisit], reference: int | None) -> SingleVisit:
    """Find the visit that stays as it is.

    Parameters
    ----------
    visits
        By age.
    reference
        Counted from 0; without it, the first that is not missing.

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
