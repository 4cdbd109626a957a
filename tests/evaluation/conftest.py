"""Untrained models of several methods for 16 x 16 planes, and patients that all of them can see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from napari_followup.evaluation.cases import KINDS, healthy_cases, make_cases
from napari_followup.evaluation.patients import HEALTHY, Patient
from napari_followup.evaluation.rows import DetectionFigures, Row
from napari_followup.evaluation.study import Entry, Store, StudyRow, Subjects
from napari_followup.evaluation.verdicts import FEWEST
from napari_followup.methods import method_class
from napari_followup.models.bundle import ModelBundle
from napari_followup.recipe.recipe import Fixed, HealthyQuantile, Own, Pixel, Recipe
from napari_followup.series.stack import VisitStack

UNET: dict[str, Any] = {
    "channels": (8, 16),
    "blocks": 1,
    "attention": (1,),
    "unshuffle": 2,
    "condition_features": 16,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "andi": UNET,
    "anofpdm": UNET | {"dropout": 0.0},
    "cddpm": UNET
    | {
        "code_features": 12,
        "encoder_depth": 18,
        "encoder_width": 8,
        "encoder_stem_norm": "group",
        "encoder_pool": False,
    },
    "disyre": UNET,
    "pddpm": UNET,
    "vae3d": {"dimensions": 2, "channels": (8, 16), "code_features": 8},
}
RECIPES = {  # few network calls
    "andi": Recipe(
        options={"first_step": 75, "last_step": 85, "stride": 5}, score=Own(), threshold=Fixed()
    ),
    "anofpdm": Recipe(options={"last_step": 100, "stride": 25}, score=Own(), threshold=Fixed()),
    "cddpm": Recipe(options={"noise_levels": (50,), "draws": 2}, score=Pixel(), threshold=Fixed()),
    "disyre": Recipe(score=Own(), threshold=Fixed()),
    "pddpm": Recipe(options={"noise_levels": (50,)}, score=Pixel(), threshold=Fixed()),
    "vae3d": Recipe(score=Pixel(), threshold=Fixed(value=0.2)),
}
Tiny = Callable[..., ModelBundle]


@pytest.fixture(scope="session")
def tiny_of() -> Tiny:
    """Make an untrained model of a method, whose layers that start at zero have values."""

    def make(method: str, **settings: Any) -> ModelBundle:
        import torch

        torch.manual_seed(0)
        kind = method_class(method)
        model = kind(kind.config_type(**{"image_size": (16, 16), **CONFIGS[method], **settings}))
        with torch.no_grad():
            for parameter in model.parameters():
                if not parameter.any():
                    parameter.normal_(std=0.2)
        return ModelBundle(
            name=f"tiny-{method}",
            method=method,
            config=asdict(model.config),
            weights=model.state_dict(),
            own_recipe=RECIPES[method],
        )

    return make


def body(subject: int) -> VisitStack:
    """Square of 16 x 16 pixels, four visits."""
    images = np.zeros((4, 16, 16), np.float32)
    images[:, 4 : 12 + subject % 3, 5:13] = 1.0
    return VisitStack.from_array(images, ages=np.arange(4.0), subject=f"body-{subject}")


@pytest.fixture
def subjects() -> Subjects:
    """Two healthy patients, one of every kind, and two subjects to draw lines by."""
    cases = make_cases([body(n) for n in range(5)], KINDS, patients=1)
    held_out = healthy_cases([body(5), body(6)], first=5)
    return Subjects(cases=tuple(cases), calibration=tuple(held_out), about="squares")


@pytest.fixture
def store(subjects: Subjects, tmp_path: Any) -> Store:
    return Store(folder=tmp_path / "rows", settings={"seed": 0, "subjects": subjects.digest})


@pytest.fixture
def entry(tiny_of: Callable[[str], ModelBundle]) -> Entry:
    """Two rows that share their evidence, one of which asks for healthy scores, and another."""
    bundle = tiny_of("disyre")
    asking = replace(bundle.recipe, threshold=HealthyQuantile(q=0.9))
    other = replace(bundle.recipe, options={"single_step": 50})
    rows = [("default recipe", bundle.recipe), ("asking", asking), ("single step", other)]
    return Entry(
        name="tiny",
        method="disyre",
        bundle=bundle,
        rows=tuple(Row(name=name, recipe=recipe) for name, recipe in rows),
        fingerprint=bundle.fingerprint,
        parameters=7,
        images_seen=320,
    )


NAN = float("nan")


def _patient(kind: str, dice: float, residuals: tuple[float, float]) -> Patient:
    return Patient(
        kind=kind,
        dice=(dice, dice),
        flagged=0.0,
        sick_scores=(1.0,),
        healthy_scores=(),
        residuals=residuals,
    )


def _row(
    model: str,
    dice: float,
    *,
    method: str = "sdm",
    best: float = 0.5,
    auprc: float = 0.5,
    residuals: tuple[float, float] = (0.2, 0.1),
) -> StudyRow:
    figures = DetectionFigures(
        name="default recipe",
        mdice={"darker_line": dice},
        mean_mdice=dice,
        interval=(dice, dice),
        false_positives=0.00012,
        auroc=0.9,
        auprc=0.8,
        pixel_auprc=auprc,
        l1_ratio=2.0,
        best_dice=best,
        intervals={"auroc": (0.8, 0.95)},
    )
    sick = [_patient("darker_line", dice, residuals) for _ in range(FEWEST)]
    return StudyRow(
        model=model,
        method=method,
        fingerprint="abc",
        recipe={"median": 1},
        drawn_from="model",
        figures=figures,
        seconds=1.234,
        parameters=2_430_000,
        images_seen=11200,
        patients=(_patient(HEALTHY, NAN, (NAN, NAN)), *sick),
    )


@pytest.fixture
def row() -> Callable[..., StudyRow]:
    """Make the finished row of a model, by its name and its Dice."""
    return _row


@pytest.fixture
def pca() -> StudyRow:
    """Finished row of the baseline."""
    return _row("PCA(200)", 0.6, method="pca")
