"""Thresholds on scores: Yen's, with the guards it needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_yen

__all__ = ["yen_threshold"]


def yen_threshold(scores: NDArray[np.floating]) -> float:
    """Yen's threshold of all finite scores given; infinite where there is nothing to split.

    Parameters
    ----------
    scores
        Any shape; NaN (missing visits) is left out. Give one patient's series or a whole data set.

    Returns
    -------
    float
        In the unit of `scores`; a pixel is abnormal when it reaches this.

    References
    ----------
    Yen et al. (1995), used label-free by Dang (2025), eq. 3.9. A constant map has no threshold
    (scikit-image's would flag every pixel of it).
    """
    finite = scores[np.isfinite(scores)]
    if finite.size == 0 or finite.min() == finite.max():
        return float("inf")
    return float(threshold_yen(finite))
