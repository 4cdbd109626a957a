"""How a training runs: its length, its batches, its learning rate, its seed, its augmentation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Augmentation", "TrainingPlan"]

WARM_UP = 200  # batches over which the learning rate rises
FREE = ("checkpoint_minutes", "devices", "log")  # what a run may change when it goes on


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far training images are varied, each anew at every batch; 0 leaves them as they are.

    Nothing is varied by default: what is normal at one place may not be so at another, and a model
    that has seen shifted or mirrored subjects finds fewer things out of place. All visits,
    modalities and planes of one sample are varied alike.
    """

    flip: tuple[str, ...] = ()  # axes, of "y" and "x", along which a mirrored subject is as healthy
    rotation: float = 0.0  # degrees in the plane, at most, either way
    scale: float = 0.0  # share of the size, at most, smaller or larger
    shift: float = 0.0  # share of the plane's side, at most, any way
    intensity: float = 0.0  # share of the value range: offset, and gain about 1
    bias: float = 0.0  # strength of a smooth field that brightens one side, as coils do

    def __post_init__(self) -> None:
        if unknown := set(self.flip) - {"y", "x"}:
            raise ValueError(f"flip: got {', '.join(sorted(unknown))}; give 'y', 'x' or both")
        limits = {"rotation": 180.0, "scale": 0.9, "shift": 0.5, "intensity": 0.9, "bias": 2.0}
        for name, most in limits.items():
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must lie in [0, {most:g}], got {getattr(self, name)}")

    @classmethod
    def usual(cls) -> Augmentation:
        """Small amounts of all but mirroring, for scans of heads and the like."""
        return cls(rotation=8.0, scale=0.08, shift=0.05, intensity=0.2, bias=0.1)

    @property
    def moves(self) -> bool:
        """Whether images are turned, scaled or shifted."""
        return any((self.rotation, self.scale, self.shift))


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Settings of one training; the defaults suit a compact model.

    The published recipe for SDM is `learning_rate` 2.5e-5 without decay and 175 000 steps of 20
    images (Dang 2025, Table 4.1); a decaying rate of 1e-3 reaches a usable model in a few thousand.
    """

    steps: int | None = None  # batches of the first stage; later stages take a tenth
    minutes: float | None = None  # or a time budget, whichever ends first
    batch: int = 32  # images behind one step of the optimiser, on all devices together
    at_once: int | None = None  # of them, computed together on one device; all when not given
    learning_rate: float = 1e-3
    ema_decay: float = 0.999
    held_out: float = 0.1  # share of subjects for validation
    checkpoint_every: int = 500  # batches: validation, and a checkpoint
    checkpoint_minutes: float = 3.0  # a checkpoint at the latest after these
    precision: str = "float32"  # or "bf16"
    devices: int = 1
    log: str = "csv"  # or "tensorboard"
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ValueError("say how long to train: give steps or minutes")
        positive = ("steps", "minutes", "batch", "at_once", "learning_rate", "devices")
        for name in (*positive, "checkpoint_every", "checkpoint_minutes"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")
        for name in ("ema_decay", "held_out"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        for name, known in {
            "precision": ("float32", "bf16"),
            "log": ("csv", "tensorboard"),
        }.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be {known[0]!r} or {known[1]!r}, got {getattr(self, name)!r}"
                )
        if self.batch % self.devices:
            raise ValueError(
                f"batch: {self.batch} images cannot be shared by {self.devices} devices; give a "
                "multiple of their number"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingPlan:
        """Read what `dataclasses.asdict` made of a plan, from JSON or not."""
        varied = dict(values["augmentation"])
        varied["flip"] = tuple(varied["flip"])
        return cls(**{**values, "augmentation": Augmentation(**varied)})

    @property
    def share(self) -> int:
        """Images computed together on one device."""
        most = self.batch // self.devices
        return most if self.at_once is None else min(most, self.at_once)

    def spent(self, step: int, seconds: float, *, first: bool = True) -> float:
        """Share of a stage's budget that is spent, at least 1 at its end.

        Parameters
        ----------
        step
            Batches done.
        seconds
            Time they took.
        first
            Whether the stage gets the whole budget, or a tenth of it.

        Returns
        -------
        float
            Of steps or of minutes, whichever is nearer its end.
        """
        length = self.length(first=first)
        steps = 0.0 if length is None else step / length
        share = 1.0 if first else 0.1
        return max(steps, 0.0 if self.minutes is None else seconds / (60 * share * self.minutes))

    def length(self, *, first: bool = True) -> int | None:
        """Batches of a stage, none where only time counts; `first` as for `spent`."""
        return None if self.steps is None else max(1, round((1.0 if first else 0.1) * self.steps))

    def rate(self, step: int, progress: float) -> float:
        """Learning rate of one batch: warm-up, then a cosine down to a hundredth.

        Parameters
        ----------
        step
            Number of the batch, from 0.
        progress
            Share of the budget spent.

        Returns
        -------
        float
            For this batch.
        """
        rise = min(1.0, (step + 1) / WARM_UP)
        return (
            self.learning_rate
            * rise
            * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))
        )
