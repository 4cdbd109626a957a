"""Train a model from healthy series to a finished bundle: for the command line and the widget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from napari_followup.bundle import ModelBundle, load_bundle, save_bundle
from napari_followup.methods import method_class, method_presets, method_recipe
from napari_followup.results import Cancelled
from napari_followup.stack import VisitStack
from napari_followup.training.calibrate import healthy_scores
from napari_followup.training.checkpoint import refresh_norms
from napari_followup.training.fit import fit_stage
from napari_followup.training.plan import TrainingPlan
from napari_followup.training.samples import Samples, healthy_samples, seen_twice, split_subjects

__all__ = ["train"]

MULTIPLE, LARGEST = 16, 128  # pixels; every preset's U-Net can halve multiples of 16
OnLoss = Callable[[str, int, float, float], "bool | None"]
"""Called with stage, batch number, progress in [0, 1] and loss; returns False to stop."""


def train(
    method: str,
    stacks: Sequence[VisitStack],
    out: str | Path,
    plan: TrainingPlan,
    *,
    preset: str = "compact",
    image_size: tuple[int, int] | None = None,
    name: str | None = None,
    about: str = "",
    device: str = "cpu",
    on_loss: OnLoss | None = None,
) -> ModelBundle:
    """Train `method` on healthy series, stage by stage, and write the bundle.

    Parameters
    ----------
    method
        A name of the methods table, such as ``"sdm"``.
    stacks
        Healthy series, one a subject; some are kept aside for validation and for the healthy
        scores.
    out
        Folder for checkpoints, loss tables and the finished ``<name>.safetensors``. Where it holds
        a checkpoint, training goes on from there.
    plan
        Length, batch, learning rate, seed.
    preset
        One of the method's presets; the number of modalities follows the series.
    image_size
        ``(y, x)`` in pixels that planes are resampled to; when none is given, the size of the
        series, brought to a multiple of 16 and to at most 128 pixels a side.
    name, about
        What the bundle is called, and a line on where the data come from.
    device
        ``"cpu"`` or ``"cuda"``.
    on_loss
        Called after every batch; return False to stop.

    Returns
    -------
    ModelBundle
        Also on disk in `out`.

    Raises
    ------
    ValueError
        If the preset is not known or the series do not go together.
    Cancelled
        If `on_loss` returned False; the last checkpoint stays in `out`.
    """
    out = Path(out)
    torch.manual_seed(plan.seed)
    kind = method_class(method)
    if kind.samples == "series":
        stacks = seen_twice(stacks)
    training, validation = split_subjects(stacks, plan.held_out, plan.seed)
    config = _config(method, preset, stacks[0], image_size)
    learned, held_out = (
        healthy_samples(kind.samples, part, config.image_size, config.value_range)
        for part in (training, validation)
    )
    model = kind(kind.fitted(config, learned)).to(memory_format=torch.channels_last)
    for index, stage in enumerate(model.stages):
        _run_stage(
            model, stage, (learned, held_out), plan, out / stage, index == 0, device, on_loss
        )
    model.to("cpu").eval()
    bundle = ModelBundle(
        name=name or method,
        method=method,
        config=asdict(model.config),
        weights=model.state_dict(),
        card=_card(training, validation, plan, preset, about),
    )
    bundle = healthy_scores(bundle, validation, method_recipe(method), device=device)
    return load_bundle(save_bundle(bundle, out / f"{bundle.name}.safetensors"))


def _config(
    method: str, preset: str, example: VisitStack, image_size: tuple[int, int] | None
) -> Any:
    presets = method_presets(method)
    if preset not in presets:
        raise ValueError(f"method {method!r} has no preset {preset!r}; it has {', '.join(presets)}")
    size = image_size or _size_like(example.shape[-2:])
    return replace(presets[preset], modalities=example.shape[1], image_size=size)


def _size_like(plane: tuple[int, ...]) -> tuple[int, int]:
    """Shape of `plane` with its longer side at most `LARGEST` and both multiples of `MULTIPLE`."""
    shrink = min(1.0, LARGEST / max(plane))
    height, width = (max(1, round(side * shrink / MULTIPLE)) * MULTIPLE for side in plane)
    return height, width


def _run_stage(
    model: Any,
    stage: str,
    samples: tuple[Samples, Samples],
    plan: TrainingPlan,
    folder: Path,
    first: bool,
    device: str,
    on_loss: OnLoss | None,
) -> None:
    """Train one stage, or take its weights where it is finished already."""
    finished = folder / "finished.safetensors"
    model.begin(stage)
    if finished.exists():
        model.load_state_dict(load_file(finished))
        return
    tell = None if on_loss is None else lambda n, progress, loss: on_loss(stage, n, progress, loss)
    if not fit_stage(model, stage, samples, plan, folder, first=first, device=device, on_loss=tell):
        raise Cancelled(
            f"training was stopped; {folder} holds the last checkpoint, from which training again "
            "goes on"
        )
    if isinstance(samples[0], Tensor):
        refresh_norms(model, samples[0])
    partial = finished.with_suffix(".partial")
    save_file(
        {name: value.contiguous().cpu() for name, value in model.state_dict().items()}, partial
    )
    partial.replace(finished)


def _card(
    training: Sequence[VisitStack],
    validation: Sequence[VisitStack],
    plan: TrainingPlan,
    preset: str,
    about: str,
) -> dict[str, Any]:
    return {
        "about": about,
        "preset": preset,
        "subjects": len(training),
        "held_out_subjects": len(validation),
        "visits": int(sum(stack.is_observed.sum() for stack in training)),
        "plan": asdict(plan),
        "trained_with": f"napari-followup {version('napari-followup')}, torch {torch.__version__}",
        "licence": "BSD-3-Clause",
        "limits": "A research tool, not a medical device: it marks what differs from the subjects "
        "it was trained on.",
    }
