"""Checkpoints of a training stage, and averaged weights made ready for use."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from errno import EIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from napari_followup.io.replacing import replacing

__all__ = [
    "LAST",
    "RUN",
    "Best",
    "Checkpoint",
    "check_out",
    "go_on",
    "read_checkpoint",
    "refresh_norms",
    "write_checkpoint",
]

LAST = "last.ckpt"
RUN = "training.json"


@dataclass(frozen=True, eq=False, kw_only=True)
class Best:
    """The averaged weights with the lowest validation loss so far."""

    batch: int
    loss: float
    weights: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False, kw_only=True)
class Checkpoint:
    """All that a stage needs to go on as if it had not been interrupted.

    There is no state of random numbers: they all follow from the seed and the batch number.
    """

    step: int  # batches done
    seconds: float
    at_once: int  # images computed together, fewer than planned where memory ran out
    current: Mapping[str, Tensor]
    averaged: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    curve: Mapping[str, Any]  # fields of a `LossCurve`
    best: Best | None = None

    @property
    def chosen(self) -> Mapping[str, Tensor]:
        """Weights to use: the best averaged ones, or the last where none were validated."""
        return self.averaged if self.best is None else self.best.weights


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the last checkpoint of a stage in the place of the one before, whole or not at all.

    Raises
    ------
    OSError
        If it cannot be written, for want of room for example; the one before is still there.
    """
    path, draft = folder / LAST, folder / f"{LAST}.partial"
    values = {each.name: getattr(checkpoint, each.name) for each in fields(checkpoint)}
    values["best"] = None if checkpoint.best is None else vars(checkpoint.best)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            torch.save(values, file)
        draft.replace(path)
    except (OSError, RuntimeError) as error:  # torch raises the latter when a disk is full
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        kept = (
            "the one before is kept, and the same command goes on from it"
            if path.exists()
            else "there is none yet"
        )
        raise OSError(
            getattr(error, "errno", None) or EIO,
            f"cannot write a checkpoint to {str(folder)!r} "
            f"({getattr(error, 'strerror', None) or error}); {kept}: make room first",
        ) from error


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the last checkpoint of a stage.

    Parameters
    ----------
    folder
        Where `write_checkpoint` put it.

    Returns
    -------
    Checkpoint or None
        Nothing where there is none.

    Raises
    ------
    ValueError
        If the file is there and cannot be read.
    """
    path = folder / LAST
    if not path.exists():
        return None
    try:
        found = torch.load(path, weights_only=True, map_location="cpu")
        best = None if found["best"] is None else Best(**found["best"])
        return Checkpoint(**{**found, "best": best})
    except (RuntimeError, EOFError, KeyError, TypeError, UnpicklingError) as error:
        raise ValueError(
            f"{path}: not a checkpoint that training can go on from; delete it to start again"
        ) from error


@torch.no_grad()
def refresh_norms(method: nn.Module, planes: Tensor, *, batch: int = 64, most: int = 4096) -> None:
    """Recompute the batch-norm statistics of every encoder, in place, with its current weights.

    Averaged weights see other statistics than the averaged ones: with these, an averaged model
    reconstructs half as well. Modules without batch norm are left alone.

    Parameters
    ----------
    method
        Its direct submodules that hold batch norms take planes, and so do those of a method in it.
    planes
        Training planes, ``(plane, modality, y, x)`` in the model's value range, or volumes.
    batch
        Planes a pass; each pass counts alike, so the last one is not a smaller one.
    most
        Planes used at most, evenly spread.
    """
    chosen = planes[:: -(-len(planes) // most)]
    batches = chosen.tensor_split(max(1, len(chosen) // batch))
    for part in _parts(method):
        norms = [layer for layer in part.modules() if isinstance(layer, _BatchNorm)]
        if not norms:
            continue
        was = [(layer, layer.training) for layer in part.modules()]
        momenta = [norm.momentum for norm in norms]
        part.eval()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # an even mean over all batches
            norm.train()
        device = next(part.parameters()).device
        for images in batches:
            part(images.to(device))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for layer, training in was:
            layer.training = training


def _parts(method: nn.Module) -> Iterator[nn.Module]:
    """Submodules of a method, and of the one that it stands on, if any."""
    for part in method.children():
        if hasattr(part, "stages"):
            yield from _parts(part)
        else:
            yield part


def check_out(out: Path) -> None:
    """Make the folder of a training, and see whether it can be written into.

    Raises
    ------
    OSError
        If it cannot; the message gives the reason.
    """
    probe = out / ".writable"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"1")
        probe.unlink()
    except OSError as error:
        raise type(error)(
            error.errno,
            f"out: nothing can be written into {str(out)!r} ({error.strerror or error}); give "
            "another folder, or make room",
        ) from error


def go_on(out: Path, settings: Mapping[str, Any]) -> bool:
    """Record the settings of a training, or check them against those recorded.

    Parameters
    ----------
    out
        Folder of the training.
    settings
        All that decides what is learned, plain values for JSON.

    Returns
    -------
    bool
        Whether a training was started there before.

    Raises
    ------
    ValueError
        If one was started with other settings; the message names them.
    """
    file = out / RUN
    given = json.loads(json.dumps(settings))
    if not file.exists():
        with replacing(file) as draft:
            draft.write_text(json.dumps(given, indent=1), encoding="utf-8")
        return False
    try:
        noted = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: cannot be read; delete the folder to start again") from error
    others = [
        f"{name} was {before!r} and is now {now!r}" for name, before, now in _unlike(noted, given)
    ]
    if others:
        raise ValueError(
            f"out: {str(out)!r} holds a training with other settings: {'; '.join(others)}; give "
            "the same to go on, or another folder"
        )
    return True


def _unlike(noted: Any, given: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Names of values that differ, and both values."""
    if not (isinstance(noted, dict) and isinstance(given, dict)):
        if noted != given:
            yield name, noted, given
        return
    for key in dict.fromkeys([*noted, *given]):
        inner = f"{name} {key}".strip()
        yield from _unlike(noted.get(key), given.get(key), inner)
