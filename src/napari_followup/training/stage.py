"""One stage of a method as a Lightning module: the training step of one batch."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from napari_followup.device import halving
from napari_followup.training.augment import augmented, augmented_with_masks
from napari_followup.training.batches import Batch, picked, seed_of, size_of
from napari_followup.training.checkpoint import Checkpoint
from napari_followup.training.plan import TrainingPlan

__all__ = ["Stage"]

TRAINING, VALIDATION, DROPOUT, AUGMENTATION = range(4)  # streams of random numbers


class Stage(pl.LightningModule):
    """Training step of a stage: a batch, in parts that fit into memory, shared by the devices.

    All randomness follows from the plan's seed, the batch number and the part's, so that a resumed
    training goes on as if it had not been interrupted, and two devices do what one does. Only the
    running statistics of batch norms are the first device's own, until they are recomputed.
    """

    def __init__(
        self,
        method: Any,
        stage: str,
        plan: TrainingPlan,
        first: bool,
        saved: Checkpoint | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.method, self.stage, self.plan, self.first = method, stage, plan, first
        self.step = saved.step if saved else 0  # batches done
        self.seconds = saved.seconds if saved else 0.0  # spent before the last resume
        self.at_once = min(saved.at_once, plan.share) if saved else plan.share
        self.progress = plan.spent(self.step, self.seconds, first=first)
        self._optimizer_state = saved.optimizer if saved else None
        self._since = time.monotonic()
        method.requires_grad_(False)  # what another stage trained does not learn
        for part in method.parts_of(stage):
            part.requires_grad_(True)
        self.set_modes()

    @property
    def elapsed(self) -> float:
        """Seconds of training, those before a resume included."""
        return self.seconds + time.monotonic() - self._since

    def set_modes(self) -> None:
        """Only what this stage trains drops features and measures norms."""
        self.method.eval()
        for part in self.method.parts_of(self.stage):
            part.train()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam with a little weight decay, over what this stage trains."""
        trained = [each for part in self.method.parts_of(self.stage) for each in part.parameters()]
        optimizer = torch.optim.AdamW(
            trained,
            lr=self.plan.learning_rate,
            weight_decay=1e-4,
            fused=self.device.type == "cuda",
        )
        if self._optimizer_state is not None:
            optimizer.load_state_dict(dict(self._optimizer_state))
            self._optimizer_state = None
        return optimizer

    def on_train_start(self) -> None:
        """Start the clock when the work starts, not when the objects are made."""
        self._since = time.monotonic()

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Learn from one batch, at the learning rate the plan has for it; return its loss."""
        optimizer: Any = self.optimizers()
        for group in optimizer.param_groups:
            group["lr"] = self.plan.rate(self.step, self.progress)
        batch = self._varied(batch)

        def learn(at_once: int) -> Tensor:
            optimizer.zero_grad()
            loss = self._learned(batch, at_once)
            self.at_once = at_once
            return loss

        # On several devices all must do alike: there, memory that runs out ends the training.
        alone = self.trainer.world_size == 1
        loss = halving(learn, self.at_once) if alone else learn(self.at_once)
        optimizer.step()
        self.step += 1
        return loss

    def validation_loss(self, batches: list[Batch]) -> float:
        """Mean loss of held-out batches, under the same noise every time, as the weights are."""
        total = 0.0
        self.method.eval()
        with (
            torch.no_grad(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.precision == "bf16"),
        ):
            for number, batch in enumerate(batches):
                placed = self.transfer_batch_to_device(batch, self.device, 0)
                total += float(self._loss(placed, number, VALIDATION)) * size_of(batch)
        self.set_modes()
        return total / sum(size_of(batch) for batch in batches)

    def _varied(self, batch: Batch) -> Batch:
        generator = torch.Generator().manual_seed(seed_of(self.plan.seed, self.step, AUGMENTATION))
        settings, span = self.plan.augmentation, self.method.config.value_range
        if isinstance(batch, Tensor):
            return augmented(batch, settings, generator, span)
        if self.stage in getattr(self.method, "masked_stages", ()):
            return augmented_with_masks(*batch, settings, generator, span)
        return augmented(batch[0], settings, generator, span), batch[1]

    def _learned(self, batch: Batch, at_once: int) -> Tensor:
        """Mean loss of a batch, whose gradients are left behind, part after part."""
        size, devices = size_of(batch), self.trainer.world_size
        total = torch.zeros((), device=self.device)
        parts = list(enumerate(range(0, size, at_once)))
        for number, start in parts[self.global_rank :: devices]:
            part = picked(batch, slice(start, start + at_once))
            # Devices' gradients are averaged afterwards, parts' are summed here.
            loss = self._loss(part, self.step, TRAINING, number) * (size_of(part) / size)
            self.manual_backward(devices * loss)
            total += loss.detach()
        if devices > 1:
            torch.distributed.all_reduce(total)
        return total

    def _loss(self, batch: Batch, number: int, stream: int, part: int = 0) -> Tensor:
        seed = self.plan.seed
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seed_of(seed, number, DROPOUT, part))
            generator = torch.Generator().manual_seed(seed_of(seed, number, stream, part))
            loss: Tensor = self.method.loss(self.stage, batch, generator)
        return loss
