"""Train one stage of a method with Lightning: averaged weights, checkpoints, resuming, a budget."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, WeightAveraging
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from napari_followup.training.checkpoint import LAST, read_checkpoint
from napari_followup.training.plan import TrainingPlan
from napari_followup.training.samples import RandomBatches, Samples, picked, size_of

__all__ = ["OnLoss", "fit_stage"]

OnLoss = Callable[[int, float, float], "bool | None"]
"""Called with the batch number, the progress in [0, 1] and the loss; returns False to stop."""

TRAINING, VALIDATION, DROPOUT = range(3)  # streams of random numbers


def _seed(*numbers: int) -> int:
    """Seed that depends on every one of `numbers`."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


class _Stage(pl.LightningModule):
    """One stage of a method, as Lightning wants to see it.

    All randomness follows from the plan's seed and the batch number, so that a resumed training
    goes on as if it had not been interrupted.
    """

    def __init__(self, method: Any, stage: str, plan: TrainingPlan, first: bool) -> None:
        super().__init__()
        self.method, self.stage, self.plan, self.first = method, stage, plan, first
        self.seconds = 0.0  # spent before the last resume
        self._since = time.monotonic()
        method.requires_grad_(False).eval()  # what another stage trained neither learns nor drops
        for part in method.parts_of(stage):
            part.requires_grad_(True).train()

    @property
    def elapsed(self) -> float:
        """Seconds of training, those before a resume included."""
        return self.seconds + time.monotonic() - self._since

    @property
    def progress(self) -> float:
        """Share of the budget that is spent."""
        return self.plan.spent(self.global_step, self.elapsed, first=self.first)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam with a little weight decay, over what this stage trains."""
        trained = [each for part in self.method.parts_of(self.stage) for each in part.parameters()]
        return torch.optim.AdamW(trained, lr=self.plan.learning_rate, weight_decay=1e-4)

    def on_train_start(self) -> None:
        """Start the clock when the work starts, not when the objects are made."""
        self._since = time.monotonic()

    def training_step(self, batch: Samples, _: int) -> Tensor:
        """Loss of one batch, at the learning rate the plan has for it."""
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.plan.rate(self.global_step, self.progress)
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(_seed(self.plan.seed, self.global_step, DROPOUT))
            loss = self._loss(batch, self.global_step, TRAINING)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Samples, index: int) -> None:
        """Loss of one validation batch, under the same noise every time."""
        loss = self._loss(batch, index, VALIDATION)
        self.log("validation_loss", loss, on_epoch=True, on_step=False)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note the time spent."""
        checkpoint["seconds"] = self.elapsed

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Count the time spent before."""
        self.seconds = checkpoint["seconds"]

    def _loss(self, batch: Samples, number: int, stream: int) -> Tensor:
        generator = torch.Generator().manual_seed(_seed(self.plan.seed, number, stream))
        loss: Tensor = self.method.loss(self.stage, batch, generator)
        return loss


class _Averaging(WeightAveraging):
    """Exponential mean of the weights, a close one at first: min(decay, (1 + n) / (10 + n))."""

    def __init__(self, decay: float) -> None:
        def average(mean: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
            if not mean.is_floating_point():  # counters of a norm
                return current
            n = float(count)
            return torch.lerp(current, mean, min(decay, (1 + n) / (10 + n)))

        super().__init__(avg_fn=average, use_buffers=True)


class _Watch(Callback):
    """Report every batch, write checkpoints, stop at the end of the budget or when told to.

    Lightning's own checkpoints are not used: the one it adds when training stops says that the
    training is over, and holds averaged weights in the place of the current ones.
    """

    def __init__(self, on_loss: OnLoss | None, last: Path, every: int) -> None:
        self.on_loss, self.last, self.every = on_loss, last, every
        self.stopped = False

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        """Look at one batch, its weights already averaged."""
        if self.on_loss:
            told = self.on_loss(module.global_step, module.progress, float(outputs["loss"]))
            self.stopped = told is False
        if self.stopped or module.global_step % self.every == 0:
            partial = self.last.with_suffix(".partial")
            trainer.save_checkpoint(partial)
            partial.replace(self.last)
        trainer.should_stop = self.stopped or module.progress >= 1


def fit_stage(
    method: Any,
    stage: str,
    samples: tuple[Samples, Samples],
    plan: TrainingPlan,
    out: Path,
    *,
    first: bool = True,
    device: str = "cpu",
    on_loss: OnLoss | None = None,
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
        ``"cpu"`` or ``"cuda"``.
    on_loss
        Called after every batch; return False to stop, with a checkpoint.

    Returns
    -------
    bool
        Whether the stage ran to its end; False when `on_loss` stopped it. Either way `method` holds
        the averaged weights.

    Raises
    ------
    ValueError
        If the checkpoint cannot be read.
    """
    saved = read_checkpoint(out)
    if saved and plan.spent(saved.step, saved.seconds, first=first) >= 1:
        method.load_state_dict(saved.averaged)
        return True
    start = saved.step if saved else 0
    module = _Stage(method, stage, plan, first)
    watch = _Watch(on_loss, out / LAST, plan.checkpoint_every)
    callbacks = [_Averaging(plan.ema_decay), watch]  # in this order: averaged, then written
    training = DataLoader(RandomBatches(samples[0], plan.batch, plan.seed, start), batch_size=None)
    validation = DataLoader(_in_batches(samples[1], plan.batch), batch_size=None)
    with warnings.catch_warnings():
        # Advice on workers and logging is not ours to heed.
        warnings.filterwarnings("ignore", module="lightning")
        trainer = _trainer(plan, out, start, device, callbacks)
        ckpt_path = str(saved.path) if saved else None
        trainer.fit(module, training, validation, ckpt_path=ckpt_path, weights_only=True)
    return not watch.stopped


def _in_batches(samples: Samples, batch: int, most: int = 512) -> Dataset[Samples]:
    """At most about `most` samples, evenly spread, as a list of batches."""
    seen = picked(samples, slice(None, None, max(1, size_of(samples) // most)))
    starts = range(0, size_of(seen), batch)
    return cast("Dataset[Samples]", [picked(seen, slice(s, s + batch)) for s in starts])


def _trainer(
    plan: TrainingPlan, out: Path, start: int, device: str, callbacks: list[Callback]
) -> pl.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    where = torch.device(device)
    return pl.Trainer(
        accelerator="gpu" if where.type == "cuda" else "cpu",
        devices=[where.index or 0] if where.type == "cuda" else 1,
        precision="bf16-mixed" if plan.precision == "bf16" else "32-true",
        max_epochs=1,
        max_steps=-1,
        val_check_interval=plan.checkpoint_every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        logger=pl.loggers.CSVLogger(out, name="losses", version=f"from-{start}"),
        log_every_n_steps=50,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
