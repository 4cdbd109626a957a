"""Prediction of known visits from others, compared with the images themselves.

Errors and similarities are those of `compare_images`, image by image.
`impute` sees none of the hidden visits; here, where many pairs are predicted at
once, the range of a series is fitted to all its visits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from napari_followup.detection.stream import prepare
from napari_followup.device import fast_networks, inference, planes_at_once
from napari_followup.evaluation.reconstruction import compare_images
from napari_followup.evaluation.statistics import bootstrap_interval
from napari_followup.models.bundle import ModelBundle
from napari_followup.prediction.gaps import DRAWS
from napari_followup.series.stack import VisitStack

__all__ = [
    "ImputationFigures",
    "OnStep",
    "Series",
    "Tally",
    "Task",
    "copies",
    "linear",
    "predict_tasks",
    "series_of",
]

NAN = float("nan")
OnStep = Callable[[int, int], "bool | None"]


@dataclass(frozen=True, kw_only=True)
class ImputationFigures:
    """Means over images of what `name` predicts for the visits of `group`.

    `l1` and `l2` are in the value range, `psnr` is in dB with the 95 % `interval` of its mean for
    other subjects, similarities are in [0, 1].
    """

    group: str
    name: str
    images: int = 0
    psnr: float = NAN
    l1: float = NAN
    l2: float = NAN
    ssim: float = NAN
    ms_ssim: float = NAN
    interval: tuple[float, float] = (NAN, NAN)


@dataclass(frozen=True, eq=False, kw_only=True)
class Series:
    """Observed visits of one plane of a subject, in the model's range and size."""

    images: Tensor  # (visit, modality, y, x)
    ages: Tensor  # (visit,), years
    subject: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """Visits of a series to predict from, the base first, and the one to predict."""

    series: Series
    known: tuple[int, ...]
    wanted: int

    @property
    def target(self) -> Tensor:
        """(modality, y, x): what a perfect prediction would be."""
        return self.series.images[self.wanted]


class Tally:
    """Figures of single images, gathered by group and name, in the order they first come."""

    def __init__(self, value_range: tuple[float, float]) -> None:
        self.value_range = value_range
        self.found: dict[tuple[str, str], dict[int, list[Tensor]]] = {}

    def add(self, group: str, name: str, subject: int, true: Tensor, predicted: Tensor) -> None:
        """Compare images (b, modality, y, x) of one subject."""
        values = compare_images(true, predicted, self.value_range).cpu().double()
        self.found.setdefault((group, name), {}).setdefault(subject, []).append(values)

    def add_tasks(self, group: str, name: str, tasks: Sequence[Task], predicted: Tensor) -> None:
        """Compare predictions (task, modality, y, x), all at once."""
        if not tasks:
            return
        true = torch.stack([task.target for task in tasks])
        values = compare_images(true, predicted, self.value_range).cpu().double()
        subjects = self.found.setdefault((group, name), {})
        for task, row in zip(tasks, values, strict=True):
            subjects.setdefault(task.series.subject, []).append(row[None])

    def figures(self) -> list[ImputationFigures]:
        """Means over images, group by group."""
        return [
            _figures(group, name, [torch.cat(rows) for rows in subjects.values()])
            for (group, name), subjects in self.found.items()
        ]


def _figures(group: str, name: str, subjects: Sequence[Tensor]) -> ImputationFigures:
    values = torch.cat(list(subjects))
    l1, l2, psnr, ssim, ms_ssim = values.mean(dim=0).tolist()
    return ImputationFigures(
        group=group,
        name=name,
        images=len(values),
        psnr=psnr,
        l1=l1,
        l2=l2,
        ssim=ssim,
        ms_ssim=ms_ssim,
        interval=bootstrap_interval({"": [each[:, 2].numpy() for each in subjects]}),
    )


def series_of(
    stacks: Iterable[VisitStack], bundle: ModelBundle, device: torch.device
) -> list[Series]:
    """Every plane of every subject as a series of its own, its observed visits alone."""
    found = []
    for number, stack in enumerate(stacks):
        visits = prepare(stack, bundle, device).visits
        planes = visits.images.permute(2, 0, 1, 3, 4)  # (z, visit, modality, y, x)
        found += [Series(images=each, ages=visits.ages, subject=number) for each in planes]
    return found


def predict_tasks(
    network: Any,
    tasks: Sequence[Task],
    *,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> Tensor:
    """Predict many visits, as many at a time as fit.

    Parameters
    ----------
    network
        A TDM, built.
    tasks
        Each with any number of known visits.
    seed
        Source of the noise.
    on_step
        Called with the tasks done and to do.

    Returns
    -------
    Tensor
        ``(task, modality, y, x)``, the mean over the usual number of draws.
    """
    like = tasks[0].series.images
    height, width = like.shape[-2:]
    most = max(len(task.known) for task in tasks)
    many = max(1, planes_at_once(like.device, (height, width)) // most)
    generator = torch.Generator().manual_seed(seed)
    found = []
    with inference(like.device), fast_networks(like.device):
        for start in range(0, len(tasks), many):
            part = tasks[start : start + many]
            images, ages = _padded(part)
            wanted = torch.stack([task.series.ages[task.wanted] for task in part])
            noise = torch.randn((DRAWS, len(part), *like.shape[1:]), generator=generator).to(like)
            found.append(network.predict(images, ages, wanted, noise).float().mean(dim=0))
            if on_step is not None:
                on_step(start + len(part), len(tasks))
    return torch.cat(found)


def _padded(tasks: Sequence[Task]) -> tuple[Tensor, Tensor]:
    """Known images (task, visit, modality, y, x), and ages (task, visit), NaN beyond the last."""
    most = max(len(task.known) for task in tasks)
    like, years = tasks[0].series.images, tasks[0].series.ages
    images = like.new_zeros(len(tasks), most, *like.shape[1:])
    ages = years.new_full((len(tasks), most), torch.nan)
    for row, task in enumerate(tasks):
        known = list(task.known)
        images[row, : len(known)] = task.series.images[known]
        ages[row, : len(known)] = task.series.ages[known]
    return images, ages


def linear(task: Task, value_range: tuple[float, float]) -> Tensor:
    """Line through two known visits, pixel by pixel, at the wanted age, clipped to the range."""
    first, second = task.known
    ages, images = task.series.ages, task.series.images
    share = float((ages[task.wanted] - ages[first]) / (ages[second] - ages[first]))
    return (images[first] + share * (images[second] - images[first])).clamp(*value_range)


def copies(tasks: Sequence[Task]) -> Tensor:
    """Each task's first known visit, unchanged."""
    return torch.stack([task.series.images[task.known[0]] for task in tasks])
