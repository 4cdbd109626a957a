from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from napari_followup.detection.prepare import Prepared
from napari_followup.evaluation.detection import row_detector
from napari_followup.evaluation.patients import Case, Pixels, curves, summary
from napari_followup.evaluation.rows import Row
from napari_followup.evaluation.statistics import dice
from napari_followup.evaluation.study import Subjects
from napari_followup.models.bundle import ModelBundle
from napari_followup.recipe.recipe import Fixed, Recipe
from napari_followup.series.results import Detection


def dim(case: Case, prepared: Prepared, generator: torch.Generator) -> torch.Tensor:
    inside = torch.from_numpy(case.truth)[:, None]
    return torch.from_numpy(case.stack.images) - torch.where(inside, 0.5, 0.1)


@pytest.fixture
def found(tiny_bundle: ModelBundle, subjects: Subjects) -> dict[str, tuple[Case, Detection]]:
    row = Row(
        name="dim", recipe=Recipe(threshold=Fixed(value=0.3)), reconstructor=dim, source="dim"
    )
    judged = row_detector([row], tiny_bundle, device="cpu")
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


RNG = np.random.default_rng(5)


def patient(size: int = 40, shift: float = 1.0) -> Pixels:
    """Two visits, the second of which shows nothing."""
    inside, outside = RNG.normal(shift, 1, size), RNG.normal(0, 1, 400)
    nothing = inside[:0]
    return [(inside, outside), (nothing, RNG.normal(0, 1, 400))]


def test_the_best_of_all_thresholds_is_found() -> None:
    pixels = [patient(shift=2.0), patient(shift=3.0)]

    found = curves(["a", "b"], pixels).best_dice()

    visits = [visits[0] for visits in pixels]
    heights = np.concatenate([np.concatenate(visit) for visit in visits])
    tried = []
    for height in heights:
        masks = [np.concatenate(visit) >= height for visit in visits]
        truths = [np.repeat([True, False], [v[0].size, v[1].size]) for v in visits]
        tried.append(np.mean([dice(m, t) for m, t in zip(masks, truths, strict=True)]))
    assert np.mean([found[0][0], found[1][0]]) == pytest.approx(max(tried), abs=0.02)
    assert math.isnan(found[0][1])


def test_one_threshold_must_serve_all_patients() -> None:
    low = [(np.full(10, 1.0), np.zeros(90))]
    high = [(np.full(10, 3.0), np.full(90, 2.0))]

    alone = curves(["a"], [low]).best_dice()[0][0]
    first, second = curves(["a", "b"], [low, high]).best_dice()

    assert alone == 1.0
    assert min(first[0], second[0]) < 1.0


def test_area_of_the_patients_drawn_is_that_of_their_pixels_together() -> None:
    pixels = [patient(), patient(), patient()]
    counts = np.array([[1.0, 1.0, 1.0], [0.0, 2.0, 1.0]])

    found = curves(["a"] * 3, pixels).pixel_auprc(counts)

    for count, area in zip(counts.astype(int), found, strict=True):
        parts = [v for times, visits in zip(count, pixels, strict=True) for v in visits * times]
        inside, outside = (np.concatenate(part) for part in zip(*parts, strict=True))
        labels = np.repeat([1, 0], [inside.size, outside.size])
        expected = average_precision_score(labels, np.concatenate([inside, outside]))
        assert area == pytest.approx(expected, abs=0.01)


def test_without_sick_patients_there_is_nothing_to_know() -> None:
    empty = curves([], [])

    assert empty.best_dice() == []
    assert math.isnan(empty.pixel_auprc(np.ones((1, 0)))[0])
