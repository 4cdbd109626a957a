"""Model card of a trained bundle: data, settings, losses, figures, author, licences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_followup.series.stack import VisitStack
from napari_followup.training.checkpoint import read_checkpoint
from napari_followup.training.plan import TrainingPlan
from napari_followup.training.state import LossCurve

__all__ = ["About", "data_summary", "loss_curves", "model_card"]


@dataclass(frozen=True, kw_only=True)
class About:
    """What only the person who trains a model knows about it."""

    name: str = ""  # of the model; that of the method when none is given
    text: str = ""  # a line on where the data come from
    author: str = ""
    licence: str = ""  # of the model
    data_licence: str = ""


def model_card(
    about: About,
    plan: TrainingPlan,
    data: Mapping[str, Any],
    found: Mapping[str, Any],
) -> dict[str, Any]:
    """Gather a card, plain values for JSON.

    Parameters
    ----------
    about
        What the user states.
    plan
        How the model was trained.
    data
        As `data_summary` gives it.
    found
        Preset, losses, figures, remarks.

    Returns
    -------
    dict
        Beside the configuration and the healthy scores, which a bundle has anyway.
    """
    return {
        "about": about.text,
        "author": about.author or "not stated",
        "licence": about.licence or "not stated",
        "data_licence": about.data_licence or "not stated",
        **data,
        "plan": asdict(plan),
        **found,
        "trained_with": f"napari-followup {version('napari-followup')}, torch {torch.__version__}",
        "limits": "A research tool, not a medical device: it flags what differs from the subjects "
        "it was trained on.",
    }


def data_summary(
    training: Sequence[VisitStack], validation: Sequence[VisitStack]
) -> dict[str, Any]:
    """How many subjects, visits and planes there were, how old, and in which size."""
    visits = [int(stack.is_observed.sum()) for stack in training]
    planes = [count * stack.shape[2] for count, stack in zip(visits, training, strict=True)]
    known = [stack.ages[stack.is_observed] for stack in training if stack.ages_known]
    ages = np.concatenate(known) if known else np.zeros(0)
    return {
        "subjects": len(training),
        "held_out_subjects": len(validation),
        "visits": sum(visits),
        "planes": sum(planes),
        "ages": [round(float(ages.min()), 3), round(float(ages.max()), 3)] if ages.size else None,
        "image_sizes": [list(size) for size in sorted({s.shape[2:] for s in training})[:5]],
    }


def loss_curves(out: Path, stages: Sequence[str]) -> dict[str, Any]:
    """Losses of every stage, thinned, and which batch its weights are from."""
    curves: dict[str, Any] = {}
    for stage in stages:
        saved = read_checkpoint(out / stage)
        if saved is None:
            continue
        curves[stage] = {
            **LossCurve(**saved.curve).thinned(),
            "batches": saved.step,
            "minutes": round(saved.seconds / 60, 2),
        }
        if saved.best is not None:
            best = {"batch": saved.best.batch, "validation_loss": round(saved.best.loss, 6)}
            curves[stage] |= {"weights_of": best}
    return curves
