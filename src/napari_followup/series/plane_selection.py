"""Slicing: which planes of a volume series are examined, and across which axis they are taken.

Models see planes. Those of a volume lie across z unless a `Slicing` says otherwise: then the volume
is turned, so that the chosen axis comes first, and what is found is turned back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.series.stack import VisitStack

__all__ = ["Slicing"]

AXES = "zyx"


@dataclass(frozen=True)
class Slicing:
    """Planes ``first``, ``first + step``, … before ``last``, across one axis of (z, y, x).

    Counted as Python counts: from 0, and `last` is the first plane that is left out.

    Raises
    ------
    ValueError
        If there is no such axis, or no plane is left.
    """

    axis: str = "z"
    first: int = 0
    last: int | None = None  # to the end of the stack where none is given
    step: int = 1

    def __post_init__(self) -> None:
        if self.axis not in tuple(AXES):
            raise ValueError(f"axis: got {self.axis!r}; planes are taken across z, y or x")
        if self.first < 0 or self.step < 1:
            raise ValueError(
                f"planes: got first {self.first} and step {self.step}; count from 0, in steps of "
                "1 or more"
            )
        if self.last is not None and self.last <= self.first:
            raise ValueError(
                f"planes: got {self.first} to {self.last}, which holds none; last must lie above "
                "first, and is itself left out"
            )

    @property
    def is_whole(self) -> bool:
        """Whether these are all planes across z of any stack."""
        return self == Slicing()

    def of(self, stack: VisitStack) -> slice:
        """Positions along the axis, as a slice.

        Raises
        ------
        ValueError
            If they do not lie in the stack.
        """
        size = stack.shape[2:][AXES.index(self.axis)]
        last = size if self.last is None else self.last
        if self.first >= size or last > size:
            asked = f"from {self.first}" if self.last is None else f"{self.first} to {self.last}"
            raise ValueError(
                f"planes: got {asked} across {self.axis}, and {stack.subject!r} has {size}; first "
                f"can be {size - 1} at most, last {size}"
            )
        return slice(self.first, last, self.step)

    def turned(self, values: Any) -> Any:
        """(…, z, y, x) -> (…, plane, row, column), a view; lazy arrays stay lazy."""
        return values.transpose(self._order(values.ndim))

    def turned_back(self, values: Any) -> Any:
        """(…, plane, row, column) -> (…, z, y, x), a view."""
        return values.transpose(np.argsort(self._order(values.ndim)).tolist())

    def geometry(self, stack: VisitStack) -> dict[str, Any]:
        """Spacing and affine of a stack that holds these planes alone, as `with_images` takes."""
        return {"spacing": self.spacing_of(stack.spacing), "affine": self.affine_of(stack.affine)}

    def affine_of(self, affine: NDArray[np.float64]) -> NDArray[np.float64]:
        """Affine (4, 4) of these planes alone, from that of all."""
        place, moved = AXES.index(self.axis), np.array(affine, np.float64)
        moved[:, 3] += self.first * moved[:, place]
        moved[:, place] *= self.step
        return moved

    def spacing_of(self, spacing: Sequence[float]) -> tuple[float, float, float]:
        """Spacing (z, y, x) of these planes alone, from that of all."""
        z, y, x = (
            size * (self.step if axis == self.axis else 1)
            for axis, size in zip(AXES, spacing, strict=True)
        )
        return z, y, x

    def cropped(self, values: Any, stack: VisitStack) -> Any:
        """(…, z, y, x) on the grid of a stack -> these planes of it, a view in the same axes."""
        return self.turned_back(self.turned(values)[..., self.of(stack), :, :])

    def crop(self, stack: VisitStack) -> VisitStack:
        """Stack of these planes alone."""
        return stack.with_images(self.cropped(stack.images, stack), **self.geometry(stack))

    def as_dict(self, stack: VisitStack) -> dict[str, Any]:
        """Plain values for a provenance."""
        taken = self.of(stack)
        return {"axis": self.axis, "first": self.first, "last": taken.stop, "step": self.step}

    def note(self, stack: VisitStack) -> str:
        """Say which planes of a stack were looked at."""
        taken, size = self.of(stack), stack.shape[2:][AXES.index(self.axis)]
        planes = range(size)[taken]
        every = f", every {self.step} planes" if self.step > 1 else ""
        return (
            f"planes {planes[0]} to {planes[-1]} across {self.axis} were examined{every}: "
            f"{len(planes)} of {size}, counted from 0"
        )

    def _order(self, ndim: int) -> Sequence[int]:
        place = ndim - 3 + AXES.index(self.axis)
        rest = [axis for axis in range(ndim - 3, ndim) if axis != place]
        return [*range(ndim - 3), place, *rest]
