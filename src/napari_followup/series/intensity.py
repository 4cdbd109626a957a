"""Map a series' intensities into the range a model was trained on, and back.

Linear, from two percentiles of the observed visits of one modality, so that one bright voxel does
not set the scale. Nothing is clipped: what lies beyond the percentiles stays beyond the range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_followup.series.disk_arrays import each_visit
from napari_followup.series.stack import VisitStack

__all__ = ["Scaling", "fit_scaling", "sampled", "scaling_of"]

SAMPLE = 2**24  # values the percentiles are taken from, at most


@dataclass(frozen=True)
class Scaling:
    """A linear map from intensity `low` to the start of `range` and from `high` to its end."""

    low: float
    high: float
    range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        start, end = self.range
        if not (-np.inf < self.low < self.high < np.inf and -np.inf < start < end < np.inf):
            raise ValueError(
                f"a scaling takes low < high to a rising range, got {self.low}, {self.high} and "
                f"{self.range}"
            )

    def apply(self, images: ArrayLike) -> NDArray[np.float32]:
        """Take intensities to the range; any shape, NaN stays NaN, float32 comes back."""
        return _mapped(images, (self.low, self.high), self.range)

    def invert(self, scaled: ArrayLike) -> NDArray[np.float32]:
        """Take values in the range back to intensities; any shape, float32 comes back."""
        return _mapped(scaled, self.range, (self.low, self.high))


def fit_scaling(
    images: VisitStack | ArrayLike,
    range: tuple[float, float] = (0.0, 1.0),
    percentiles: tuple[float, float] = (0.5, 99.5),
    *,
    modality: int = 0,
) -> Scaling:
    """Find the scaling that takes two percentiles of the intensities to the ends of a range.

    Parameters
    ----------
    images
        A stack, of which the observed visits of one modality count, or an array of any shape.
    range
        The model's value range.
    percentiles
        Which percentiles, 0 to 100. A silhouette's 99.5th lies on its plateau, which thus
        becomes the end of the range exactly. Above 16 million values a regular sample is used.
    modality
        Position of the modality in the stack; an array has none.

    Returns
    -------
    Scaling
        Where the two percentiles are equal, minimum and maximum stand in for them; a constant
        image goes to the start of the range.

    Raises
    ------
    ValueError
        If no value is a number.
    """
    return scaling_of(_observed_values(images, modality), range, percentiles)


def sampled(image: NDArray[Any], visits: int) -> NDArray[Any]:
    """Sample the intensities of one of so many visits, in one flat array of its own.

    Parameters
    ----------
    image
        ``(z, y, x)``.
    visits
        How many such images there are; above 16 million values in all, the sample is a part of
        them.

    Returns
    -------
    NDArray
        One axis.
    """
    stride = -(-visits * image.size // SAMPLE)
    return image.ravel()[::stride].copy()


def scaling_of(
    values: NDArray[Any],
    range: tuple[float, float] = (0.0, 1.0),
    percentiles: tuple[float, float] = (0.5, 99.5),
) -> Scaling:
    """Find the scaling of intensities that were sampled, which are overwritten.

    Parameters
    ----------
    values
        One axis.
    range, percentiles
        As for `fit_scaling`, and so are the errors.

    Returns
    -------
    Scaling
        As from `fit_scaling`.
    """
    if values.dtype == bool:
        values = values.astype(np.uint8)  # percentiles subtract, which booleans cannot
    finite = np.isfinite(values)
    values = values if finite.all() else values[finite]
    if not values.size:
        raise ValueError("fit_scaling: no value is finite; give at least one observed image")
    low, high = np.percentile(values, percentiles, overwrite_input=True).tolist()
    if not low < high:  # a few bright voxels on an even background
        low, high = float(values.min()), float(values.max())
    return Scaling(low, high if low < high else low + max(1.0, abs(low)), range)


def _observed_values(images: VisitStack | ArrayLike, modality: int) -> NDArray[Any]:
    """Intensities in one flat array of its own, read visit by visit."""
    if not isinstance(images, VisitStack):
        return np.asarray(images).ravel().copy()
    visits = zip(images.is_observed, each_visit(images.images), strict=True)
    count = int(images.is_observed.sum())
    parts = [
        sampled(np.asarray(visit[modality]), count) for is_there, (visit,) in visits if is_there
    ]
    return np.concatenate(parts)


def _mapped(
    values: ArrayLike, source: tuple[float, float], target: tuple[float, float]
) -> NDArray[np.float32]:
    """Take one interval to the other, in double precision where the input needs it."""
    values = np.asarray(values)
    work = np.result_type(values.dtype, np.float32)
    part = (values.astype(work) - work.type(source[0])) / work.type(source[1] - source[0])
    scaled = part * work.type(target[1] - target[0]) + work.type(target[0])
    return np.asarray(scaled, dtype=np.float32)
