from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from napari_followup.detection.segment import NEARLY, UNKNOWN
from napari_followup.evaluation.rows import Row
from napari_followup.evaluation.study import Entry, Store, Subjects
from napari_followup.evaluation.study_runs import run_job, steps_of
from napari_followup.models.bundle import HealthyScores, ModelBundle
from napari_followup.recipe.recipe import HealthyQuantile, Recipe, Temporal

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
