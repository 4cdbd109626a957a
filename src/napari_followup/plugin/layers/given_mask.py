"""The mask that a Labels layer holds, on the grid of a series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.plugin.layers.layers import Source

__all__ = ["GivenMask"]


@dataclass(frozen=True, eq=False, kw_only=True)
class GivenMask:
    """What a run needs of a Labels layer."""

    name: str
    data: Any

    def on(self, source: Source, visit: int | None = None) -> NDArray[np.bool_]:
        """Take the mask on the grid of a source.

        Parameters
        ----------
        source
            Whose grid it must lie on.
        visit
            Position in the layer, whose mask to take where there is one a visit; without it, all
            of them together.

        Returns
        -------
        NDArray
            ``(z, y, x)`` bool.

        Raises
        ------
        ValueError
            If it has another shape, or nothing is in it.
        """
        sizes = dict(zip(source.axes, source.data.shape, strict=True))
        space = tuple(sizes[letter] for letter in source.axes if letter in "zyx")
        marks: Any = np.asarray(self.data) > 0
        if marks.shape == (sizes["v"], *space):
            marks = marks.any(axis=0) if visit is None else marks[visit]
        if marks.shape == (1, *space):
            marks = marks[0]
        if marks.shape != space:
            raise ValueError(
                f"mask: {self.name!r} has the shape {np.shape(self.data)}, a visit of "
                f"{source.name!r} has {space}; choose labels that lie on its voxels"
            )
        if not marks.any():
            raise ValueError(f"mask: {self.name!r} marks nothing; paint where to look, or clear it")
        return np.asarray(marks if len(space) == 3 else marks[None])
