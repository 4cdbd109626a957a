"""Score a series plane by plane, in memory that does not grow with the number of planes.

What a plane's score must know of the others (the highest feature distance, the extremes of a
reference over visits, the neighbours of a median in space) is gathered from maps that are kept at
the model's size; maps that are large lie in files, see `spilling`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_followup.detection.prepare import Prepared
from napari_followup.detection.score import Bounds, bounds_of, fused_stages, last_of, raw_stages
from napari_followup.methods.method import Evidence, Visits
from napari_followup.recipe.recipe import Recipe
from napari_followup.scores.image import image_scores
from napari_followup.scores.smooth import blur, median_filter, middle_median, mirrored
from napari_followup.series.disk_arrays import new_array, release

__all__ = ["Part", "Scored", "heal", "score_planes"]

Part = tuple[slice, Visits, Evidence]
"""Which of the planes, the visits in use there, and what a method found in them."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Scored:
    """Maps of a series on its own grid, turned: ``(visit, plane, row, column)``.

    Attributes
    ----------
    maps
        Every stage of the score by name, ``"final"`` last; NaN where nothing was examined.
    healthy
        ``(visit, modality, plane, row, column)`` in the stack's units, or none.
    image_score
        ``(visit,)``.
    """

    maps: dict[str, NDArray[np.float32]]
    healthy: NDArray[np.float32] | None
    image_score: NDArray[np.float32]


def score_planes(
    prepared: Prepared, parts: Iterable[Part], recipe: Recipe, *, healthy: bool = True
) -> Scored:
    """Every stage of the score of a series.

    Parameters
    ----------
    prepared
        The series.
    parts
        What was found in it, part by part; each is let go before the next is asked for.
    recipe
        Score, fusion and filter.
    healthy
        Whether healthy images are brought onto the series' grid, too.

    Returns
    -------
    Scored
        The same however the planes are divided.

    Raises
    ------
    ValueError
        If the score needs what the method does not give.
    """
    kept, healer = _Kept(prepared), _Healer(prepared)
    for places, visits, evidence in parts:
        if healthy:
            healer.put(places, evidence)
        kept.put(places, raw_stages(visits, evidence, recipe.score))
    bounds = bounds_of(kept.each, prepared.ages, recipe)
    maps: dict[str, NDArray[np.float32]] = {}
    highest: list[Tensor] = []
    for place in range(len(prepared.planes)):
        stages = _complete(kept, place, recipe, bounds, prepared.ages)
        highest.append(image_scores(stages["final"]))
        for name, values in stages.items():
            if name not in maps:
                maps[name] = prepared.new_maps()
            prepared.put(maps[name], slice(place, place + 1), prepared.grid_back(values))
    scores = torch.stack(highest).amax(dim=0).float().cpu().numpy()
    return Scored(maps=maps, healthy=healer.maps, image_score=prepared.spread(scores))


def heal(prepared: Prepared, parts: Iterable[Part]) -> NDArray[np.float32] | None:
    """Healthy images alone: ``(visit, modality, plane, row, column)``, or none."""
    healer = _Healer(prepared)
    for places, _, evidence in parts:
        healer.put(places, evidence)
    return healer.maps


def _complete(
    kept: _Kept, place: int, recipe: Recipe, bounds: Bounds, ages: Tensor
) -> dict[str, Tensor]:
    """All stages of one plane, the filtered score last."""
    stages = fused_stages(kept.planes([place]), ages, recipe, bounds)
    if not recipe.volume_median or recipe.median == 1:
        filtered = median_filter(last_of(stages), recipe.median)
    else:
        around = kept.planes(mirrored(place, kept.depth, recipe.median // 2))
        score = last_of(fused_stages(around, ages, recipe, bounds))
        filtered = middle_median(score, recipe.median)
    return stages | {"final": blur(filtered, recipe.blur)}


class _Healer:
    """Healthy images of the parts of a series, put together."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self.maps: NDArray[np.float32] | None = None

    def put(self, places: slice, evidence: Evidence) -> None:
        """Add the mean of a part's draws, if there are any."""
        if evidence.healthy is None:
            return
        if self.maps is None:
            self.maps = self._prepared.new_maps(modalities=True)
        images = self._prepared.units_back(evidence.healthy.mean(dim=0))
        self._prepared.put(self.maps, places, images)


class _Kept:
    """Raw stages of the visits in use at the model's size, plane by plane."""

    def __init__(self, prepared: Prepared) -> None:
        self.depth = len(prepared.planes)
        self._device = prepared.device
        self._maps: dict[str, NDArray[Any]] = {}  # (plane, visit, row, column)

    def put(self, places: slice, stages: dict[str, Tensor]) -> None:
        """Keep the stages of some planes."""
        for name, values in stages.items():
            found = values.float().transpose(0, 1).cpu().numpy()
            if name not in self._maps:
                self._maps[name] = new_array((self.depth, *found.shape[1:]))
            self._maps[name][places] = found
            release(self._maps[name])

    def planes(self, places: Sequence[int]) -> dict[str, Tensor]:
        """Stages of some planes, each ``(visit, plane, row, column)``."""
        found = {name: torch.from_numpy(values[places]) for name, values in self._maps.items()}
        release(*self._maps.values())
        return {name: values.transpose(0, 1).to(self._device) for name, values in found.items()}

    def each(self) -> Iterator[dict[str, Tensor]]:
        """Stages of every plane by itself."""
        return (self.planes([place]) for place in range(self.depth))
