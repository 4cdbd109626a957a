"""Find what is abnormal in many patients' series that share a threshold.

Each series is examined once; then one threshold is computed from all of them, and each is segmented
at it. With a threshold of each patient alone, the results are those of `detect`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from napari_followup.detection.detect import detection_of, score_visits
from napari_followup.detection.prepare import Prepared
from napari_followup.detection.recipe_checks import chosen_recipe
from napari_followup.detection.segment import Thresholds
from napari_followup.detection.stream import Scored, maps_of, thresholds_of
from napari_followup.models.bundle import ModelBundle
from napari_followup.recipe.recipe import Quantile, Recipe, Yen
from napari_followup.series.grid import SAME_PLACE, apart
from napari_followup.series.plane_selection import Slicing
from napari_followup.series.results import Detection, OnStep, counting
from napari_followup.series.stack import VisitStack

__all__ = ["Cohort", "detect_cohort"]

IN_MEMORY = 2**30  # bytes of scores and healthy images; more go to files


def detect_cohort(
    stacks: Sequence[VisitStack],
    bundle: ModelBundle,
    recipe: Recipe | None = None,
    *,
    device: str = "auto",
    seed: int = 0,
    on_step: OnStep | None = None,
    planes: Slicing | None = None,
) -> list[Detection]:
    """Reconstruct, score, fuse and segment many patients' visits, at one threshold if asked for.

    Parameters
    ----------
    stacks
        One series a patient.
    bundle
        The trained model.
    recipe
        How evidence becomes a mask; its threshold may be one per ``"dataset"`` or per ``"pixel"``
        of the data set, which `stacks` then are.
    device, planes
        As for `detect`.
    seed
        As for `detect`, and the same for every series: each looks as it does by itself.
    on_step
        Called with the steps done and to do, as many for every series; return False to stop.

    Returns
    -------
    list of Detection
        In the order of `stacks`.

    Raises
    ------
    ValueError
        If a series cannot be examined, as from `detect`, or lies on another grid than the first
        and each pixel is to have a threshold of its own. `Cohort` goes on with the others.
    Cancelled
        If `on_step` returned False.
    """
    cohort = Cohort(bundle, recipe, device=device, seed=seed, planes=planes)
    for index, stack in enumerate(stacks):
        cohort.add(stack, on_step=counting(on_step, index, len(stacks)))
    return list(cohort.detections())


class Cohort:
    """Series that are examined one by one and segmented together.

    Beyond 1 GB, what was found in them waits in temporary files.

    Parameters
    ----------
    bundle, recipe, device, seed, planes
        As for `detect_cohort`.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        recipe: Recipe | None = None,
        *,
        device: str = "auto",
        seed: int = 0,
        planes: Slicing | None = None,
    ) -> None:
        self._bundle = bundle
        self._recipe = chosen_recipe(bundle, recipe)
        self._device, self._seed, self._planes = device, seed, planes
        self._found: list[tuple[Prepared, Scored]] = []
        self._pooled: Thresholds | None = None
        self._is_pooled = False  # whether the threshold of all was computed, if there is one
        self._bytes = 0

    def __len__(self) -> int:
        """Count the series that were examined and not segmented yet."""
        return len(self._found)

    def add(self, stack: VisitStack, *, on_step: OnStep | None = None) -> None:
        """Examine one more series.

        Parameters
        ----------
        stack, on_step
            As for `detect`.

        Raises
        ------
        ValueError
            If it cannot be examined, or lies on another grid than the first where that matters; the
            cohort is then as it was. Or if the first series was segmented already.
        Cancelled
            If `on_step` returned False.
        """
        if self._is_pooled:
            raise ValueError(f"{stack.subject!r}: this cohort is segmented already; make another")
        self._check_grid(stack)
        prepared, found = score_visits(
            stack,
            self._bundle,
            self._recipe,
            device=self._device,
            seed=self._seed,
            on_step=on_step,
            planes=self._planes,
        )
        self._keep(replace(prepared, images=stack.images), found)

    def _keep(self, prepared: Prepared, found: Scored) -> None:
        """Remember a series; what is too much for memory goes to a file, one for each series."""
        self._bytes += found.nbytes
        if self._bytes > IN_MEMORY:
            found = found.on_disk()
        self._found.append((prepared, found))

    def detections(self) -> Iterator[Detection]:
        """Give one result after another, see `segment`."""
        while self._found:
            yield self.segment()

    def segment(self) -> Detection:
        """Segment the series that was added first, and let it go.

        Returns
        -------
        Detection
            ``provenance["pooled_series"]`` says from how many series their threshold was computed:
            all that were there when the first of them was segmented.

        Raises
        ------
        ValueError
            If no series is left.
        """
        if not self._found:
            raise ValueError("no series is left to segment; add one first")
        if not self._is_pooled:
            self._pooled, self._is_pooled = self._pooled_thresholds(), True
        prepared, found = self._found.pop(0)
        return detection_of(
            prepared, found, self._bundle, self._recipe, seed=self._seed, pooled=self._pooled
        )

    def _pooled_thresholds(self) -> Thresholds | None:
        """Thresholds of all series, or none where each has its own."""
        threshold = self._recipe.threshold
        if not (self._recipe.is_pooled and isinstance(threshold, Yen | Quantile)):
            return None
        return thresholds_of([maps_of(*each, self._recipe) for each in self._found], threshold)

    def _check_grid(self, stack: VisitStack) -> None:
        """Refuse a series whose pixels are not those of the first one, where that matters."""
        by_pixel = getattr(self._recipe.threshold, "per", "") == "pixel"
        if not (by_pixel and self._found):
            return
        first = self._found[0][0].stack
        same = stack.shape[2:] == first.shape[2:]
        if not same or apart(stack.affine, first.affine, first.shape[2:]) > SAME_PLACE:
            raise ValueError(
                f"{stack.subject!r}, {_size(stack)}, lies on another grid than {first.subject!r}, "
                f"{_size(first)}; a threshold of each pixel needs one grid: bring them onto it, or "
                'take the threshold per "dataset"'
            )


def _size(stack: VisitStack) -> str:
    size = " x ".join(str(length) for length in stack.shape[2:])
    return f"{size} of {' x '.join(f'{length:.3g}' for length in stack.spacing)} {stack.unit}"
