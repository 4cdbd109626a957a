from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_followup.detection.segment import NEARLY, UNKNOWN
from napari_followup.evaluation.rows import Row, fit_components
from napari_followup.evaluation.study import (
    BASELINE,
    Entry,
    Store,
    Subjects,
    baseline_entry,
    images_seen,
    model_entry,
    run_job,
    steps_of,
    variants,
)
from napari_followup.models.bundle import HealthyScores, ModelBundle
from napari_followup.recipe.recipe import HealthyQuantile, Lafm, Recipe, Support, Temporal

KNOWN = HealthyScores(shares=(1.0, 0.001), heights=(0.0, 0.9), maxima=(0.9, 0.9))


def test_rows_of_the_same_options_are_one_job(entry: Entry, store: Store) -> None:
    names = [[row.name for row in job.rows] for job in store.jobs(entry)]

    assert names == [["default recipe", "asking"], ["single step"]]


def test_another_model_recipe_or_setting_is_measured_again(
    entry: Entry, subjects: Subjects, store: Store
) -> None:
    row = entry.rows[0]
    paths = {
        store.path(entry, row),
        store.path(replace(entry, fingerprint="other"), row),
        store.path(entry, replace(row, recipe=replace(row.recipe, median=3))),
        replace(store, settings={**store.settings, "seed": 1}).path(entry, row),
        store.path(
            replace(entry, bundle=entry.bundle.with_healthy(row.recipe.score_key, KNOWN)), row
        ),
    }

    assert len(paths) == 5
    assert store.path(entry, replace(row)) in paths


def test_a_model_of_another_configuration_is_measured_again(entry: Entry, store: Store) -> None:
    row, bundle = entry.rows[0], entry.bundle
    calibrated = replace(bundle, config={**bundle.config, "largest_difference": 0.5})

    other = store.path(replace(entry, bundle=calibrated), row)

    assert calibrated.fingerprint == bundle.fingerprint
    assert other != store.path(entry, row)


def test_a_model_with_another_part_is_measured_again(
    entry: Entry, store: Store, tiny_tdm: ModelBundle
) -> None:
    row = replace(entry.rows[0], recipe=Recipe.temporal())
    blurred = {name: values + 1 for name, values in tiny_tdm.weights.items()}
    parts = [
        tiny_tdm,
        replace(tiny_tdm, weights=blurred),
        tiny_tdm.with_healthy(row.recipe.score_key, KNOWN),
    ]

    paths = {store.path(replace(entry, bundle=entry.bundle.with_part(part)), row) for part in parts}

    assert len(paths) == 3


def test_nearly_known_healthy_scores_count_too(entry: Entry, store: Store) -> None:
    row = replace(entry.rows[0], recipe=replace(Recipe(), options={"draws": 2}))
    near = replace(row.recipe, options={"draws": 5})
    knowing = replace(entry, bundle=entry.bundle.with_healthy(near.score_key, KNOWN))

    assert store.path(knowing, row) != store.path(entry, row)


def test_rows_of_one_name_are_refused(entry: Entry) -> None:
    with pytest.raises(ValueError, match="rows: default recipe named twice"):
        replace(entry, rows=(*entry.rows, entry.rows[0]))


def test_the_digest_is_of_images_and_parts(subjects: Subjects) -> None:
    fewer = replace(subjects, cases=subjects.cases[1:])
    case = subjects.cases[0]
    darker = replace(case, stack=case.stack.with_images(np.array(case.stack.images) / 2))
    changed = replace(subjects, cases=(darker, *subjects.cases[1:]))

    assert len({each.digest for each in (subjects, fewer, changed)}) == 3
    assert replace(subjects, about="others").digest == subjects.digest


def test_the_digest_is_of_pixel_sizes_and_of_which_visits_are_there(subjects: Subjects) -> None:
    case, *others = subjects.cases
    seen = np.arange(case.stack.n_visits) > 0
    stacks = [
        case.stack,
        replace(case.stack, spacing=(1.0, 2.0, 2.0)),
        replace(case.stack, is_observed=seen),
    ]

    changed = [replace(subjects, cases=(replace(case, stack=s), *others)) for s in stacks]

    assert len({each.digest for each in changed}) == 3


