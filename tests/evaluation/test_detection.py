from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_followup.detection.prepare import Prepared
from napari_followup.evaluation.cases import KINDS, make_cases
from napari_followup.evaluation.detection import (
    asks_healthy,
    ceiling_rows,
    evaluate_detection,
    measure_rows,
    needs_healthy,
    row_detector,
    usable,
    with_healthy_scores,
)
from napari_followup.evaluation.patients import Case
from napari_followup.evaluation.rows import Row, baseline_rows, ceilings, fit_components, model_rows
from napari_followup.evaluation.study import Subjects
from napari_followup.methods.method import Evidence
from napari_followup.methods.sdm import SDM
from napari_followup.models.bundle import HealthyScores, ModelBundle
from napari_followup.recipe.recipe import (
    Fam,
    Fixed,
    HealthyHysteresis,
    HealthyQuantile,
    Mahalanobis,
    Own,
    Recipe,
)
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
    return Row(name=name, recipe=recipe, reconstructor=perfect, source="perfect", **settings)


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

    (found,) = evaluate_detection(CASES, tiny_bundle, [replace(row(), reconstructor=dim)])

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

    rows = [
        replace(row(f"{value}", value=value), reconstructor=dim) for value in (0.1, 0.3, 0.5, 0.9)
    ]
    found = evaluate_detection(CASES, tiny_bundle, rows)

    best = {each.best_dice for each in found}
    assert len(best) == 1
    assert max(each.mean_mdice for each in found) <= best.pop() + 0.02


def test_patients_are_kept_beside_the_figures(tiny_bundle: ModelBundle) -> None:
    (found,) = measure_rows(CASES, tiny_bundle, [row()])

    assert [patient.kind for patient in found.patients] == [case.kind for case in CASES]
    assert found.figures.name == found.row.name == "perfect"


KNOWN = HealthyScores(shares=(1.0, 0.001), heights=(0.0, 0.9), maxima=(0.9, 0.9))


