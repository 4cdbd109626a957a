"""Yen's threshold on scores that need not be in memory all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_yen

__all__ = ["yen_threshold"]

BINS = 256


def yen_threshold(parts: Callable[[], Iterable[NDArray[Any]]]) -> float:
    """Yen's threshold of all finite scores given; infinite where there is nothing to split.

    Parameters
    ----------
    parts
        Gives the scores part by part, and again from the start each time it is called: of one
        patient's series, or of a whole data set. NaN (missing visits) is left out.

    Returns
    -------
    float
        In the unit of the scores; a pixel is abnormal when it reaches this.

    References
    ----------
    Yen et al. (1995), used label-free by Dang (2025), eq. 3.9. A constant map has no threshold
    (scikit-image's would flag every pixel of it).
    """
    ends = [(part.min(), part.max()) for part in _finite(parts())]
    low, high = min((end[0] for end in ends), default=0), max((end[1] for end in ends), default=0)
    if low == high:
        return float("inf")
    counts = np.zeros(BINS, np.int64)
    edges = np.empty(0)
    for part in _finite(parts()):
        found, edges = np.histogram(part, BINS, (low, high))
        counts += found
    return float(threshold_yen(hist=(counts, (edges[:-1] + edges[1:]) / 2)))


def _finite(parts: Iterable[NDArray[Any]]) -> Iterable[NDArray[Any]]:
    for part in parts:
        finite = part[np.isfinite(part)]
        if finite.size:
            yield finite
