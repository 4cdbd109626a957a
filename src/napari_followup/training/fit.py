"""Train one stage of a method with Lightning: averaged weights, checkpoints, resuming, a budget in steps or minutes."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, WeightAveraging
from torch import Tensor
from torch.utils.data import DataLoader

from napari_followup.training.plan import TrainingPlan
from napari_followup.training.samples import RandomPlanes

__all__ = ["OnLoss", "fit_stage"]

OnLoss = Callable[[int, float, float], "bool | None"]
"""Called with the batch number, the progress in [0, 1] and the loss; returns False to stop."""


class _Stage(pl.LightningModule):
    """One stage of a method, as Lightning wants to see it."""

    def __init__(
        self, method: Any, stage: str, plan: TrainingPlan, budget: tuple[int | None, float | None]
    ) -> None:
        super().__init__()
        self.method, self.stage, self.plan = method, stage, plan
        self.steps, self.minutes = budget
        self.seconds = 0.0  # spent before the last resume, then in all
        self._since = time.monotonic()
        for parameter in method.parameters():
            parameter.requires_grad_(False)
        for parameter in method.parameters_of(stage):
            parameter.requires_grad_(True)

    @property
    def progress(self) -> float:
        """Share of the budget that is spent."""
        spent = [self.global_step / self.steps] if self.steps else []
        spent += (
            [(self.seconds + time.monotonic() - self._since) / (60 * self.minutes)]
            if self.minutes
            else []
        )
        return max(spent)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self.method.parameters_of(self.stage), lr=self.plan.learning_rate, weight_decay=1e-4
        )

    def _generator(self, *numbers: int) -> torch.Generator:
        seed = int(
            torch.tensor([self.plan.seed, *numbers])
            .mul(torch.tensor([1_000_003, 7919, 1][: 1 + len(numbers)]))
            .sum()
        )
        return torch.Generator().manual_seed(seed)

    def on_train_start(self) -> None:
        self._since = time.monotonic()

    def training_step(self, batch: Tensor, _: int) -> Tensor:
        for group in self.optimizers().param_groups:
            group["lr"] = self.plan.rate(self.global_step, self.progress)
        loss: Tensor = self.method.loss(self.stage, batch, self._generator(self.global_step, 0))
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Tensor, index: int) -> None:
        loss = self.method.loss(
            self.stage, batch, self._generator(index, 1)
        )  # the same noise every time
        self.log("validation_loss", loss, on_epoch=True, on_step=False)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["seconds"] = self.seconds + time.monotonic() - self._since

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.seconds = checkpoint["seconds"]


class _Averaging(WeightAveraging):
    """Exponential moving average of the weights that follows closely at first: min(decay, (1 + n) / (10 + n))."""

    def __init__(self, decay: float) -> None:
        def average(mean: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
            if not mean.is_floating_point():  # counters of a norm
                return current
            n = float(count)
            return torch.lerp(current, mean, min(decay, (1 + n) / (10 + n)))

        super().__init__(avg_fn=average, use_buffers=True)


class _Watch(Callback):
    """Report every batch, stop at the end of the budget or when told to."""

    def __init__(self, on_loss: OnLoss | None) -> None:
        self.on_loss = on_loss
        self.stopped = False

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        go_on = (
            self.on_loss(module.global_step, module.progress, float(outputs["loss"]))
            if self.on_loss
            else None
        )
        self.stopped = go_on is False
        trainer.should_stop = self.stopped or module.progress >= 1


def fit_stage(
    method: Any,
    stage: str,
    planes: tuple[Tensor, Tensor],
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
        A module with `loss`, `parameters_of` and `begin`, see `methods.method`.
    stage
        One of ``method.stages``.
    planes
        Training and validation planes, each ``(plane, modality, y, x)``.
    plan
        Length, batch, learning rate, seed.
    out
        Folder for checkpoints and the loss table of this stage.
    first
        Whether this is the stage that gets the whole budget.
    device
        ``"cpu"`` or ``"cuda"``.

    Returns
    -------
    bool
        Whether the stage ran to its end; False when `on_loss` stopped it. Either way `method` holds the
        averaged weights.
    """
    last = out / "last.ckpt"
    resumed = (
        torch.load(last, weights_only=True, map_location="cpu")["global_step"]
        if last.exists()
        else 0
    )
    module, watch = _Stage(method, stage, plan, plan.budget(first)), _Watch(on_loss)
    trainer = _trainer(
        plan, out, device, [_Averaging(plan.ema_decay), _checkpoints(plan, out), watch]
    )
    training = DataLoader(RandomPlanes(planes[0], plan.batch, plan.seed, resumed), batch_size=None)
    validation = DataLoader(planes[1][:: max(1, len(planes[1]) // 512)], batch_size=plan.batch)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", module="lightning"
        )  # advice on workers and logging, not ours to heed
        trainer.fit(
            module,
            training,
            validation,
            ckpt_path=str(last) if resumed else None,
            weights_only=True,
        )
    return not watch.stopped


def _checkpoints(plan: TrainingPlan, out: Path) -> ModelCheckpoint:
    return ModelCheckpoint(
        dirpath=out,
        save_last=True,
        save_top_k=0,
        every_n_train_steps=plan.checkpoint_every,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )


def _trainer(plan: TrainingPlan, out: Path, device: str, callbacks: list[Callback]) -> pl.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return pl.Trainer(
        accelerator="gpu" if device.startswith("cuda") else "cpu",
        devices=1,
        precision="bf16-mixed" if plan.precision == "bf16" else "32-true",
        max_epochs=1,
        max_steps=-1,
        val_check_interval=plan.checkpoint_every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        logger=pl.loggers.CSVLogger(out, name="", version=""),
        log_every_n_steps=50,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
