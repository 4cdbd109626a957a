"""One subject in the part that it plays in an evaluation; `cases` hands the parts out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_followup.series.stack import VisitStack

__all__ = ["HEALTHY", "Case"]

HEALTHY = "healthy"  # the part of those who get no anomaly


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