def test_rows_with_the_same_options_share_their_reconstructions(
    tiny_bundle: ModelBundle,
    tiny_recipe: Recipe,
    subjects: Subjects,
    monkeypatch: pytest.MonkeyPatch,
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

    one, two = evaluate_detection(subjects.cases[:3], tiny_bundle, rows)

    assert len(calls) == 3
    assert (one.name, two.name) == ("one", "two")


def test_time_counts_the_evidence_for_every_row_that_uses_it(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe, subjects: Subjects
) -> None:
    rows = [Row(name=name, recipe=tiny_recipe) for name in ("one", "two")]

    one, two = row_detector(rows, tiny_bundle, device="cpu")(subjects.cases[0])

    assert (one.row, two.row) == tuple(rows)
    assert min(one.seconds, two.seconds) > 0.5 * max(one.seconds, two.seconds)


def test_a_healer_may_bring_all_that_there_is_to_find(
    tiny_bundle: ModelBundle, subjects: Subjects
) -> None:
    def find(case: Case, prepared: Prepared, generator: torch.Generator) -> Evidence:
        return Evidence(score=torch.from_numpy(case.truth).float())

    row = Row(name="truth", recipe=Recipe(score=Own(), threshold=Fixed()), reconstructor=find)
    (found,) = row_detector([row], tiny_bundle)(subjects.cases[-1])

    assert (found.detection.mask == subjects.cases[-1].truth).all()


def test_ceilings_have_healthy_scores_of_their_own(
    tiny_bundle: ModelBundle, subjects: Subjects
) -> None:
    recipes = {
        "line": Recipe(threshold=HealthyQuantile(q=0.99)),
        "two lines": Recipe(threshold=HealthyHysteresis(low=0.9, high=0.99), floor=0.5),
    }
    bundle = tiny_bundle.with_healthy(recipes["line"].score_key, KNOWN)
    healthy = subjects.calibration

    (line, two), notes = ceiling_rows(bundle, recipes, healthy)

    # noise of sd 0.02 is above 2.576 sd in 1 % of all cases
    assert notes == []
    assert line.healthy_scores.pixel_quantile(0.99) == pytest.approx(2.576 * 0.02, rel=0.1)
    assert two.healthy_scores.pixel_quantile(0.9) == pytest.approx(1.645 * 0.02, rel=0.1)
    assert two.healthy_scores.pixel_quantile(0.5) == pytest.approx(0.674 * 0.02, rel=0.1)
    (found, _) = evaluate_detection(subjects.cases, bundle, [line, two])
    assert found.false_positives == pytest.approx(0.01, rel=0.5)
    assert found.mean_mdice > 0.7


def test_a_ceiling_without_healthy_quantiles_needs_no_healthy_scores(
    tiny_bundle: ModelBundle, subjects: Subjects
) -> None:
    (ceiling,), _ = ceiling_rows(
        tiny_bundle, {"fixed": Recipe(threshold=Fixed(value=0.2))}, subjects.cases[:2]
    )

    assert ceiling.healthy_scores is None
    assert ceiling.name == "ceiling of the fixed"


def test_healthy_scores_are_measured_where_the_model_knows_none(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe, subjects: Subjects
) -> None:
    asking = replace(tiny_recipe, threshold=HealthyQuantile(q=0.9))
    floored = replace(tiny_recipe, median=3, floor=0.5)
    bundle = tiny_bundle.with_healthy(asking.score_key, KNOWN)
    rows = [
        Row(name="known", recipe=asking),
        Row(name="unknown", recipe=replace(asking, median=5)),
        Row(name="floor", recipe=floored),
        Row(name="plain", recipe=tiny_recipe),
    ]
    told: list[None] = []

    found = with_healthy_scores(
        rows, bundle, subjects.calibration, on_step=lambda: told.append(None)
    )

    assert [needs_healthy(row, bundle) for row in rows] == [False, True, True, False]
    assert [row.healthy_scores is not None for row in found] == [False, True, True, False]
    assert len(told) == len(subjects.calibration)
    assert len(found[1].healthy_scores.maxima) == len(subjects.calibration)


def test_without_held_out_subjects_rows_stay_as_they_are(
    tiny_bundle: ModelBundle, tiny_recipe: Recipe
) -> None:
    row = Row(name="unknown", recipe=replace(tiny_recipe, threshold=HealthyHysteresis()))

    assert with_healthy_scores([row], tiny_bundle, []) == [row]


def test_a_floor_or_a_healthy_threshold_asks_for_healthy_scores() -> None:
    asking = Recipe(threshold=HealthyHysteresis()), Recipe(threshold=Fixed(), floor=0.9)

    assert all(asks_healthy(recipe) for recipe in asking)
    assert not asks_healthy(Recipe(threshold=Fixed()))


@pytest.mark.parametrize(
    ("method", "left_out"),
    [
        (
            "andi",
            {"pixel distance + Yen": "no healthy image", "FAM + Yen, no fusion": "no"},
        ),
        ("vae3d", {"FAM + Yen, no fusion": "features"}),
    ],
)
def test_rows_that_a_method_cannot_give_are_left_out_and_told(
    method: str, left_out: dict[str, str], tiny_of: Callable[[str], ModelBundle]
) -> None:
    bundle = tiny_of(method)
    rows = model_rows(bundle, bundle.recipe)

    kept, notes = usable(rows, bundle)

    assert [row.name for row in kept] == [r.name for r in rows if r.name not in left_out]
    assert len(notes) == len(left_out)
    for note, (name, why) in zip(notes, left_out.items(), strict=True):
        assert note.startswith(f"{name}: left out, ")
        assert why in note


def test_no_ceiling_has_a_score_of_the_methods_own(tiny_of: Callable[[str], ModelBundle]) -> None:
    recipes = {"own": Recipe(score=Own()), "draws": Recipe(score=Mahalanobis()), "one": Recipe()}
    bundle = tiny_of("andi")

    rows, notes = ceiling_rows(bundle, recipes, [])

    assert [row.name for row in rows] == ["ceiling of the one"]
    assert [note.partition(":")[0] for note in notes] == [
        "ceiling of the own",
        "ceiling of the draws",
    ]
    assert "score Own is of more than one healthy image" in notes[0]


def test_features_are_known_from_the_method_without_a_network(
    tiny_bundle: ModelBundle, tiny_of: Callable[[str], ModelBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*_: object) -> None:
        raise AssertionError("built")

    monkeypatch.setattr(ModelBundle, "build", build)
    rows = ceilings({"fam": Recipe(score=Fam())})

    assert usable(rows, tiny_bundle) == (rows, [])
    (note,) = usable(rows, tiny_of("disyre"))[1]
    assert "FAM needs a method with features, and 'disyre' has none" in note


def test_healers_are_compared_by_the_features_of_the_model(
    tiny_bundle: ModelBundle, subjects: Subjects
) -> None:
    rows = ceilings({"fam": Recipe(score=Fam(), threshold=Fixed())})

    (found,) = row_detector(rows, tiny_bundle, device="cpu")(subjects.cases[-1])

    assert "feature" in found.detection.scores


def test_two_rows_of_one_name_have_no_healthy_scores_to_share(
    tiny_bundle: ModelBundle, subjects: Subjects
) -> None:
    asking = Row(name="one", recipe=Recipe(threshold=HealthyQuantile()))

    with pytest.raises(ValueError, match="rows: one named twice"):
        with_healthy_scores([asking, asking], tiny_bundle, subjects.calibration)
