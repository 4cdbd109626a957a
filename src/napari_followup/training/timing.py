"""How long a training will take, from a few steps of it."""

from __future__ import annotations

import time
from copy import deepcopy
from typing import Any

import torch

from napari_followup.device import halving
from napari_followup.training.batches import RandomBatches, Samples, picked
from napari_followup.training.plan import TrainingPlan

__all__ = ["duration_note", "seconds_a_batch"]

STEPS = 3  # that are timed, after one that is not


def seconds_a_batch(
    method: Any, stage: str, samples: Samples, plan: TrainingPlan, device: torch.device
) -> float:
    """Time a few steps of a copy of a method.

    Parameters
    ----------
    method
        The network; left as it is.
    stage
        Which of its stages.
    samples
        Those to train on.
    plan
        Batch and learning rate.
    device
        Where to compute.

    Returns
    -------
    float
        Seconds, without loading and reports, which take little.
    """
    copy = deepcopy(method).to(device)
    trained = [each for part in copy.parts_of(stage) for each in part.parameters()]
    for each in trained:
        each.requires_grad_(True)  # the stage before froze what it did not train
    optimizer = torch.optim.AdamW(trained, lr=plan.learning_rate)
    batches = iter(RandomBatches(samples, plan.share, plan.seed))

    def step(at_once: int) -> None:
        batch = picked(next(batches), slice(0, at_once))
        optimizer.zero_grad()
        copy.loss(stage, batch, torch.Generator().manual_seed(plan.seed)).backward()
        optimizer.step()

    with torch.random.fork_rng([]):
        halving(step, plan.share)
        start = time.perf_counter()
        for _ in range(STEPS):
            halving(step, plan.share)
        taken = (time.perf_counter() - start) / STEPS
    return taken * plan.batch / (plan.share * plan.devices)


def duration_note(
    stage: str, seconds: float, plan: TrainingPlan, *, first: bool, done: int = 0
) -> str:
    """Say how long a stage will take, or how far its time will go.

    Parameters
    ----------
    stage
        Its name.
    seconds
        For a batch.
    plan
        Steps or minutes.
    first
        Whether the stage gets the whole budget.
    done
        Batches done before.

    Returns
    -------
    str
        One sentence.
    """
    length = plan.length(first=first)
    about = f"{stage}: about {seconds:.2g} s a batch on this machine without a GPU"
    share = 1.0 if first else 0.1
    if length is not None:
        left = max(0, length - done)
        whole = left * seconds / 60
        within = plan.minutes is None or whole <= share * plan.minutes
        if within:
            return f"{about}: {left} batches take about {_span(whole)}"
    fit = int(60 * share * (plan.minutes or 0.0) / seconds)
    return f"{about}: {_span(share * (plan.minutes or 0.0))} are enough for about {fit} batches"


def _span(minutes: float) -> str:
    if minutes < 2:
        return f"{max(1, round(60 * minutes))} s"
    if minutes < 90:
        return f"{round(minutes)} min"
    return f"{minutes / 60:.1f} h" if minutes < 48 * 60 else f"{minutes / 1440:.1f} days"
