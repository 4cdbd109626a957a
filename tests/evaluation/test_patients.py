from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_followup.detection.prepare import Prepared
from napari_followup.evaluation.cases import Case
from napari_followup.evaluation.patients import summary
from napari_followup.evaluation.row_judging import judging
from napari_followup.evaluation.rows import Row
from napari_followup.evaluation.study import Subjects
from napari_followup.models.files import ModelBundle
from napari_followup.recipe.recipe import Fixed, Recipe
from napari_followup.series.results import Detection


def dim(case: Case, prepared: Prepared, generator: torch.Generator) -> torch.Tensor:
    inside = torch.from_numpy(case.truth)[:, None]
    return torch.from_numpy(case.stack.images) - torch.where(inside, 0.5, 0.1)


@pytest.fixture
def found(tiny_bundle: ModelBundle, subjects: Subjects) -> dict[str, tuple[Case, Detection]]:
    row = Row(name="dim", recipe=Recipe(threshold=Fixed(value=0.3)), healer=dim, source="dim")
    judged = judging([row], tiny_bundle, device="cpu")
    return {case.kind: (case, each.detection) for case in subjects.cases for each in judged(case)}


def test_a_sick_patient_has_dice_pixels_and_residuals(
    found: dict[str, tuple[Case, Detection]],
) -> None:
    case, detection = found["darker_circle"]

    patient, pixels = summary(case, detection, 1.5)

    assert patient.dice == (1.0,) * 4
    assert patient.pixel_auprc == 1.0
    assert patient.residuals == pytest.approx((0.5, 0.1))
    assert patient.sick_scores == pytest.approx([0.5] * 4)
    assert (patient.healthy_scores, patient.seconds) == ((), 1.5)
    assert sum(inside.size for inside, _ in pixels) == case.truth.sum()
    assert sum(outside.size for _, outside in pixels) == (~case.truth).sum()


def test_a_healthy_patient_has_scores_and_a_flagged_share_only(
    found: dict[str, tuple[Case, Detection]],
) -> None:
    patient, pixels = summary(*found["healthy"], 1.0)

    assert np.isnan(patient.dice).all()
    assert math.isnan(patient.pixel_auprc)
    assert len(patient.healthy_scores) == 4
    assert (patient.flagged, patient.sick_scores, list(pixels)) == (0.0, (), [])


def test_residuals_are_unknown_without_a_healthy_image(
    found: dict[str, tuple[Case, Detection]],
) -> None:
    case, detection = found["darker_line"]
    patient, _ = summary(case, replace(detection, healthy=None), 1.0)

    assert np.isnan(patient.residuals).all()
