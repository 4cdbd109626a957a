"""Evaluation of speed: seconds an imputed visit takes, beside the published scheme.

The published scheme makes 100 network calls and prepares the subject again
for each of them; ours prepares it once, and its default makes a single call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch

from napari_followup.device import choose_device, fast_networks, inference, wait
from napari_followup.evaluation.prediction import Series, series_of
from napari_followup.models.bundle import ModelBundle
from napari_followup.prediction.gaps import DRAWS
from napari_followup.prediction.impute import imputation
from napari_followup.series.stack import VisitStack

__all__ = [
    "PUBLISHED_CALLS",
    "SpeedFigures",
    "evaluate_speed",
]

PUBLISHED_CALLS = 100
MEASURED_CALLS = 3  # of a network too slow to be measured in full


@dataclass(frozen=True, kw_only=True)
class SpeedFigures:
    """Seconds one visit takes; `ratio` to our default, network alone."""

    name: str
    calls: int
    seconds: float
    ratio: float


def evaluate_speed(
    stack: VisitStack,
    bundle: ModelBundle,
    others: Mapping[str, Any],
    *,
    device: str = "auto",
    repeats: int = 5,
) -> list[SpeedFigures]:
    """Time one visit, imputed from all visits before the last.

    Parameters
    ----------
    stack
        A series of three observed visits or more; the last one is imputed.
    bundle
        A model with a TDM.
    others
        Further networks by name, for scale; a few of their calls are timed and multiplied.
    device
        As for `imputation`.
    repeats
        Of the short measurements; their median counts.

    Returns
    -------
    list of SpeedFigures
        The public function, our default, 100 calls with the subject prepared once, and 100 with
        it prepared for each.
    """
    where = choose_device(device)
    model = bundle.part("tdm")
    network, (series, *_) = model.build(where), series_of([stack], model, where)
    seen = stack.select(stack.is_observed)
    known, wanted = seen.select(slice(0, -1)), seen.ages[-1:]

    def public() -> None:
        imputation(known, bundle, wanted, device=device)

    calls = min(PUBLISHED_CALLS, network.config.steps)
    once = partial(_call, network, series, 1)
    usual = network.config.usual_steps(DRAWS)
    default = _seconds(partial(_call, network, series, usual, DRAWS), where, repeats)
    timed = {
        "our default, by the public function": (DRAWS * usual, _seconds(public, where, repeats)),
        "our default, network alone": (DRAWS * usual, default),
        "many calls, the subject prepared once": (
            calls,
            _seconds(partial(_call, network, series, calls), where, 1),
        ),
        "many calls, the subject prepared for each (as published)": (
            calls,
            _seconds(lambda: [once() for _ in range(calls)], where, 1),
        ),
    }
    for name, other in others.items():
        few = other.to(where).eval()
        one = _seconds(partial(_call, few, series, 1), where, MEASURED_CALLS)
        timed[name] = (PUBLISHED_CALLS, PUBLISHED_CALLS * one)
    return [
        SpeedFigures(name=name, calls=count, seconds=seconds, ratio=seconds / default)
        for name, (count, seconds) in timed.items()
    ]


def _call(network: Any, series: Series, sampling_steps: int, draws: int = 1) -> None:
    """Impute the last visit of a series, preparing the subject once."""
    where = series.images.device
    noise = torch.zeros((draws, 1, *series.images.shape[1:]), device=where)
    with inference(where), fast_networks(where):
        network.predict(
            series.images[None, :-1].flip(1),  # the base first
            series.ages[None, :-1].flip(1),
            series.ages[-1:],
            noise,
            sampling_steps,
        )


def _seconds(run: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Median time of a run, after one that does not count where there are several."""
    found = []
    for _ in range(repeats + (repeats > 1)):
        wait(device)
        start = time.perf_counter()
        run()
        wait(device)
        found.append(time.perf_counter() - start)
    return median(found[1:] if repeats > 1 else found)
