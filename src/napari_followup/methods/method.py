"""What every detection method takes and gives: one patient's visits in, evidence out.

A method is a `torch.nn.Module` with the members of `Method`; it knows tensors in the model's value
range, and neither files nor stacks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from napari_followup.methods.table import TakenLabels
    from napari_followup.scores.distance import Features

__all__ = [
    "Evidence",
    "Method",
    "OnStep",
    "Visits",
    "counter",
    "main_stage",
]

OnStep = Callable[[int, int], None]
"""Called with the network calls done and to do; raises `Cancelled` to stop."""


@dataclass(frozen=True, kw_only=True)
class Visits:
    """One patient's observed visits.

    `images` is ``(visit, modality, z, y, x)`` in the model's value range, `ages` is ``(visit,)`` in
    years.
    """

    images: Tensor
    ages: Tensor
    value_range: tuple[float, float] = (0.0, 1.0)

    @property
    def planes(self) -> Tensor:
        """``(visit · z, modality, y, x)``: every plane an image of its own."""
        planes: Tensor = self.images.transpose(1, 2).flatten(0, 1)
        return planes

    def unplane(self, planes: Tensor) -> Tensor:
        """``(draw, visit · z, modality, y, x)`` back to ``(draw, visit, modality, z, y, x)``."""
        visits, _, depth = self.images.shape[:3]
        unfolded: Tensor = planes.unflatten(1, (visits, depth))
        return unfolded.transpose(2, 3)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a method found.

    `healthy` is ``(draw, visit, modality, z, y, x)``, or none for methods that do not reconstruct;
    `score` is ``(visit, z, y, x)`` for methods that bring their own; `features` compares planes for
    FAM.
    """

    healthy: Tensor | None = None
    score: Tensor | None = None
    features: Features | None = None


class Method(Protocol):
    """The members `detect` and the training call; `stages` are trained one after another.

    A configuration may ask for further stages: those of the object count, not of the class. One
    whose longest stage is not the first names it as `main_stage`.

    `gives` says what the evidence holds: ``"healthy"``, ``"score"``, ``"features"``. A method that
    stands on another one gives that one's class, configuration and options as
    ``underneath(config)``; its features are given too, and healthy images are made as often as
    its options say.

    `refines` names the options whose effect depends on what `refined` measures, and
    `refined_fields` the fields of the configuration that hold it.

    `samples` says what it learns from: ``"planes"`` (b, modality, y, x), each for itself;
    ``"series"``, a tuple of images (b, visit, modality, y, x) and ages (b, visit), NaN where a
    series has fewer visits than others; ``"volumes"`` (b, modality, z, y, x), of as many planes as
    ``config.depth`` says if there is one; or ``"labelled"``, planes and their labels (b,), 0 for
    healthy. A method of planes that can do with labels too says by `takes_labels` with which: of
    planes, which make it "labelled"; or masks (b, 1, y, x), which go with the planes of the stages
    in `masked_stages`, beside the share of planes in a batch that have any, while its other stages
    learn from the healthy planes.
    """

    config: Any
    config_type: type
    options_type: type
    gives: frozenset[str]
    stages: tuple[str, ...]
    samples: Literal["planes", "series", "volumes", "labelled"]
    refines: tuple[str, ...] = ()
    refined_fields: tuple[str, ...] = ()
    takes_labels: TakenLabels | None = None
    masked_stages: Mapping[str, float] = MappingProxyType({})

    @staticmethod
    def fitted(config: Any, samples: Any) -> Any:
        """Config with what depends on the training samples, such as the range of ages; or as is."""
        return config

    @staticmethod
    def check_options(config: Any, options: Any) -> None:
        """Raise a ValueError if a model of this configuration cannot be used with these options."""
        return

    def examine(
        self, visits: Visits, options: Any, generator: torch.Generator, on_step: OnStep
    ) -> Evidence:
        """Find evidence in one patient's visits."""
        raise _unwritten(self, "examine")

    def refined(self, planes: Tensor, labels: Tensor | None, generator: torch.Generator) -> Any:
        """Config with what only trained weights can advance, from planes held back; or as is."""
        return self.config

    def begin(self, stage: str) -> None:
        """Prepare `stage`, once, before its first step; nothing to do for most."""
        return

    def parts_of(self, stage: str) -> tuple[nn.Module, ...]:
        """Submodules that `stage` trains; the rest stays as it is."""
        raise _unwritten(self, "parts_of")

    def loss(self, stage: str, batch: Any, generator: torch.Generator) -> Tensor:
        """Training loss of `stage` on healthy samples."""
        raise _unwritten(self, "loss")


def main_stage(method: Any) -> str:
    """Stage that gets the whole training budget: the first, unless the method names another."""
    return str(getattr(method, "main_stage", method.stages[0]))


def counter(on_step: OnStep | None, calls: int) -> Callable[[], None]:
    """Make a function to call after each of `calls` network calls; it reports to `on_step`."""
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if on_step:
            on_step(done, calls)

    return advance


def _unwritten(method: object, member: str) -> NotImplementedError:
    return NotImplementedError(f"method {type(method).__name__} has no {member}(): write one")
