"""Train one stage of a method with Lightning: averaged weights, checkpoints, resuming, a budget."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader

from napari_followup.training.batches import RandomBatches, Samples
from napari_followup.training.checkpoint import read_checkpoint
from napari_followup.training.plan import TrainingPlan
from napari_followup.training.stage import Stage
from napari_followup.training.state import Example, OnState
from napari_followup.training.watch import Watch

__all__ = ["fit_stage"]

ENDLESS = 2**62  # batches


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
    """Advice on workers and logging is not ours to heed."""
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
    """Gradients averaged over processes that are there already."""
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
