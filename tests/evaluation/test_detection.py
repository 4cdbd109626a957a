from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_followup.detection.prepare import Prepared
from napari_followup.evaluation.cases import KINDS, make_cases
from napari_followup.evaluation.detection import evaluate_detection, measure_rows
from napari_followup.evaluation.patients import Case
from napari_followup.evaluation.rows import Row, baseline_rows, fit_components
from napari_followup.models.bundle import ModelBundle
from napari_followup.recipe.recipe import Fixed, Recipe
from napari_followup.series.stack import VisitStack


def body(subject: int) -> VisitStack:
    """Square of 16 x 16 pixels, six visits."""
    images = np.zeros((6, 16, 16), np.float32)
    images[:, 4 : 12 + subject % 3, 5:13] = 1.0
    return VisitStack.from_array(images, ages=np.arange(6.0), subject=f"body-{subject}")


CASES = make_cases([body(n) for n in range(8)], KINDS, patients=2)


def perfect(case: Case, prepared: Prepared, generator: torch.Generator) -> torch.Tensor:
    return torch.from_numpy(case.healthy.images)


def row(name: str = "perfect", value: float = 0.01, **settings: object) -> Row:
    recipe = Recipe(threshold=Fixed(value=value))
    return Row(name=name, recipe=recipe, healer=perfect, source="perfect", **settings)


def test_perfect_healthy_images_give_perfect_figures(tiny_bundle: ModelBundle) -> None:
    (found,) = evaluate_detection(CASES, tiny_bundle, [row()])

    assert found.mdice == pytest.approx(dict.fromkeys(KINDS, 1.0))
    assert (found.mean_mdice, found.interval) == (1.0, (1.0, 1.0))
    assert found.false_positives == 0.0
    assert (found.auroc, found.auprc, found.pixel_auprc) == (1.0, 1.0, 1.0)
    assert found.l1_ratio == math.inf
    assert found.patients == dict.fromkeys(KINDS, 2) | {"healthy": 2}


def test_a_mask_of_everything_has_the_dice_of_everything(tiny_bundle: ModelBundle) -> None:
    (found,) = evaluate_detection(CASES, tiny_bundle, [row(value=-1.0)])

    truths = [case.truth for case in CASES if case.kind == "darker_line"]
    shares = [t.sum() / t.size for truth in truths for t in truth if t.any()]
    assert found.false_positives == 1.0
    expected = np.mean([2 * share / (1 + share) for share in shares])
    assert found.mdice["darker_line"] == pytest.approx(expected)


def test_l1_ratio_divides_the_residual_inside_by_that_outside(tiny_bundle: ModelBundle) -> None:
    def dim(case: Case, prepared: Prepared, generator: torch.Generator) -> torch.Tensor:
        inside = torch.from_numpy(case.truth)[:, None]
        return torch.from_numpy(case.stack.images) - torch.where(inside, 0.5, 0.1)

    (found,) = evaluate_detection(CASES, tiny_bundle, [replace(row(), healer=dim)])

    assert found.l1_ratio == pytest.approx(5.0, rel=1e-5)


def test_figures_repeat_with_the_seed(tiny_bundle: ModelBundle, tiny_recipe: Recipe) -> None:
    rows = [Row(name="model", recipe=tiny_recipe)]

    first, again, other = (
        evaluate_detection(CASES, tiny_bundle, rows, seed=seed)[0] for seed in (0, 0, 1)
    )

    assert first == again
    assert first.pixel_auprc != other.pixel_auprc


def test_principal_components_stand_in_for_the_model(tiny_bundle: ModelBundle) -> None:
    planes = torch.cat([torch.from_numpy(body(n).images[:, :, 0]) for n in range(10)])

    alone, fused = baseline_rows(fit_components(planes, 5))
    found = evaluate_detection(CASES, tiny_bundle, [alone, fused])

    assert [each.name for each in found] == ["PCA(5) residual + Yen", "PCA(5) residual + LAFM"]
    assert found[0].auroc > 0.9


def test_only_healthy_patients_still_give_false_positives(tiny_bundle: ModelBundle) -> None:
    (found,) = evaluate_detection(CASES[:2], tiny_bundle, [row()])

    assert found.false_positives == 0.0
    assert math.isnan(found.mean_mdice)
    assert math.isnan(found.auroc)


def test_progress_counts_patients_and_can_stop(tiny_bundle: ModelBundle) -> None:
    told = []

    def tell(done: int, total: int) -> bool:
        told.append((done, total))
        return done < 2

    evaluate_detection(CASES, tiny_bundle, [row()], on_step=tell)

    assert told == [(1, 8), (2, 8)]


def test_every_figure_has_an_interval_about_it(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    (found,) = evaluate_detection(CASES, tiny_bundle, [Row(name="model", recipe=tiny_recipe)])

    figures = {"mdice mean": found.mean_mdice, **{f"mdice {k}": v for k, v in found.mdice.items()}}
    figures |= {
        name: getattr(found, name)
        for name in ("false_positives", "auroc", "pixel_auprc", "best_dice")
    }
    assert set(found.intervals) == set(figures)
    for name, (low, high) in found.intervals.items():
        assert low - 0.01 <= figures[name] <= high + 0.01, name


def test_the_interval_of_the_mean_is_one_whoever_the_healthy_are(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    rows = [Row(name="model", recipe=tiny_recipe)]

    (found,) = evaluate_detection(CASES, tiny_bundle, rows)
    (fewer,) = evaluate_detection(CASES[1:], tiny_bundle, rows)

    assert CASES[0].kind == "healthy"
    assert found.interval == found.intervals["mdice mean"] == fewer.interval
    assert found.intervals["pixel_auprc"] == fewer.intervals["pixel_auprc"]


def test_rows_of_one_name_are_refused(tiny_bundle: ModelBundle) -> None:
    with pytest.raises(ValueError, match="rows: perfect named twice; give each a name of its own"):
        measure_rows(CASES, tiny_bundle, [row(), row(value=0.5)])


def test_no_mask_of_one_threshold_beats_the_best_dice(tiny_bundle: ModelBundle) -> None:
    def dim(case: Case, prepared: Prepared, generator: torch.Generator) -> torch.Tensor:
        noise = 0.3 * torch.randn(case.healthy.images.shape, generator=generator)
        return torch.from_numpy(case.healthy.images) + noise

    rows = [replace(row(f"{value}", value=value), healer=dim) for value in (0.1, 0.3, 0.5, 0.9)]
    found = evaluate_detection(CASES, tiny_bundle, rows)

    best = {each.best_dice for each in found}
    assert len(best) == 1
    assert max(each.mean_mdice for each in found) <= best.pop() + 0.02


def test_patients_are_kept_beside_the_figures(tiny_bundle: ModelBundle) -> None:
    (found,) = measure_rows(CASES, tiny_bundle, [row()])

    assert [patient.kind for patient in found.patients] == [case.kind for case in CASES]
    assert found.figures.name == found.row.name == "perfect"
