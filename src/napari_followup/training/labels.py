"""Labels of series: which series, visits, planes or pixels are abnormal.

Needs no torch, so that a form can check labels. Masks are read one visit at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_followup.series.stack import VisitStack

if TYPE_CHECKING:
    from napari_followup.methods.table import TakenLabels


__all__ = ["Entry", "Marks", "checked_marks", "marks_of"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Marks:
    """What is abnormal in one series.

    `planes` is ``(visit, z)``; `masks` is ``(visit, z, y, x)``, nonzero where abnormal, none where
    only planes are labelled.
    """

    planes: NDArray[np.bool_]
    masks: Any = None

    @property
    def is_sick(self) -> bool:
        """Whether anything is abnormal at any visit, be it observed or not."""
        return bool(self.planes.any())

    def mask(self, visit: int | np.integer[Any]) -> NDArray[np.bool_]:
        """``(z, y, x)`` of one visit, of a series whose pixels are labelled."""
        return _nonzero(np.asarray(self.masks[visit]))

    @cached_property
    def fingerprint(self) -> str:
        """Short hash; the same for all ways to label a series healthy."""
        planes = np.packbits(self.planes).tobytes()
        digest = hashlib.sha256(repr(self.planes.shape).encode() + planes)
        for visit in np.flatnonzero(self.planes.any(axis=1)) if self.masks is not None else ():
            digest.update(np.packbits(self.mask(visit)).tobytes())
        return digest.hexdigest()[:16]


Entry = ArrayLike | Marks
"""Label of one series, see `marks_of`."""


def marks_of(stack: VisitStack, entry: Entry) -> Marks:
    """Read the label of one series.

    Parameters
    ----------
    stack
        The series.
    entry
        0 for healthy: a number, ``(visit,)``, ``(visit, z)``, or a mask ``(visit, z, y, x)``,
        ``(visit, y, x)`` where there is one plane a visit, which may be a lazy array. Visits in the
        order of the series, which is that of the ages; NaN counts as 0.

    Returns
    -------
    Marks
        Checked.

    Raises
    ------
    ValueError
        If it has another shape, or holds anything but whole numbers.
    """
    if isinstance(entry, Marks):
        return entry
    given, (visits, _, depth, *plane) = _as_array(entry, stack), stack.shape
    if depth == 1 and given.shape == (visits, *plane):
        given = given[:, None]
    if given.shape == (visits, depth, *plane):
        planes = [_nonzero(_whole(given[visit], stack)).any((1, 2)) for visit in range(visits)]
        return Marks(planes=np.stack(planes), masks=given)
    if given.shape not in ((), (visits,), (visits, depth)):
        raise ValueError(
            f"labels of {stack.subject!r}: got shape {given.shape}; give a number, {(visits,)}, "
            f"{(visits, depth)}, or a mask {(visits, depth, *plane)}"
        )
    found = _nonzero(_whole(given, stack))
    spread = np.broadcast_to(found[:, None] if found.ndim == 1 else found, (visits, depth))
    return Marks(planes=spread.copy())


def checked_marks(
    stacks: Sequence[VisitStack],
    labels: Sequence[Entry],
    takes: TakenLabels | None,
    method: str,
) -> list[Marks]:
    """Read the labels of all series, and check whether a method can learn from them.

    Parameters
    ----------
    stacks
        The series.
    labels
        One entry a series, see `marks_of`.
    takes
        What labels the method takes, if any.
    method
        Its name, for the messages.

    Returns
    -------
    list of Marks
        In the order of the series.

    Raises
    ------
    ValueError
        If there is not one entry a series, one does not fit, nothing is labelled abnormal, only
        planes are labelled where pixels are needed, or the method takes no labels.
    """
    if takes is None:
        raise ValueError(f"labels: {method} learns from healthy images alone; leave them out")
    if len(labels) != len(stacks):
        raise ValueError(
            f"labels: got {len(labels)} for {len(stacks)} series; give one entry a series"
        )
    found = [marks_of(stack, entry) for stack, entry in zip(stacks, labels, strict=True)]
    for stack, marks in zip(stacks, found, strict=True):
        if takes.per == "pixel" and marks.is_sick and marks.masks is None:
            raise ValueError(
                f"labels of {stack.subject!r}: {method} learns which pixels are abnormal, got "
                "labels of visits or planes; give a mask (visit, z, y, x)"
            )
    if not any(
        marks.planes[stack.is_observed].any() for stack, marks in zip(stacks, found, strict=True)
    ):
        raise ValueError(
            "labels: they mark nothing in any observed visit, so there is nothing to learn from "
            "them; mark what is abnormal, or leave them out"
        )
    return found


def _as_array(entry: ArrayLike, stack: VisitStack) -> Any:
    """Array of numbers; a lazy one stays lazy."""
    is_array = hasattr(entry, "shape") and hasattr(entry, "dtype")
    try:
        given: Any = entry if is_array else np.asarray(entry)
    except ValueError as error:
        raise ValueError(f"labels of {stack.subject!r}: the rows differ in length") from error
    if given.dtype.kind not in "buif":
        raise ValueError(
            f"labels of {stack.subject!r}: got values of type {given.dtype}; give numbers, 0 for "
            "healthy"
        )
    return given


def _whole(values: Any, stack: VisitStack) -> NDArray[Any]:
    """Refuse grey values, which are easily given in the place of a mask."""
    read = np.asarray(values)
    if read.dtype.kind == "f" and (np.nan_to_num(read) % 1).any():
        raise ValueError(
            f"labels of {stack.subject!r}: they hold fractions, as grey values do; give whole "
            "numbers, 0 where healthy"
        )
    return read


def _nonzero(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where there is a number other than 0."""
    return np.asarray((values != 0) & (values == values))
