"""Verify a model file: its weights are unchanged, and its network runs."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch

from napari_followup.methods.method import Evidence, Visits
from napari_followup.models.bundle import ModelBundle
from napari_followup.models.catalogue import find
from napari_followup.models.files import load_bundle
from napari_followup.models.header import read_about

__all__ = ["Verified", "verify_model"]

# The smallest value of each option, whichever method has it.
LEAST = {
    "draws": 1,
    "sampling_steps": 1,
    "noise_levels": (1,),
    "first_step": 1,
    "last_step": 2,
    "stride": 1,
}
VISITS = 3
CALLS = 64  # of the network; then the run stops and counts as passed


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A model that passed verification."""

    name: str
    method: str
    fingerprint: str
    is_as_stored: bool  # false if the file, of an earlier version, has no fingerprint
    seconds: float  # for a few small images


class _EnoughError(Exception):
    """The network has run often enough."""


def verify_model(model: str | os.PathLike[str]) -> list[Verified]:
    """Load a model, which checks its weights, and run it once on noise.

    Parameters
    ----------
    model
        Name of an embedded model or of one in the model folder, or a file.

    Returns
    -------
    list of Verified
        The model and its parts.

    Raises
    ------
    FileNotFoundError
        If there is no such model.
    ValueError
        If the model fails; the message says why.
    """
    path = find(model)
    about, bundle = read_about(path), load_bundle(path)
    parts = [(part, about["parts"][method]) for method, part in bundle.parts.items()]
    return [_verified(each, description) for each, description in [(bundle, about), *parts]]


def _verified(bundle: ModelBundle, description: Mapping[str, Any]) -> Verified:
    start = time.perf_counter()
    _run(bundle)
    return Verified(
        name=bundle.name,
        method=bundle.method,
        fingerprint=bundle.fingerprint,
        is_as_stored="fingerprint" in description,
        seconds=time.perf_counter() - start,
    )


def _run(bundle: ModelBundle) -> None:
    """Run the network on three visits of noise, with as few calls as its options allow."""
    method = bundle.build()
    known = {each.name for each in fields(method.options_type)}
    options = method.options_type(**{name: v for name, v in LEAST.items() if name in known})
    generator = torch.Generator().manual_seed(0)
    low, high = bundle.value_range
    shape = (VISITS, bundle.modalities, 1, *bundle.image_size)
    images = low + (high - low) * torch.rand(shape, generator=generator)
    ages = torch.arange(float(VISITS)) + getattr(method.config, "age_mean", 0.0)
    try:
        with torch.no_grad():
            visits = Visits(images=images, ages=ages)
            _check(bundle, method.examine(visits, options, generator, _stop_in_time))
    except _EnoughError:
        return


def _stop_in_time(done: int, _: int) -> None:
    if done >= CALLS:
        raise _EnoughError


def _check(bundle: ModelBundle, found: Evidence) -> None:
    for values in (found.healthy, found.score):
        if values is not None and not values.isfinite().all():
            raise ValueError(
                f"model {bundle.name!r} ({bundle.method}): its network gives values that are not "
                "finite; train or download it again"
            )
