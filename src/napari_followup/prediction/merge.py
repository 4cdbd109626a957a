"""Put imputed visits into their series, a few planes at a time.

The merged series is made once, with room for every wanted visit; `impute` fills it. Its arrays are
outputs of the driver that detection uses, see `stream`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from napari_followup.detection.prepare import Prepared
from napari_followup.detection.stream import own_planes, own_visits, read_planes
from napari_followup.prediction.gaps import SAME
from napari_followup.prediction.strategies import Found
from napari_followup.series.disk_arrays import Output
from napari_followup.series.results import Imputation

__all__ = ["Merging"]


class Merging:
    """A series with room for imputed visits, by age.

    Parameters
    ----------
    prepared
        The series; the planes that it looks at are those of the merged one.
    wanted
        ``(age,)`` years to impute, rising. A visit of the series at one of them gives way once that
        one is finished.
    with_spread
        Whether the spread over draws is wanted.
    """

    def __init__(
        self, prepared: Prepared, wanted: NDArray[np.float64], *, with_spread: bool
    ) -> None:
        self._prepared, self._wanted = prepared, wanted
        ages = np.concatenate([prepared.stack.ages, wanted])
        # of two visits at one age, the series' own stands first
        self._order = np.argsort(ages, kind="stable")
        self._ages = ages[self._order]
        self._rows = np.argsort(self._order)[len(prepared.stack.ages) :]  # of the wanted ones
        self._finished: list[float] = []
        shape = (len(ages), *prepared.own(slice(None)).shape[1:])
        self._images = Output(shape, np.result_type(prepared.images.dtype, np.float32))
        self._spread = Output(shape) if with_spread else None
        is_resampled = prepared.grid[1:] != prepared.image_size
        self._ends = _ends(prepared) if is_resampled else None

    @property
    def finished(self) -> bool:
        """Whether any visit is."""
        return bool(self._finished)

    def begin(self) -> None:
        """Forget what was finished: all is made anew."""
        self._finished.clear()

    def put(self, found: Found, places: slice) -> None:
        """Write what was found of one age in some of the planes."""
        prepared, row = self._prepared, self._row(found.age)
        mean = found.drawn.float().mean(dim=0)[None]
        images = prepared.units_back(mean)
        if self._ends is not None:
            images = self._with_detail(images, found.base[None], places)
        self._images.put((row, slice(None), places), images[0])
        if self._spread is not None:
            deviation = found.drawn.float().std(dim=0)[None]
            ends = prepared.units_back(mean + deviation) - prepared.units_back(mean)
            self._spread.put((row, slice(None), places), ends[0])

    def finish(self, age: float) -> None:
        """Say that all planes of an age are there."""
        self._finished.append(age)

    def result(self, provenance: dict[str, Any]) -> Imputation:
        """Series with the visits that are finished, in its own axes."""
        stack, turned_back = self._prepared.stack, self._prepared.turned_back
        before = stack.provenance.get("imputed_ages", ())
        provenance = provenance | {"imputed_ages": sorted({*before, *self._finished})}
        own = self._copied_own()
        new = np.zeros(len(self._ages), bool)
        new[[self._row(age) for age in self._finished]] = True
        kept = np.flatnonzero(own | new)
        observed = np.concatenate([stack.is_observed, np.zeros(len(self._wanted), bool)])
        filled = stack.with_images(
            turned_back(self._images.rows(kept)),
            ages=self._ages[kept],
            is_observed=observed[self._order][kept],
            provenance=provenance,
            **self._prepared.slicing.geometry(stack),
        )
        spread = None if self._spread is None else turned_back(self._spread.rows(kept))
        return Imputation(stack=filled, spread=spread, imputed=new[kept], provenance=provenance)

    def _row(self, age: float) -> int:
        return int(self._rows[np.flatnonzero(self._wanted == age)[0]])

    def _copied_own(self) -> NDArray[np.bool_]:
        """Copy the visits of the series that no finished one stands in for; say which rows."""
        own, done = np.zeros(len(self._ages), bool), np.array(self._finished)
        rows = np.argsort(self._order)
        for row, images in zip(rows, own_visits(self._prepared), strict=False):
            if (np.abs(done - self._ages[row]) >= SAME).all():
                own[row] = True
                self._images.put(row, images)
        return own

    def _with_detail(
        self, images: NDArray[np.float32], base: Tensor, places: slice
    ) -> NDArray[np.float32]:
        """Give back what resampling took from the images that these were made from.

        Detail of one place, put where another has moved to, could reach beyond black and white.
        """
        prepared = self._prepared
        observed = own_planes(prepared, places)[prepared.observed].astype(np.float32)
        lost = observed - prepared.units_back(read_planes(prepared, places).images)
        detailed = images + np.tensordot(base.float().cpu().numpy(), lost, axes=1)
        return np.clip(detailed, *self._ends)  # type: ignore[misc]


def _ends(prepared: Prepared) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Darkest and brightest value of each modality among the planes of the observed visits."""
    visits = zip(prepared.stack.is_observed, own_visits(prepared), strict=True)
    found = [
        [end(images, axis=(1, 2, 3)) for end in (np.min, np.max)]
        for is_observed, images in visits
        if is_observed
    ]
    low, high = np.asarray(found, np.float32).transpose(1, 0, 2)
    shape = (1, -1, 1, 1, 1)
    return low.min(axis=0).reshape(shape), high.max(axis=0).reshape(shape)
