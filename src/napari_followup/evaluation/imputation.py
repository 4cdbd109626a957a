"""Imputation, measured: the next visit from the one before it, in healthy and in sick series.

References
----------
Dang (2025), Table 6.2. Its data lack an individual pace, and its test split is another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from napari_followup.device import choose_device
from napari_followup.evaluation.prediction import (
    ImputationFigures,
    OnStep,
    Tally,
    Task,
    copies,
    linear,
    predict_tasks,
    series_of,
)
from napari_followup.models.files import ModelBundle
from napari_followup.series.stack import VisitStack

__all__ = ["evaluate_anomalies", "evaluate_next"]

MODEL = "model, from the previous visit"
COPY = "copy of the previous visit"


def evaluate_next(
    stacks: Sequence[VisitStack],
    bundle: ModelBundle,
    *,
    device: str = "auto",
    seed: int = 0,
    on_step: OnStep | None = None,
) -> list[ImputationFigures]:
    """Every visit but the first, predicted from the one before it (Dang 2025, Table 6.2).

    Parameters
    ----------
    stacks
        Healthy series the model was not trained on.
    bundle
        A model with a TDM.
    device, seed
        As for `imputation`.
    on_step
        Called with the visits done and to do.

    Returns
    -------
    list of ImputationFigures
        The model from the previous visit and from all earlier ones, copying, and the line through
        the two previous visits; all of them a second time for the visits that have two previous
        ones, which the line needs.
    """
    where = choose_device(device)
    model = bundle.part("tdm")
    network, series = model.build(where), series_of(stacks, model, where)
    tally = Tally(model.value_range)
    ends = [(each, visit) for each in series for visit in range(1, len(each.ages))]
    tasks = [Task(series=each, known=(visit - 1,), wanted=visit) for each, visit in ends]
    whole = [
        Task(series=each, known=tuple(range(visit)[::-1]), wanted=visit) for each, visit in ends
    ]
    if not tasks:
        raise ValueError("next visit: no series has two observed visits; give longer ones")
    predicted = {
        MODEL: predict_tasks(network, tasks, seed=seed),
        "model, from all earlier visits": predict_tasks(network, whole, seed=seed, on_step=on_step),
        COPY: copies(tasks),
    }
    _add(tally, "next visit", tasks, predicted)
    late = [index for index, task in enumerate(tasks) if task.wanted > 1]
    if late:
        of_late = {name: images[late] for name, images in predicted.items()}
        of_late["line through two visits"] = torch.stack(
            [_line(tasks[index], model.value_range) for index in late]
        )
        _add(tally, "next visit, from the third on", [tasks[index] for index in late], of_late)
    return tally.figures()


def evaluate_anomalies(
    kinds: Mapping[str, Sequence[VisitStack]],
    bundle: ModelBundle,
    *,
    device: str = "auto",
    seed: int = 0,
    on_step: OnStep | None = None,
) -> list[ImputationFigures]:
    """Every visit of sick series, predicted from the one before it (Dang 2025, Table 6.2).

    Parameters
    ----------
    kinds
        Series by kind of anomaly; their missing visits are passed over.
    bundle, device, seed, on_step
        As for `evaluate_next`.

    Returns
    -------
    list of ImputationFigures
        The model and copying, a group a kind.
    """
    where = choose_device(device)
    model = bundle.part("tdm")
    network = model.build(where)
    tally = Tally(model.value_range)
    for kind, stacks in kinds.items():
        tasks = [
            Task(series=each, known=(visit - 1,), wanted=visit)
            for each in series_of(stacks, model, where)
            for visit in range(1, len(each.ages))
        ]
        if tasks:
            images = predict_tasks(network, tasks, seed=seed, on_step=on_step)
            predicted = {MODEL: images, COPY: copies(tasks)}
            _add(tally, kind, tasks, predicted)
    return tally.figures()


def _add(tally: Tally, group: str, tasks: list[Task], predicted: Mapping[str, Tensor]) -> None:
    for name, images in predicted.items():
        tally.add_tasks(group, name, tasks, images)


def _line(task: Task, value_range: tuple[float, float]) -> Tensor:
    """Carry the change between the two visits before the wanted one on to it."""
    known = (task.wanted - 2, task.wanted - 1)
    return linear(Task(series=task.series, known=known, wanted=task.wanted), value_range)
