from __future__ import annotations

from dataclasses import replace

import numpy as np

from napari_followup.bundle import HealthyScores
from napari_followup.evaluation.study import Entry, Store, Subjects

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


def test_the_digest_is_of_images_and_parts(subjects: Subjects) -> None:
    fewer = replace(subjects, cases=subjects.cases[1:])
    case = subjects.cases[0]
    darker = replace(case, stack=case.stack.with_images(np.array(case.stack.images) / 2))
    changed = replace(subjects, cases=(darker, *subjects.cases[1:]))

    assert len({each.digest for each in (subjects, fewer, changed)}) == 3
    assert replace(subjects, about="others").digest == subjects.digest
