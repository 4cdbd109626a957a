"""What happens between two batches: averages, reports, validation, checkpoints, the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from napari_followup.training.batches import Samples, in_batches
from napari_followup.training.checkpoint import LAST, Best, Checkpoint, write_checkpoint
from napari_followup.training.stage import Stage
from napari_followup.training.state import (
    Example,
    LossCurve,
    OnState,
    TrainingState,
    memory_in_use,
)

__all__ = [
    "Averages",
    "Watch",
]

LOG_EVERY = 50  # batches
ON_GPU = 10  # batches from one report to the next: each one waits for the GPU


class Watch(Callback):
    """Look after a stage: one process reports, validates and writes; all stop together."""

    def __init__(
        self,
        held_out: Samples,
        out: Path,
        on_state: OnState | None = None,
        example: Callable[[], Example | None] | None = None,
        saved: Checkpoint | None = None,
    ) -> None:
        self.held_out, self.out, self.on_state, self.example = held_out, out, on_state, example
        self.saved, self.best = saved, saved.best if saved else None
        self.curve = LossCurve(**saved.curve) if saved else LossCurve()
        self.stopped = False
        self._written = self._began = 0.0
        self._first = 0.0  # progress when this run began
        self._told_at_once = 0
        self.averages: Averages

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Continue the averages, on the device of the weights."""
        stage = _stage(module)
        self.averages = Averages(stage.method, stage.plan.ema_decay)
        self.averages.start(self.saved.averaged if self.saved else None)
        self.saved = None
        self._written = self._began = time.monotonic()
        self._first, self._told_at_once = stage.progress, stage.at_once

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Look at one batch."""
        stage = _stage(module)
        self.averages.update(stage.step - 1)
        progress = stage.plan.spent(stage.step, stage.elapsed, first=stage.first)
        validating = stage.step % stage.plan.checkpoint_every == 0 or progress >= 1
        if trainer.is_global_zero:
            often = ON_GPU if stage.device.type == "cuda" else 1
            if validating or stage.step % often == 0 or self._is_time(stage):
                self._look(trainer, stage, float(outputs["loss"]), progress, validating)
        self.stopped, stage.progress = _agreed(trainer, stage, self.stopped, progress)
        trainer.should_stop = self.stopped or stage.progress >= 1

    def _look(
        self, trainer: pl.Trainer, stage: Stage, loss: float, progress: float, validating: bool
    ) -> None:
        self._check_finite(stage, loss)
        self.curve.add(stage.step, loss)
        example = self._validate(trainer, stage) if validating else None
        if stage.step % LOG_EVERY == 0:
            self._log(trainer, stage, {"loss": loss})
        if self.on_state:
            answer = self.on_state(self._state(stage, loss, progress, example))
            self.stopped = answer is False
        if validating or self.stopped or self._is_time(stage):
            self._write(stage)

    def _state(
        self, stage: Stage, loss: float, progress: float, example: Example | None
    ) -> TrainingState:
        gained, now = progress - self._first, time.monotonic()
        validations = self.curve.validations
        return TrainingState(
            stage=stage.stage,
            batch=stage.step,
            progress=min(progress, 1.0),
            loss=loss,
            validation_loss=validations[-1][1] if validations else None,
            seconds=stage.elapsed,
            seconds_left=(now - self._began) / gained * max(0.0, 1 - progress) if gained else None,
            memory=memory_in_use(stage.device),
            example=example,
            notes=self._notes(stage),
        )

    def _notes(self, stage: Stage) -> tuple[str, ...]:
        if stage.at_once == self._told_at_once:
            return ()
        self._told_at_once = stage.at_once
        return (
            f"memory ran out: batches of {stage.plan.batch} are now computed {stage.at_once} at a "
            "time, which gives the same training, a little slower",
        )

    def _check_finite(self, stage: Stage, loss: float) -> None:
        """Fail before a checkpoint of broken weights replaces the last good one."""
        if math.isfinite(loss):
            return
        kept = self.out / LAST
        raise FloatingPointError(
            f"the loss became {loss} at batch {stage.step} of {stage.stage!r}; "
            + (f"{kept} from before is kept; " if kept.exists() else "")
            + "start again in another folder with a learning rate below "
            + f"{stage.plan.learning_rate:g}"
            + (", or in float32" if stage.plan.precision != "float32" else "")
        )

    def _validate(self, trainer: pl.Trainer, stage: Stage) -> Example | None:
        """Measure the averaged weights, keep them if they are the best so far."""
        with self.averages.in_place():
            loss = stage.validation_loss(in_batches(self.held_out, stage.at_once))
            example = self._example(stage)
        self.curve.validated(stage.step, loss)
        self._log(trainer, stage, {"validation_loss": loss})
        if self.best is None or loss < self.best.loss:
            self.best = Best(batch=stage.step, loss=loss, weights=self.averages.copy())
        return example

    def _example(self, stage: Stage) -> Example | None:
        if self.on_state is None or self.example is None:
            return None
        stage.method.eval()
        try:
            return self.example()
        finally:
            stage.set_modes()

    def _is_time(self, stage: Stage) -> bool:
        return time.monotonic() - self._written >= 60 * stage.plan.checkpoint_minutes

    def _write(self, stage: Stage) -> None:
        weights = stage.method.state_dict()
        if not all(bool(each.isfinite().all()) for each in weights.values()):
            self._check_finite(stage, math.nan)
        optimizer: Any = stage.optimizers()
        checkpoint = Checkpoint(
            step=stage.step,
            seconds=stage.elapsed,
            at_once=stage.at_once,
            current=weights,
            averaged=self.averages.copy(),
            optimizer=optimizer.state_dict(),
            curve=vars(self.curve),
            best=self.best,
        )
        write_checkpoint(self.out, checkpoint)
        self._written = time.monotonic()

    def _log(self, trainer: pl.Trainer, stage: Stage, values: dict[str, float]) -> None:
        for logger in trainer.loggers:
            logger.log_metrics(values, step=stage.step)
            logger.save()


def _stage(module: pl.LightningModule) -> Stage:
    if not isinstance(module, Stage):
        raise TypeError(f"watches a Stage, got {type(module).__name__}")
    return module


def _agreed(
    trainer: pl.Trainer, stage: Stage, stopped: bool, progress: float
) -> tuple[bool, float]:
    """Take what the first process decided: the clocks of processes differ."""
    if trainer.world_size == 1:
        return stopped, progress
    decided = torch.tensor([float(stopped), progress], dtype=torch.float64, device=stage.device)
    torch.distributed.broadcast(decided, 0)
    return bool(decided[0]), float(decided[1])


class Averages:
    """Mean of a module's weights and buffers: min(decay, (1 + n) / (10 + n)) of it is kept.

    Counters and the like are not averaged, but copied.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self._module = module
        self._mean: dict[str, Tensor] = {}

    def start(self, saved: Mapping[str, Tensor] | None = None) -> None:
        """Begin with what was saved, or with the weights as they are, on their device."""
        now = self._module.state_dict()
        self._mean = {
            name: (value if saved is None else saved[name].to(value.device)).detach().clone()
            for name, value in now.items()
        }

    @torch.no_grad()
    def update(self, count: int) -> None:
        """Take in the weights as they are, after `count` others."""
        keep = min(self.decay, (1 + count) / (10 + count)) if count else 0.0
        pairs = [(self._mean[name], value) for name, value in self._module.state_dict().items()]
        means = [mean for mean, value in pairs if mean.is_floating_point()]
        values = [value for mean, value in pairs if mean.is_floating_point()]
        if means:
            torch._foreach_lerp_(means, values, 1 - keep)
        for mean, value in pairs:
            if not mean.is_floating_point():
                mean.copy_(value)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the mean in the place of the weights for a while."""
        now = {name: value.clone() for name, value in self._module.state_dict().items()}
        self._module.load_state_dict(self._mean)
        try:
            yield
        finally:
            self._module.load_state_dict(now)

    def copy(self) -> dict[str, Tensor]:
        """Give the mean by name, on the CPU, which later updates leave alone."""
        return {name: value.detach().cpu().clone() for name, value in self._mean.items()}