def test_every_recipe_is_tried_without_and_with_lafm() -> None:
    rows = variants(Recipe.default())

    assert [row.name for row in rows] == [
        "default recipe",
        "its score, without LAFM",
        "its score, with LAFM",
    ]
    assert [row.recipe.fusion for row in rows] == [Support(), None, Lafm()]


@pytest.mark.parametrize(
    ("fusion", "names"),
    [
        (None, ["default recipe, without LAFM", "its score, with LAFM"]),
        (Lafm(), ["default recipe, with LAFM", "its score, without LAFM"]),
    ],
)
def test_no_recipe_is_measured_twice(fusion: Lafm | None, names: list[str]) -> None:
    assert [row.name for row in variants(Recipe(fusion=fusion))] == names


def test_a_model_has_its_variants_and_its_published_recipe(
    tiny_of: Callable[[str], ModelBundle],
) -> None:
    bundle = tiny_of("vae3d")

    entry, notes = model_entry("VAE", bundle)

    assert [row.name for row in entry.rows][-1] == "published recipe"
    assert (entry.name, entry.method, entry.fingerprint) == ("VAE", "vae3d", bundle.fingerprint)
    assert entry.parameters == sum(p.numel() for p in bundle.build().parameters())
    assert (entry.images_seen, notes) == (None, [])


