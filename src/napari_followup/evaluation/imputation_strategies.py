"""The strategies of imputation side by side: visits ahead of a series, and one in its middle.

Everything goes through the door, from visits that alone are in the series it is given.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from napari_followup.detection.prepare import Prepared, visits_of
from napari_followup.detection.stream import prepare
from napari_followup.device import choose_device
from napari_followup.evaluation.prediction import (
    ImputationFigures,
    OnStep,
    Series,
    Tally,
    Task,
    linear,
)
from napari_followup.models.files import ModelBundle
from napari_followup.prediction.impute import imputation
from napari_followup.series.stack import VisitStack

__all__ = ["FIRST", "evaluate_ahead", "evaluate_middle"]

FIRST = 4  # visits known, and as many predicted
AHEAD = ("joint", "direct", "chain")
MIDDLE = ("joint", "both sides", "direct")
CODES = ("lerp-slerp", "lerp-lerp")


def evaluate_ahead(
    stacks: Sequence[VisitStack],
    bundle: ModelBundle,
    *,
    device: str = "auto",
    seed: int = 0,
    on_step: OnStep | None = None,
) -> list[ImputationFigures]:
    """Predict visits 5 to 8 from the first four.

    Parameters
    ----------
    stacks
        Healthy series the model was not trained on; those with fewer than five observed visits
        are passed over.
    bundle
        A model with a TDM.
    device, seed
        As for `imputation`.
    on_step
        Called with the subjects done and to do.

    Returns
    -------
    list of ImputationFigures
        A group a visit; by strategy, copying the fourth, and the line through third and fourth.
    """
    model = bundle.part("tdm")
    tally = Tally(model.value_range)
    for number, stack in enumerate(map(_observed, stacks)):
        wanted = list(range(FIRST, min(2 * FIRST, stack.n_visits)))
        if wanted:
            whole = prepare(stack, model, choose_device(device))
            known = list(range(FIRST))
            images = {
                strategy: _imputed(whole, known, wanted, bundle, strategy, device, seed)
                for strategy in AHEAD
            }
            images["copy of the last known visit"] = _taken(whole, [FIRST - 1] * len(wanted))
            images["line through the last two"] = _lines(whole, (FIRST - 2, FIRST - 1), wanted)
            for place, visit in enumerate(wanted):
                group = f"visit {visit + 1}, {visit + 1 - FIRST} ahead of the first {FIRST}"
                for name, predicted in images.items():
                    true = _taken(whole, [visit])
                    tally.add(group, name, number, _planes(true), _planes(predicted[[place]]))
        if on_step is not None and on_step(number + 1, len(stacks)) is False:
            break
    return tally.figures()


def evaluate_middle(
    stacks: Sequence[VisitStack],
    bundle: ModelBundle,
    *,
    code_subjects: int = 10,
    device: str = "auto",
    seed: int = 0,
    on_step: OnStep | None = None,
) -> list[ImputationFigures]:
    """Predict the middle visit of every series from its two neighbours alone.

    Parameters
    ----------
    stacks, bundle, device, seed, on_step
        As for `evaluate_ahead`; series with fewer than three observed visits are passed over.
    code_subjects
        How many subjects the strategies that interpolate codes are measured on, for they are slow;
        all others stand beside them for the same subjects.

    Returns
    -------
    list of ImputationFigures
        By strategy, and the line between the neighbours.
    """
    model = bundle.part("tdm")
    tally = Tally(model.value_range)
    has_codes = "sdm" in (bundle.method, *bundle.parts)
    for number, stack in enumerate(map(_observed, stacks)):
        if stack.n_visits >= 3:
            middle = stack.n_visits // 2
            known = [middle - 1, middle + 1]
            whole = prepare(stack, model, choose_device(device))
            coded = has_codes and number < code_subjects
            images = {
                strategy: _imputed(whole, known, [middle], bundle, strategy, device, seed)
                for strategy in (*MIDDLE, *(CODES if coded else ()))
            }
            images["line between the neighbours"] = _lines(whole, (known[0], known[1]), [middle])
            true = _planes(_taken(whole, [middle]))
            for name, predicted in images.items():
                if name not in CODES:
                    tally.add("middle visit", name, number, true, _planes(predicted))
            for name, predicted in images.items() if coded else ():
                tally.add(
                    "middle visit, subjects with codes",
                    name,
                    number,
                    true,
                    _planes(predicted),
                )
        if on_step is not None and on_step(number + 1, len(stacks)) is False:
            break
    return tally.figures()


def _observed(stack: VisitStack) -> VisitStack:
    return stack.select(stack.is_observed)


def _imputed(
    whole: Prepared,
    known: list[int],
    wanted: list[int],
    bundle: ModelBundle,
    strategy: str,
    device: str,
    seed: int,
) -> Tensor:
    """Wanted visits (visit, modality, z, y, x) in the model's range, from the known ones alone."""
    stack, like = whole.stack, whole.visits.images
    found = imputation(
        stack.select(known), bundle, stack.ages[wanted], strategy=strategy, device=device, seed=seed
    )
    return visits_of(
        found.stack,
        np.asarray(found.stack.images),
        whole.scalings,
        (like.shape[-2], like.shape[-1]),
        like.device,
        found.imputed,
    ).images


def _taken(whole: Prepared, visits: list[int]) -> Tensor:
    return whole.visits.images[visits]


def _lines(whole: Prepared, known: tuple[int, int], wanted: list[int]) -> Tensor:
    series = Series(images=whole.visits.images, ages=whole.visits.ages, subject=0)
    tasks = [Task(series=series, known=known, wanted=visit) for visit in wanted]
    return torch.stack([linear(task, whole.scalings[0].range) for task in tasks])


def _planes(images: Tensor) -> Tensor:
    """(visit, modality, z, y, x) -> (visit · z, modality, y, x)."""
    return images.transpose(1, 2).flatten(0, 1)
