"""Checkpoints of a training stage, and averaged weights made ready for use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["LAST", "Checkpoint", "read_checkpoint", "refresh_norms"]

LAST = "last.ckpt"
PREFIX = "method."  # the method inside the module that Lightning trains


@dataclass(frozen=True, eq=False, kw_only=True)
class Checkpoint:
    """How far a stage had come: batches, seconds, and the averaged weights by name."""

    path: Path
    step: int
    seconds: float
    averaged: Mapping[str, Tensor]


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the last checkpoint of a stage.

    Parameters
    ----------
    folder
        Where `fit_stage` wrote it.

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
        weights = {name.removeprefix(PREFIX): value for name, value in found["state_dict"].items()}
        return Checkpoint(
            path=path, step=found["global_step"], seconds=found["seconds"], averaged=weights
        )
    except (RuntimeError, EOFError, KeyError, UnpicklingError) as error:
        raise ValueError(
            f"{path}: not a checkpoint that training can go on from; delete it to begin anew"
        ) from error


@torch.no_grad()
def refresh_norms(method: nn.Module, planes: Tensor, *, batch: int = 64, most: int = 4096) -> None:
    """Measure the batch norms of every encoder anew, in place, with the weights it has now.

    A mean of weights is no mean of the statistics those weights see: an averaged model read with
    averaged statistics reconstructs half as well. Modules without batch norm are left alone.

    Parameters
    ----------
    method
        Its direct submodules that hold batch norms take planes.
    planes
        Training planes, ``(plane, modality, y, x)`` in the model's value range.
    batch
        Planes a pass; each pass counts alike, so the last one is not a smaller one.
    most
        Planes used at most, evenly spread.
    """
    chosen = planes[:: -(-len(planes) // most)]
    batches = chosen.tensor_split(max(1, len(chosen) // batch))
    for part in method.children():
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