@pytest.mark.parametrize("method", ["cddpm", "disyre"])
def test_parameters_are_counted_without_buffers_and_without_a_network(
    method: str, tiny_of: Callable[[str], ModelBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tiny_of(method)
    expected = sum(each.numel() for each in bundle.build().parameters())

    def build(*_: object) -> None:
        raise AssertionError("built")

    monkeypatch.setattr(ModelBundle, "build", build)
    entry, _ = model_entry("one", bundle)

    assert entry.parameters == expected
    running = [values for name, values in bundle.weights.items() if "running" in name]
    assert bool(running) == (method == "cddpm")


def test_a_published_recipe_beyond_what_was_trained_is_left_out(
    tiny_of: Callable[..., ModelBundle],
) -> None:
    entry, notes = model_entry("ANDi", tiny_of("andi", trained_steps=(1, 100)))

    assert [row.name for row in entry.rows] == [
        "default recipe, without LAFM",
        "its score, with LAFM",
    ]
    assert notes[0].startswith("ANDi, published recipe: left out, ")


@pytest.mark.parametrize(
    ("card", "images"),
    [
        ({"plan": {"batch": 32}, "losses": {"a": {"batches": 100}, "b": {"batches": 10}}}, 3520),
        ({"images_seen": 5, "plan": {"batch": 32}, "losses": {"a": {"batches": 100}}}, 5),
        ({"plan": {"batch": 32}}, None),
        ({"plan": {"batch": 32}, "losses": {"a": {}}}, None),
        ({"losses": {"a": {"batches": 100}}}, None),
    ],
)
def test_training_images_are_counted_from_the_card(
    card: dict[str, object], images: int | None
) -> None:
    assert images_seen(card) == images


def test_the_baseline_is_measured_as_models_are_and_as_published(
    tiny_bundle: ModelBundle,
) -> None:
    planes = torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    components = fit_components(planes, 4)

    entry = baseline_entry(components, tiny_bundle, 8)
    other = baseline_entry(replace(components, mean=components.mean + 1), tiny_bundle, 8)

    assert [row.name for row in entry.rows] == [
        "default recipe",
        "its score, without LAFM",
        "its score, with LAFM",
        "residual + Yen",
        "residual + LAFM",
    ]
    assert len({row.key for row in entry.rows}) == 1
    assert (entry.name, entry.method, entry.images_seen) == ("PCA(4)", BASELINE, 8)
    assert entry.parameters == 5 * 256
    assert entry.fingerprint != other.fingerprint


KNOWN = HealthyScores(shares=(1.0, 0.001), heights=(0.0, 0.9), maxima=(0.9, 0.9))


def run_all(entry: Entry, subjects: Subjects, store: Store) -> int:
    """Measure what is missing; return how many patients were gone through."""
    told: list[None] = []
    for job in store.jobs(entry):
        run_job(job, subjects, store, device="cpu", on_step=lambda: told.append(None))
    return len(told)


def test_rows_are_kept_as_they_were_measured(
    entry: Entry, subjects: Subjects, store: Store
) -> None:
    assert store.rows([entry]) == []

    steps = sum(steps_of(job, subjects) for job in store.jobs(entry))
    went = run_all(entry, subjects, store)
    found = store.rows([entry])

    assert went == steps == 2 * len(subjects.cases) + len(subjects.calibration)
    assert [row.figures.name for row in found] == ["default recipe", "asking", "single step"]
    assert [row.drawn_from for row in found] == ["", "held out", ""]
    first = found[0]
    assert (first.model, first.parameters, first.images_seen) == ("tiny", 7, 320)
    assert first.recipe == entry.rows[0].recipe.as_dict()
    assert len(first.patients) == len(subjects.cases)
    assert first.seconds == np.median([patient.seconds for patient in first.patients])
    assert isinstance(first.figures.interval, tuple)
    assert isinstance(first.patients[0].dice, tuple)


def test_a_study_goes_on_where_it_was_stopped(
    entry: Entry, subjects: Subjects, store: Store
) -> None:
    first, second = store.jobs(entry)
    run_job(first, subjects, store, device="cpu")

    assert [job.rows for job in store.jobs(entry)] == [second.rows]
    assert run_all(entry, subjects, store) == len(subjects.cases)
    assert list(store.jobs(entry)) == []


def test_known_healthy_scores_are_the_models(
    entry: Entry, subjects: Subjects, store: Store
) -> None:
    row = entry.rows[1]
    bundle = entry.bundle.with_healthy(row.recipe.score_key, KNOWN)
    knowing = replace(entry, bundle=bundle, rows=(row,))

    run_all(knowing, subjects, store)

    assert [found.drawn_from for found in store.rows([knowing])] == ["model"]


def test_a_job_that_ends_early_leaves_no_row(
    entry: Entry, subjects: Subjects, store: Store
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    job = next(store.jobs(entry))
    with pytest.raises(KeyboardInterrupt):
        run_job(job, subjects, store, device="cpu", on_step=stop)

    assert store.rows([entry]) == []
    assert len(list(store.jobs(entry))) == 2


def test_files_of_rows_are_json(entry: Entry, subjects: Subjects, store: Store) -> None:
    run_all(replace(entry, rows=entry.rows[:1]), subjects, store)

    values = json.loads(store.path(entry, entry.rows[0]).read_text("utf-8"))
    assert values["figures"]["name"] == "default recipe"
    assert len(values["patients"]) == len(subjects.cases)


@pytest.mark.parametrize(
    ("known", "source", "note"), [(False, "", UNKNOWN), (True, "model", NEARLY)]
)
def test_a_threshold_that_nobody_knows_healthy_scores_for_is_nobodys(
    known: bool, source: str, note: str, entry: Entry, subjects: Subjects, store: Store
) -> None:
    row = entry.rows[1]
    other = replace(row.recipe, options={"sampling_steps": 2})  # no option of it: near, and unused
    bundle = entry.bundle.with_healthy(other.score_key, KNOWN) if known else entry.bundle
    asking = replace(entry, bundle=bundle, rows=(row,))

    run_all(asking, replace(subjects, calibration=()), store)
    (found,) = store.rows([asking])

    assert (found.drawn_from, found.figures.notes[:1]) == (source, (note,))


def test_healthy_scores_of_the_part_that_examines_are_the_models(
    entry: Entry, subjects: Subjects, store: Store, tiny_tdm: ModelBundle
) -> None:
    recipe = Recipe(score=Temporal(draws=1), threshold=HealthyQuantile(q=0.9))
    bundle = entry.bundle.with_part(tiny_tdm.with_healthy(recipe.score_key, KNOWN))
    temporal = replace(entry, bundle=bundle, rows=(Row(name="temporal", recipe=recipe),))

    run_all(temporal, subjects, store)

    assert [found.drawn_from for found in store.rows([temporal])] == ["model"]
