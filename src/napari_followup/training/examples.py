"""Examples during a training: a held-out subject, and what the model makes of it by now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from napari_followup.detection.prepare import visits_of
from napari_followup.methods import method_recipe
from napari_followup.series.intensity import fit_scaling
from napari_followup.series.stack import VisitStack
from napari_followup.training.examining import thinned
from napari_followup.training.state import Example

__all__ = ["example_maker"]

MOST = 4  # visits


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
