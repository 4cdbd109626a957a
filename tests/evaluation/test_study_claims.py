from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from napari_followup.evaluation.detection import row_detector, usable
from napari_followup.evaluation.study import Store, Subjects, run_job
from napari_followup.evaluation.study_claims import (
    CLAIMS,
    EQUAL,
    PAIRS,
    Claim,
    answers,
    pair_questions,
    pair_rows,
    questions,
)
from napari_followup.models.bundle import ModelBundle
from napari_followup.recipe.recipe import Mahalanobis, Ssim

BY_NAME = {claim.name: claim for claim in CLAIMS}
OF_PAIRS = {claim.name: claim for claim in PAIRS}
Tiny = Callable[..., ModelBundle]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_every_claim_is_a_comparison_that_its_methods_can_make(claim: Claim, tiny_of: Tiny) -> None:
    bundle = tiny_of("cddpm" if "cddpm" in claim.methods else claim.methods[0])

    first, others = claim.rows(bundle)

    assert others
    assert len({row.name for row in (first, *others)}) == 1 + len(others)
    for row in (first, *others):
        assert (row.recipe.fusion, row.recipe.median) == (None, 1)
    assert usable([first, *others], bundle)[1] == [
        f"{row.name}: left out, score Own is of more than one healthy image"
        for row in others
        if row.reconstructor is not None
    ]


def test_what_is_to_be_as_good_has_a_margin_and_what_is_to_be_better_has_none() -> None:
    margins = {claim.name: claim.margin for claim in CLAIMS if "at least as good" in claim.text}
    better = {claim.margin for claim in (*CLAIMS, *PAIRS) if " better than" in claim.text}

    assert margins == {"ensemble": EQUAL, "chain": EQUAL}
    assert (EQUAL, better) == (0.01, {0.0})


