"""What a model's configuration can only know once its weights are trained.

AnoFPDM alone has such numbers so far: `largest_difference` and `healthy_similarity`, without which
its published recipe would scale every series by itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_followup.device import fast_networks, inference
from napari_followup.models.files import ModelBundle
from napari_followup.series.stack import VisitStack
from napari_followup.training.examining import thinned
from napari_followup.training.labels import Entry
from napari_followup.training.samples import healthy_samples
from napari_followup.training.settings import form_of

__all__ = ["refined"]

SUBJECTS, PLANES = 32, 48  # that are looked at, at most


def refined(
    bundle: ModelBundle,
    stacks: Sequence[VisitStack],
    *,
    labels: Sequence[Entry] | None = None,
    device: str = "cpu",
    seed: int = 0,
) -> ModelBundle:
    """Bundle whose configuration knows what only its trained weights can tell.

    Parameters
    ----------
    bundle
        The trained model.
    stacks
        Series it was not trained on: healthy ones, or with `labels` others too. Up to 32 of them
        are used, and 48 planes.
    labels
        One entry a series, see `labels.marks_of`. Where none are given, a method that needs
        anomalies makes them from healthy planes, as in its training.
    device
        ``"cpu"`` or ``"cuda"``.
    seed
        Source of those anomalies and of all noise.

    Returns
    -------
    ModelBundle
        The same one where the method has nothing of the kind. Healthy scores of recipes that the
        new numbers change are left out.
    """
    model = bundle.build(device)
    if not model.refines:
        return bundle
    planes, known = _planes(model, stacks, labels)
    where, generator = torch.device(device), torch.Generator().manual_seed(seed)
    with inference(where), fast_networks(where):
        config = model.refined(
            planes.to(where), None if known is None else known.to(where), generator
        )
    healthy = {
        key: scores for key, scores in bundle.healthy.items() if not _uses(key, model.refines)
    }
    return replace(bundle, config=asdict(config), healthy=healthy)


def _planes(
    model: Any, stacks: Sequence[VisitStack], labels: Sequence[Entry] | None
) -> tuple[Tensor, Tensor | None]:
    """Planes (b, modality, y, x); where there are labels, those too, half of them healthy."""
    few = _spread(len(stacks), SUBJECTS)
    chosen = [stacks[index] for index in few]
    if labels is None:
        form = replace(form_of(model), kind="planes")
        planes = healthy_samples(form, [thinned(stack) for stack in chosen])
        assert isinstance(planes, Tensor)
        return planes[_spread(len(planes), PLANES)], None
    form = form_of(model, labelled=True)
    planes, known = healthy_samples(form, chosen, labels=[labels[index] for index in few])
    halves = [torch.nonzero(known > 0)[:, 0], torch.nonzero(known == 0)[:, 0]]
    taken = torch.cat([half[_spread(len(half), PLANES // 2)] for half in halves])
    return planes[taken], known[taken]


def _spread(count: int, most: int) -> list[int]:
    """Evenly spread positions."""
    places: list[int] = np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()
    return places


def _uses(key: str, options: Sequence[str]) -> bool:
    """Whether a recipe, by its `score_key`, sets one of these options."""
    given = json.loads(key)["options"]
    return any(given.get(name) is not None for name in options)
