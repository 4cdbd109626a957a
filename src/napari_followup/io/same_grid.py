"""Whether images of several visits lie on one grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_followup.io.errors import ReadError
from napari_followup.series.stack import VisitStack

__all__ = ["SAME_PLACE", "apart", "check_grid"]

SAME_PLACE = 0.01  # voxels that two grids may lie apart and still be one


def check_grid(stack: VisitStack, where: str, first: VisitStack, place: str) -> None:
    """Refuse images whose voxels do not lie where those of another stack do.

    Parameters
    ----------
    stack, first
        The one in question, and the one it should lie on.
    where, place
        How a message names them, such as "row 3".

    Raises
    ------
    ReadError
        If they lie further apart than rounding explains.
    """
    same = stack.shape[2:] == first.shape[2:] and stack.unit == first.unit
    if same and apart(stack.affine, first.affine, first.shape[2:]) <= SAME_PLACE:
        return
    raise ReadError(
        f"{where}: {_grid(stack)} lie elsewhere than those of {place}, {_grid(first)}; bring the "
        "visits onto one grid with align (in Python: nf.align(nf.read_visits(..., "
        "keep_missing=True)))"
    )


def apart(one: NDArray[np.float64], other: NDArray[np.float64], shape: Sequence[int]) -> float:
    """Largest distance between the corners of two grids, in voxels of the second."""
    ends = [[0, size - 1] for size in shape]
    corners = np.stack([*np.meshgrid(*ends, indexing="ij"), np.ones((2, 2, 2))]).reshape(4, 8)
    return float(np.abs((np.linalg.inv(other) @ one @ corners - corners)[:3]).max())


def _grid(stack: VisitStack) -> str:
    size = " x ".join(str(length) for length in stack.shape[2:])
    voxel = " x ".join(f"{length:.3g}" for length in stack.spacing)
    return f"{size} voxels of {voxel} {stack.unit}"
