from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_followup.bundle import HealthyScores, ModelBundle
from napari_followup.evaluation.baselines import fit_components
from napari_followup.evaluation.cases import KINDS, Case, make_cases
from napari_followup.evaluation.detection import (
    Row,
    baseline_rows,
    ceiling_rows,
    evaluate_detection,
    model_rows,
)
from napari_followup.methods.sdm import SDM
from napari_followup.preparation import Prepared
from napari_followup.recipe import Fixed, HealthyHysteresis, HealthyQuantile, Recipe
from napari_followup.stack import VisitStack


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


def test_rows_with_the_same_options_share_their_reconstructions(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    examine = SDM.examine

    def counted(*args: object) -> object:
        calls.append(args)
        return examine(*args)

    monkeypatch.setattr(SDM, "examine", counted)
    rows = [
        Row(name="one", recipe=tiny_recipe),
        Row(name="two", recipe=replace(tiny_recipe, median=3)),
    ]

    one, two = evaluate_detection(CASES[:3], tiny_bundle, rows)

    assert len(calls) == 3
    assert (one.name, two.name) == ("one", "two")


def test_figures_repeat_with_the_seed(tiny_bundle: ModelBundle, tiny_recipe: Recipe) -> None:
    rows = [Row(name="model", recipe=tiny_recipe)]

    first, again, other = (
        evaluate_detection(CASES, tiny_bundle, rows, seed=seed)[0] for seed in (0, 0, 1)
    )

    assert first == again
    assert first.pixel_auprc != other.pixel_auprc


def test_ceilings_draw_their_own_healthy_line(tiny_bundle: ModelBundle) -> None:
    known = HealthyScores(shares=(1.0, 0.001), heights=(0.0, 0.9), maxima=(0.9, 0.9))
    recipes = {
        "line": Recipe(threshold=HealthyQuantile(q=0.99)),
        "two lines": Recipe(threshold=HealthyHysteresis(low=0.9, high=0.99), floor=0.5),
    }
    bundle = tiny_bundle.with_healthy(recipes["line"].score_key, known)
    healthy = make_cases([body(n) for n in range(20, 24)], (), patients=1)

    line, two = ceiling_rows(bundle, recipes, healthy)

    # noise of sd 0.02 is above 2.576 sd in 1 % of all cases
    assert line.line.height(0.99) == pytest.approx(2.576 * 0.02, rel=0.1)
    assert two.line.height(0.9) == pytest.approx(1.645 * 0.02, rel=0.1)
    assert two.line.height(0.5) == pytest.approx(0.674 * 0.02, rel=0.1)
    (found, _) = evaluate_detection(CASES, bundle, [line, two])
    assert found.false_positives == pytest.approx(0.01, rel=0.5)
    assert found.mean_mdice > 0.7


def test_a_ceiling_without_healthy_quantiles_needs_no_line(tiny_bundle: ModelBundle) -> None:
    (ceiling,) = ceiling_rows(tiny_bundle, {"fixed": Recipe(threshold=Fixed(value=0.2))}, CASES[:2])

    assert ceiling.line is None
    assert ceiling.name == "ceiling of the fixed"


def test_principal_components_stand_in_for_the_model(tiny_bundle: ModelBundle) -> None:
    planes = torch.cat([torch.from_numpy(body(n).images[:, :, 0]) for n in range(10)])

    alone, fused = baseline_rows(fit_components(planes, 5))
    found = evaluate_detection(CASES, tiny_bundle, [alone, fused])

    assert [each.name for each in found] == ["PCA(5) residual + Yen", "PCA(5) residual + LAFM"]
    assert found[0].auroc > 0.9


def test_model_rows_differ_from_the_thesis_by_what_their_names_say() -> None:
    default, published, pixel, fam = (row.recipe for row in model_rows(Recipe.default()))

    assert default == Recipe.default()
    assert published == Recipe.published()
    assert replace(fam, fusion=published.fusion) == published
    assert (type(pixel.score).__name__, pixel.fusion, pixel.median) == ("Pixel", None, 1)


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
