"""Examine series with a model that was just trained, as `detect` does, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_followup.detection.prepare import Prepared, visits_of
from napari_followup.detection.recipe_checks import examiner_of, model_and_options
from napari_followup.detection.stream import (
    Part,
    Scored,
    examine_planes,
    prepare,
    score_planes,
    segment_series,
)
from napari_followup.device import inference
from napari_followup.methods import method_recipe
from napari_followup.models.bundle import HealthyScores, ModelBundle
from napari_followup.recipe.recipe import Recipe
from napari_followup.series.intensity import fit_scaling
from napari_followup.series.stack import VisitStack
from napari_followup.training.state import Example

__all__ = [
    "Examined",
    "dices",
    "examined",
    "example_maker",
    "scored",
    "thinned",
]

VISITS, PLANES = 6, 9  # of a thinned series, at most
MOST = 4  # visits


@dataclass(frozen=True, eq=False, kw_only=True)
class Examined:
    """What a model found in a series, to be scored by one recipe after another."""

    prepared: Prepared
    parts: tuple[Part, ...]

    def score(self, recipe: Recipe) -> NDArray[np.float32]:
        """Give the final score, by a recipe with the options that the model was used with."""
        return self._scored(recipe).maps["final"]

    def mask(
        self, recipe: Recipe, known: HealthyScores | None, exact: bool = True
    ) -> NDArray[np.bool_]:
        """Mask of the planes, as `detect` makes it with these healthy scores."""
        return segment_series(self.prepared, self._scored(recipe), recipe, known, exact).mask

    def _scored(self, recipe: Recipe) -> Scored:
        with inference(self.prepared.device):
            return score_planes(self.prepared, self.parts, recipe, healthy=False)


def examined(
    bundle: ModelBundle, stack: VisitStack, recipe: Recipe, *, device: str = "cpu", seed: int = 0
) -> Examined:
    """Keep the evidence in a small series; parameters as for `scored`."""
    prepared, parts = _begun(bundle, stack, recipe, device, seed)
    with inference(prepared.device):
        return Examined(prepared=prepared, parts=tuple(parts))


def _begun(
    bundle: ModelBundle, stack: VisitStack, recipe: Recipe, device: str, seed: int
) -> tuple[Prepared, Iterator[Part]]:
    """Prepare a series; what is found in it comes part by part, as it is asked for."""
    model, options = model_and_options(bundle, recipe)
    where = torch.device(device)
    prepared = prepare(stack, model, where)
    return prepared, examine_planes(prepared, examiner_of(model, options, where), seed)


def scored(
    bundle: ModelBundle, stack: VisitStack, recipe: Recipe, *, device: str = "cpu", seed: int = 0
) -> Scored:
    """Every stage of the score of one series, on its own grid.

    Parameters
    ----------
    bundle
        The trained model.
    stack
        The series.
    recipe
        Score, fusion and filter.
    device
        ``"cpu"`` or ``"cuda"``.
    seed
        Source of the noise.

    Returns
    -------
    Scored
        With the final score among its maps.
    """
    prepared, parts = _begun(bundle, stack, recipe, device, seed)
    with inference(prepared.device):
        return score_planes(prepared, parts, recipe)


def dices(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> list[float]:
    """Dice of every visit that shows something, of arrays ``(visit, z, y, x)``."""
    shown = [(found, true) for found, true in zip(mask, truth, strict=True) if true.any()]
    return [
        2 * float((found & true).sum()) / float(found.sum() + true.sum()) for found, true in shown
    ]


def thinned(stack: VisitStack, *, whole: bool = False) -> VisitStack:
    """Observed visits and planes about the middle, few enough to be examined in passing.

    Parameters
    ----------
    stack
        A series.
    whole
        Whether all planes are kept, for methods that look at volumes.

    Returns
    -------
    VisitStack
        At most 6 visits, evenly spread, and 9 planes.
    """
    observed = np.flatnonzero(stack.is_observed)
    spread = np.linspace(0, len(observed) - 1, min(VISITS, len(observed))).round().astype(int)
    few = stack.select(observed[spread])
    depth = stack.shape[2]
    if whole or depth <= PLANES:
        return few
    first = (depth - PLANES) // 2
    return few.with_images(np.asarray(few.images[:, :, first : first + PLANES]))


def example_maker(method: str, model: Any, stack: VisitStack) -> Callable[[], Example | None]:
    """Make a function that shows what a model in training makes of a subject.

    Parameters
    ----------
    method
        Its name.
    model
        The network, wherever its weights lie when the function is called.
    stack
        A held-out series; its first visits, and of volumes the middle plane, are shown.

    Returns
    -------
    callable
        Gives nothing for methods without a healthy image, or if this series cannot be examined.
    """
    few = thinned(stack, whole=True).select(slice(0, MOST))
    if model.samples != "volumes":
        middle = few.shape[2] // 2
        few = few.with_images(np.asarray(few.images[:, :, middle : middle + 1]))
    config, recipe = model.config, method_recipe(method)
    scalings = tuple(fit_scaling(few, config.value_range, modality=m) for m in range(few.shape[1]))
    options = model.options_type(**recipe.options)

    def make() -> Example | None:
        device = next(model.parameters()).device
        visits = visits_of(few, few.images, scalings, config.image_size, device)
        generator = torch.Generator().manual_seed(0)
        try:
            with torch.no_grad(), torch.random.fork_rng([]):
                evidence = model.examine(visits, options, generator, lambda done, total: None)
        except ValueError:  # such as a single visit, where several are needed
            return None
        if evidence.healthy is None:
            return None
        healthy = evidence.healthy.mean(dim=0)
        middle = visits.images.shape[2] // 2
        given, shown = (
            images[:, :, middle].float().cpu().numpy() for images in (visits.images, healthy)
        )
        return Example(given=given, healthy=shown)

    return make
