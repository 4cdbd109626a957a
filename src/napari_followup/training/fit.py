"""Train one stage of a method with Lightning: averaged weights, checkpoints, resuming, a budget."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import deepcopy
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader

from napari_followup.device import halving
from napari_followup.training.batches import RandomBatches, Samples, picked
from napari_followup.training.checkpoint import read_checkpoint
from napari_followup.training.plan import TrainingPlan
from napari_followup.training.stage import Stage
from napari_followup.training.state import Example, OnState
from napari_followup.training.watch import Watch

__all__ = [
    "duration_note",
    "fit_stage",
    "seconds_a_batch",
]

ENDLESS = 2**62  # batches
STEPS = 3  # that are timed, after one that is not


def fit_stage(
    method: Any,
    stage: str,
    samples: tuple[Samples, Samples],
    plan: TrainingPlan,
    out: Path,
    *,
    first: bool = True,
    device: str = "cpu",
    on_state: OnState | None = None,
    example: Callable[[], Example | None] | None = None,
) -> bool:
    """Train `stage` of `method` in place, resuming from `out` where a checkpoint lies.

    Parameters
    ----------
    method
        A module with `loss` and `parts_of`, see `methods.method`.
    stage
        One of ``method.stages``.
    samples
        Those to train and those to validate on, of the kind that the method learns from.
    plan
        Length, batch, learning rate, seed.
    out
        Folder for checkpoints and, under ``losses``, one table of losses a run of this stage.
    first
        Whether this is the stage that gets the whole budget.
    device
        ``"cpu"`` or ``"cuda"``; with ``plan.devices`` above 1 this process is one of several, see
        `training.devices`.
    on_state
        Called after every batch, on a GPU after every tenth; return False to stop, with a
        checkpoint.
    example
        Makes an example with the method as it is; called with every validation.

    Returns
    -------
    bool
        Whether the stage ran to its end; False when `on_state` stopped it. Either way `method`
        holds the averaged weights, those with the lowest validation loss.

    Raises
    ------
    ValueError
        If the checkpoint cannot be read.
    FloatingPointError
        If the loss is no number any more; the checkpoint before that is kept.
    MemoryError
        If not even one sample at a time fits.
    OSError
        If a checkpoint cannot be written.
    """
    saved = read_checkpoint(out)
    if saved and plan.spent(saved.step, saved.seconds, first=first) >= 1:
        method.load_state_dict(saved.chosen)
        return True
    start = saved.step if saved else 0
    if saved:
        method.load_state_dict(saved.current)
    module = Stage(method, stage, plan, first, saved)
    watch = Watch(samples[1], out, on_state, example, saved)
    del saved  # whose weights would lie in memory twice
    batches = DataLoader(RandomBatches(samples[0], plan.batch, plan.seed, start), batch_size=None)
    with _quiet():
        _trainer(plan, out, start, device, watch).fit(module, batches)
    averaged = watch.averages.copy() if watch.best is None else watch.best.weights
    method.load_state_dict(averaged)
    method.eval()
    return not watch.stopped


def _quiet() -> AbstractContextManager[Any]:
    """Silence Lightning's advice on workers and logging."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return warnings.catch_warnings(action="ignore")


def _trainer(plan: TrainingPlan, out: Path, start: int, device: str, watch: Watch) -> pl.Trainer:
    where = torch.device(device)
    first = where.index or 0
    several = plan.devices > 1
    return pl.Trainer(
        accelerator="gpu" if where.type == "cuda" else "cpu",
        devices=list(range(first, first + plan.devices)) if where.type == "cuda" else plan.devices,
        strategy=_shared(where) if several else "auto",
        precision="bf16-mixed" if plan.precision == "bf16" else "32-true",
        max_epochs=1,
        max_steps=-1,
        limit_train_batches=ENDLESS,
        limit_val_batches=0,
        callbacks=[watch],
        logger=_logger(plan, out, start),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _shared(where: torch.device) -> DDPStrategy:
    """Strategy that averages gradients over processes that already run."""
    return DDPStrategy(
        cluster_environment=LightningEnvironment(),
        process_group_backend="nccl" if where.type == "cuda" else "gloo",
        find_unused_parameters=True,
    )


def _logger(plan: TrainingPlan, out: Path, start: int) -> Any:
    name, version = "losses", f"from-{start}"
    if plan.log == "csv":
        return pl.loggers.CSVLogger(out, name=name, version=version)
    try:
        return pl.loggers.TensorBoardLogger(out, name=name, version=version)
    except ModuleNotFoundError as error:
        raise ImportError(
            "log: 'tensorboard' needs TensorBoard: pip install tensorboard, or take 'csv'"
        ) from error


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
    """Estimate how long a stage takes, or how many batches fit into its time.

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
