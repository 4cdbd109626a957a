"""Regions of a change map beyond a threshold: their sign and their size.

Sizes are volumes in mm³, areas in mm² for planes, or voxels if the spacing is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import generate_binary_structure, label

__all__ = ["BRIGHTER", "DARKER", "THRESHOLD", "ChangeRegions", "change_regions"]

BRIGHTER, DARKER = 1, 2
THRESHOLD = 4.0  # units of noise; if noise is Gaussian, one voxel in 16,000 reaches it by chance


@dataclass(frozen=True, eq=False, kw_only=True)
class ChangeRegions:
    """Regions of one change map.

    Attributes
    ----------
    labels
        ``(z, y, x)`` uint8: 1 where the later visit is brighter, 2 where it is darker, else 0.
    brighter, darker
        Sizes of the regions, largest first.
    unit
        Of the sizes: "mm³", "mm²" or "voxels".
    """

    labels: NDArray[np.uint8]
    brighter: tuple[float, ...]
    darker: tuple[float, ...]
    unit: str

    def __str__(self) -> str:
        sides = {"brighter": self.brighter, "darker": self.darker}
        return "; ".join(f"{name}: {self._sum(sizes)}" for name, sizes in sides.items())

    def _sum(self, sizes: Sequence[float]) -> str:
        if not sizes:
            return "nothing"
        total = f"{sum(sizes):,.0f} {self.unit}"
        if len(sizes) == 1:
            return f"1 region, {total}"
        return f"{len(sizes)} regions, {total}, the largest {sizes[0]:,.0f} {self.unit}"


def change_regions(
    change: ArrayLike,
    *,
    threshold: float = THRESHOLD,
    smallest: float = 0.0,
    spacing: Sequence[float] | None = None,
) -> ChangeRegions:
    """Find the regions where a change map is beyond a threshold.

    Parameters
    ----------
    change
        ``(z, y, x)``, in units of noise, from `change_map.change`.
    threshold
        Above 0, in units of noise; values of at least this size count, positive or negative.
    smallest
        Smaller regions are left out; in the unit of the sizes.
    spacing
        Size of a voxel ``(z, y, x)`` in mm; without it sizes are in voxels.

    Returns
    -------
    ChangeRegions
        Voxels that touch, even at a corner, belong to one region.

    Raises
    ------
    ValueError
        If the threshold is not above 0.
    """
    if not threshold > 0:
        raise ValueError(f"threshold: got {threshold}; give one above 0, in units of noise")
    values = np.asarray(change)
    is_flat = len(values) == 1
    voxel = 1.0 if spacing is None else math.prod(tuple(spacing)[1 if is_flat else 0 :])
    labels = np.zeros(values.shape, dtype=np.uint8)
    sizes = {}
    for side, sign in ((BRIGHTER, 1), (DARKER, -1)):
        kept, sizes[side] = _parts(sign * values >= threshold, voxel, smallest)
        labels[kept] = side
    unit = "voxels" if spacing is None else "mm²" if is_flat else "mm³"
    return ChangeRegions(labels=labels, brighter=sizes[BRIGHTER], darker=sizes[DARKER], unit=unit)


def _parts(
    mask: NDArray[np.bool_], voxel: float, smallest: float
) -> tuple[NDArray[np.bool_], tuple[float, ...]]:
    """Mask without small parts, and the sizes of the parts left."""
    parts, _ = label(mask, generate_binary_structure(3, 3))
    sizes = np.bincount(parts.ravel()) * voxel
    is_kept = sizes >= smallest
    is_kept[0] = False
    return is_kept[parts], tuple(sorted(sizes[is_kept].tolist(), reverse=True))