def test_end_steps_are_known_without_a_network(
    tiny_of: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tiny_of("anofpdm")
    monkeypatch.setattr(ModelBundle, "build", None)

    assert len(BY_NAME["end step"].rows(bundle)[1]) == 2


def test_geometric_and_arithmetic_mean_differ_in_nothing_else(tiny_of: Tiny) -> None:
    bundle = tiny_of("andi")
    first, (other,) = BY_NAME["mean"].rows(bundle)

    assert first.recipe.options == {**bundle.recipe.options, "mean": "geometric"}
    assert other.recipe.options == {**bundle.recipe.options, "mean": "arithmetic"}


def test_the_ensemble_has_as_many_draws_as_the_single_level(tiny_of: Tiny) -> None:
    first, (other,) = BY_NAME["ensemble"].rows(tiny_of("cddpm"))

    draws = [
        len(row.recipe.options["noise_levels"]) * row.recipe.options["draws"]
        for row in (first, other)
    ]
    assert draws == [3, 3]


def test_windows_and_covariances_are_compared_on_the_same_reconstructions(tiny_of: Tiny) -> None:
    bundle = tiny_of("cddpm")
    whole, singles = BY_NAME["sigmas"].rows(bundle)
    full, (diagonal,) = BY_NAME["covariance"].rows(bundle)

    assert {row.key for row in singles} == {whole.key}
    assert [row.recipe.score for row in singles] == [Ssim(sigmas=(s,)) for s in Ssim().sigmas]
    assert full.key == diagonal.key
    assert isinstance(diagonal.recipe.score, Mahalanobis)
    assert not diagonal.recipe.score.full


def test_a_fixed_end_step_averages_the_guided_errors_before_it(
    tiny_of: Tiny, subjects: Subjects
) -> None:
    bundle = tiny_of("anofpdm")  # steps 1, 26, 51, 76
    _, fixed = BY_NAME["end step"].rows(bundle)
    rows = {row.name: row for row in fixed}
    assert list(rows) == ["fixed end step 51", "fixed end step 76"]

    (found,) = row_detector([rows["fixed end step 51"]], bundle, device="cpu")(subjects.cases[0])

    network, planes = bundle.build(), torch.from_numpy(subjects.cases[0].stack.images[:, :, 0])
    options = network.options_type(last_step=26, stride=25)
    guided: list[torch.Tensor] = []
    scaled = planes * 2 - 1
    code = network.labelled(torch.tensor([0, 2]).repeat_interleave(4))
    noised = scaled
    for step, following in ((1, 26), (26, None)):
        told = network.clean(noised.repeat(2, 1, 1, 1), torch.tensor([step]), code)
        healthy, none = told.chunk(2)
        guided.append(((1 + options.guidance) * healthy - options.guidance * none - scaled) ** 2)
        if following:
            here, there = network.abars[step], network.abars[following]
            noise = (noised - here.sqrt() * none) / (1 - here).sqrt()
            noised = (there.sqrt() * none + (1 - there).sqrt() * noise).float()
    expected = torch.stack(guided).mean(dim=0)
    torch.testing.assert_close(
        torch.from_numpy(found.detection.score), expected.float(), atol=1e-4, rtol=1e-3
    )


@pytest.mark.parametrize(
    ("name", "method", "better", "worse"),
    [
        ("pyramid", "andi", {"noise": "pyramid"}, {"noise": "gaussian"}),
        ("erasing", "vae3d", {"erasing_chance": 0.5}, {"erasing_chance": 0.0}),
        ("grid", "pddpm", {"positions": "grid"}, {"positions": "anywhere"}),
    ],
)
def test_a_pair_is_two_models_trained_as_the_claim_says(
    name: str, method: str, better: dict[str, object], worse: dict[str, object], tiny_of: Tiny
) -> None:
    first, second = tiny_of(method, **better), tiny_of(method, **worse)

    one, other = pair_rows(OF_PAIRS[name], first, second)

    assert one.recipe == other.recipe
    with pytest.raises(ValueError, match=f"pair '{name}': the first model, 'tiny-{method}', is"):
        pair_rows(OF_PAIRS[name], second, first)
    with pytest.raises(ValueError, match="the second model, 'tiny-disyre', is disyre"):
        pair_rows(OF_PAIRS[name], first, tiny_of("disyre"))


def test_claims_are_put_to_the_models_of_their_methods(tiny_of: Tiny) -> None:
    asked, notes = questions({"one": tiny_of("cddpm"), "two": tiny_of("disyre")})

    assert [(each.claim.name, each.model) for each in asked] == [
        ("ensemble", "one"),
        ("sigmas", "one"),
        ("covariance", "one"),
        ("chain", "two"),
    ]
    texts = {claim.name: claim.text for claim in CLAIMS}
    assert notes == [
        f"{texts['mean']}: not asked, no model of andi.",
        f"{texts['end step']}: not asked, no model of anofpdm.",
    ]


def test_what_a_model_was_not_trained_for_is_told(tiny_of: Tiny) -> None:
    asked, notes = questions({"one": tiny_of("cddpm", steps=300)})

    assert "ensemble" not in [each.claim.name for each in asked]
    assert any("one, levels 250, 500, 750: left out" in note for note in notes)


def test_a_question_is_answered_once_all_its_rows_are_measured(
    tiny_of: Tiny, subjects: Subjects, store: Store
) -> None:
    asked, _ = questions({"tiny": tiny_of("andi")})
    assert answers(asked, store) == []

    for entry in asked[0].entries:
        for job in store.jobs(entry):
            run_job(job, subjects, store, device="cpu")
    (found,) = answers(asked, store)

    assert (found.name, found.model) == ("mean", "tiny")
    assert (found.first, found.second) == ("geometric mean", "arithmetic mean")
    assert found.difference == pytest.approx(found.first_auprc - found.second_auprc)
    low, high = found.interval
    assert low - 1e-9 <= found.difference <= high + 1e-9


def test_a_pair_is_compared_model_against_model(
    tiny_of: Tiny, subjects: Subjects, store: Store
) -> None:
    first = replace(tiny_of("vae3d"), name="erasing")
    second = replace(tiny_of("vae3d", erasing_chance=0.0, boxes=2), name="none")

    asked, notes = pair_questions({"erasing": (first, second)})
    for entry in asked[0].entries:
        for job in store.jobs(entry):
            run_job(job, subjects, store, device="cpu")
    (found,) = answers(asked, store)

    assert (found.model, found.first, found.second) == (
        "erasing, none",
        "first: erasing",
        "second: none",
    )
    assert (found.difference, found.verdict) == (0.0, "too few patients")  # the same weights
    others = [claim.text for claim in PAIRS if claim.name != "erasing"]
    assert [note.startswith(text) for note, text in zip(notes, others, strict=False)] == [True] * 2
    assert notes[-1].endswith("the pair differs also in boxes.")


def test_an_unknown_pair_is_refused_with_the_names_there_are(tiny_of: Tiny) -> None:
    bundle = tiny_of("disyre")
    with pytest.raises(ValueError, match="pair: got spiral; claims are pyramid, erasing, grid"):
        pair_questions({"spiral": (bundle, bundle)})
