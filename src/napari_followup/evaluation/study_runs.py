"""Measure what a study has not measured yet."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from napari_followup.detection.recipe_checks import model_and_options
from napari_followup.evaluation.detection import Measured, measure_rows
from napari_followup.evaluation.row_judging import (
    asks_healthy,
    needs_healthy,
    with_healthy_scores,
)
from napari_followup.evaluation.rows import Row
from napari_followup.evaluation.study import Entry, Job, Store, StudyRow, Subjects
from napari_followup.models.bundle import ModelBundle

__all__ = ["run_job", "steps_of"]


def steps_of(job: Job, subjects: Subjects) -> int:
    """How many patients a job goes through."""
    healthy = any(needs_healthy(row, job.entry.bundle) for row in job.rows)
    return len(subjects.cases) + healthy * len(subjects.calibration)


def run_job(
    job: Job,
    subjects: Subjects,
    store: Store,
    *,
    device: str = "auto",
    seed: int = 0,
    on_step: Callable[[], None] | None = None,
) -> None:
    """Measure the rows of a job and keep them.

    Parameters
    ----------
    job, subjects
        Who is measured on whom.
    store
        Where the rows go, all together once the last patient is done.
    device, seed
        As for `detect`.
    on_step
        Called after every patient.
    """
    bundle = job.entry.bundle
    rows = with_healthy_scores(
        job.rows, bundle, subjects.calibration, device=device, seed=seed, on_step=on_step
    )

    def tell(done: int, total: int) -> None:
        if on_step is not None:
            on_step()

    found = measure_rows(subjects.cases, bundle, rows, device=device, seed=seed, on_step=tell)
    for row, each in zip(job.rows, found, strict=True):
        store.save(job.entry, row, _study_row(job.entry, each))


def _study_row(entry: Entry, found: Measured) -> StudyRow:
    row = found.row
    return StudyRow(
        model=entry.name,
        method=entry.method,
        fingerprint=entry.fingerprint,
        recipe=row.recipe.as_dict(),
        drawn_from=_drawn_from(row, entry.bundle),
        figures=found.figures,
        seconds=median(patient.seconds for patient in found.patients),
        parameters=entry.parameters,
        images_seen=entry.images_seen,
        patients=found.patients,
    )


def _drawn_from(row: Row, bundle: ModelBundle) -> str:
    """Say whose healthy scores a row's threshold stands on; nothing where it asks or finds none."""
    if row.healthy_scores is not None:
        return "held out"
    model, _ = model_and_options(bundle, row.recipe)
    known, _ = model.healthy_for(row.recipe.score_key)
    return "model" if asks_healthy(row.recipe) and known is not None else ""
