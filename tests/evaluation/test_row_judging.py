from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from napari_followup.detection.prepare import Prepared
from napari_followup.evaluation.detection import evaluate_detection
from napari_followup.evaluation.patients import Case
from napari_followup.evaluation.row_judging import (
    asks_healthy,
    ceiling_rows,
    judging,
    needs_healthy,
    usable,
    with_healthy_scores,
)
from napari_followup.evaluation.rows import Row, ceilings, model_rows
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

    one, two = judging(rows, tiny_bundle, device="cpu")(subjects.cases[0])

    assert (one.row, two.row) == tuple(rows)
    assert min(one.seconds, two.seconds) > 0.5 * max(one.seconds, two.seconds)


def test_a_healer_may_bring_all_that_there_is_to_find(
    tiny_bundle: ModelBundle, subjects: Subjects
) -> None:
    def find(case: Case, prepared: Prepared, generator: torch.Generator) -> Evidence:
        return Evidence(score=torch.from_numpy(case.truth).float())

    row = Row(name="truth", recipe=Recipe(score=Own(), threshold=Fixed()), healer=find)
    (found,) = judging([row], tiny_bundle)(subjects.cases[-1])

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
    assert line.healthy_scores.height(0.99) == pytest.approx(2.576 * 0.02, rel=0.1)
    assert two.healthy_scores.height(0.9) == pytest.approx(1.645 * 0.02, rel=0.1)
    assert two.healthy_scores.height(0.5) == pytest.approx(0.674 * 0.02, rel=0.1)
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

    (found,) = judging(rows, tiny_bundle, device="cpu")(subjects.cases[-1])

    assert "feature" in found.detection.scores


def test_two_rows_of_one_name_have_no_healthy_scores_to_share(
    tiny_bundle: ModelBundle, subjects: Subjects
) -> None:
    asking = Row(name="one", recipe=Recipe(threshold=HealthyQuantile()))

    with pytest.raises(ValueError, match="rows: one named twice"):
        with_healthy_scores([asking, asking], tiny_bundle, subjects.calibration)
