"""The line that scores are cut at where they draw it themselves: Yen's threshold and quantiles.

It may be one of a visit, of a patient, of a pixel, or of many patients' series together. Series of
any size are gone through visit by visit, or block by block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from napari_followup.recipe.choices import Quantile, Yen
from napari_followup.segmentation.masks import inside_mask, mask_at
from napari_followup.segmentation.threshold import yen_of_parts
from napari_followup.series.disk_arrays import each_visit, new_array, release

__all__ = ["Line", "Maps", "line_of"]

SAMPLE = 2**24  # values that a quantile is taken from at once, at most


@dataclass(frozen=True, eq=False, kw_only=True)
class Maps:
    """What is cut: the scores of one series, ``(visit, z, y, x)``, and what the cut must know.

    Attributes
    ----------
    score, pixel
        Final score and pixel distance; NaN where a visit is missing.
    voxel
        Size of a pixel or voxel, in the unit of ``Recipe.smallest``.
    inside
        Where something may be marked, bool; everywhere if none is given.
    scale
        Ends of the score that become 0 and 1 before it is pooled with those of other series.
    """

    score: NDArray[np.float32]
    pixel: NDArray[np.float32]
    voxel: float = 1.0
    inside: NDArray[np.bool_] | None = None
    scale: tuple[float, float] | None = None

    def visits(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Score, scaled, and pixel distance of each visit."""
        for score, pixel in each_visit(self.score, self.pixel):
            yield self._scaled(score), pixel

    def block(self, plane: int, rows: slice) -> NDArray[Any]:
        """Scaled score of some rows of a plane at the visits that are there, as a copy."""
        found: NDArray[Any] = self._scaled(self.score[:, plane, rows].copy())
        release(self.score)
        return np.asarray(found[~np.isnan(found).all(axis=(1, 2))])

    def _scaled(self, score: NDArray[Any]) -> NDArray[Any]:
        if self.scale is None:
            return score
        low, high = self.scale
        return (score - low) / (high - low)


@dataclass(frozen=True, eq=False, kw_only=True)
class Line:
    """The height that a score must reach.

    Attributes
    ----------
    height
        One number; or ``(visit,)``, or ``(z, y, x)`` where each visit or each pixel has its own.
    pixel
        What the pixel distance must reach inside the mask, or none.
    series
        How many series drew the line.
    """

    height: float | NDArray[Any]
    pixel: float | None = None
    series: int = 1

    @property
    def lowest(self) -> float:
        """The lowest height, below which nothing is marked."""
        return float(np.nanmin(self.height))

    def at(self, visit: int) -> Any:
        """Height at a visit: a number, or one a pixel."""
        if isinstance(self.height, np.ndarray) and self.height.ndim == 1:
            return float(self.height[visit])
        return self.height

    def for_maps(self, maps: Maps) -> Line:
        """Give the same line in the unit of the score of one series."""
        if maps.scale is None:
            return self
        low, high = maps.scale
        return replace(self, height=low + self.height * (high - low))


def line_of(series: Sequence[Maps], threshold: Yen | Quantile) -> Line:
    """Line that the scores of one series draw, or those of several together.

    Parameters
    ----------
    series
        One patient's, or a whole data set's. For a quantile of each pixel they must lie on one
        grid; for one of each image, or of each patient, give one series.
    threshold
        Which line.

    Returns
    -------
    Line
        In the unit of the scaled scores.
    """
    match threshold:
        case Yen():
            height = yen_of_parts(lambda: (score for maps in series for score, _ in maps.visits()))
            far = _yen_inside(series, height) if threshold.pixel_too else None
            return Line(height=height, pixel=far, series=len(series))
        case Quantile():
            return Line(height=_quantiles(series, threshold), series=len(series))
        case _:
            assert_never(threshold)


def _yen_inside(series: Sequence[Maps], height: float) -> float:
    """Yen's threshold of the pixel distance inside what reaches a height."""
    return yen_of_parts(
        lambda: (
            inside_mask(mask_at(score, height), pixel)
            for maps in series
            for score, pixel in maps.visits()
        )
    )


def _quantiles(series: Sequence[Maps], threshold: Quantile) -> float | NDArray[Any]:
    if threshold.per == "pixel":
        return _pixel_quantiles(series, threshold.q)
    if threshold.per == "image":
        heights = [_quantile([score], threshold.q) for maps in series for score, _ in maps.visits()]
        return np.array(heights)
    stride = _stride([maps.score[0].size for maps in series for _ in maps.score])
    parts = [score.ravel()[::stride].copy() for maps in series for score, _ in maps.visits()]
    return _quantile(parts, threshold.q)


def _stride(sizes: Sequence[int]) -> int:
    """Take every so-manyth score of images of these sizes: never the same columns of each row."""
    stride = -(-sum(sizes) // SAMPLE)
    while any(math.gcd(stride, size) > 1 for size in set(sizes)):
        stride += 1
    return stride


def _quantile(parts: Sequence[NDArray[Any]], q: float) -> float:
    """Quantile of what is there in some arrays; NaN where nothing is."""
    values = np.concatenate([part.ravel() for part in parts])
    values = values[~np.isnan(values)]
    return float(np.quantile(values, q, overwrite_input=True)) if values.size else float("nan")


def _pixel_quantiles(series: Sequence[Maps], q: float) -> NDArray[np.float32]:
    """(z, y, x): the quantile of each pixel over the visits of all series."""
    grid = series[0].score.shape[1:]
    heights = new_array(grid, np.float32, np.nan)
    visits = sum(len(maps.score) for maps in series)
    count = max(1, SAMPLE // (visits * grid[2]))
    for plane in range(grid[0]):
        for start in range(0, grid[1], count):
            rows = slice(start, start + count)
            values = np.concatenate([maps.block(plane, rows) for maps in series])
            heights[plane, rows] = np.quantile(values, q, axis=0, overwrite_input=True)
        release(heights)
    return heights
