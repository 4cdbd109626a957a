from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_followup.evaluation.study import Entry, Store, Subjects
from napari_followup.models.files import HealthyScores, ModelBundle
from napari_followup.recipe.recipe import Recipe

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
