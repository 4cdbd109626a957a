from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from napari_followup.evaluation.claims import CLAIMS, PAIRS
from napari_followup.evaluation.study import Store, Subjects
from napari_followup.evaluation.study_claims import answers, pair_questions, questions
from napari_followup.evaluation.study_runs import run_job
from napari_followup.models.files import ModelBundle

Tiny = Callable[..., ModelBundle]


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
