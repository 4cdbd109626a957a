"""Measure what a study has not measured yet."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from napari_followup.evaluation.detection import Measured, measure_rows
from napari_followup.evaluation.row_judging import asks_healthy, needs_line, with_lines
from napari_followup.evaluation.study import Entry, Job, Store, StudyRow, Subjects

__all__ = ["run_job", "steps_of"]


def steps_of(job: Job, subjects: Subjects) -> int:
    """How many patients a job goes through."""
    lines = any(needs_line(row, job.entry.bundle) for row in job.rows)
    return len(subjects.cases) + lines * len(subjects.calibration)


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
    rows = with_lines(
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
    from_model = "model" if asks_healthy(row.recipe) else ""
    return StudyRow(
        model=entry.name,
        method=entry.method,
        fingerprint=entry.fingerprint,
        recipe=row.recipe.as_dict(),
        line="held out" if row.line is not None else from_model,
        figures=found.figures,
        seconds=median(patient.seconds for patient in found.patients),
        parameters=entry.parameters,
        images_seen=entry.images_seen,
        patients=found.patients,
    )
