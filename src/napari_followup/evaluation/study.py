"""A study: many models on the same patients, whose rows are measured once and kept.

Every finished row is a file of its own. A row is measured again only when its model, its recipe or
its patients are others; the model is another where its configuration is, or one of its parts.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from napari_followup.detection.recipe_checks import model_and_options
from napari_followup.evaluation.detection import (
    Measured,
    asks_healthy,
    measure_rows,
    needs_healthy,
    usable,
    with_healthy_scores,
)
from napari_followup.evaluation.patients import Case, Patient
from napari_followup.evaluation.rows import (
    Components,
    DetectionFigures,
    Row,
    baseline_rows,
    check_names,
    component_reconstructor,
)
from napari_followup.io.replacing import replacing
from napari_followup.models.bundle import ModelBundle, configured
from napari_followup.recipe.recipe import Lafm, Recipe

__all__ = [
    "BASELINE",
    "DEFAULT",
    "Entry",
    "Job",
    "Store",
    "StudyRow",
    "Subjects",
    "baseline_entry",
    "entry_of",
    "images_seen",
    "model_entry",
    "run_job",
    "steps_of",
    "variants",
]

BASELINE = "pca"  # what the baseline's method is called
DEFAULT = "default recipe"  # how the name of a model's main row begins


@dataclass(frozen=True, eq=False, kw_only=True)
class Subjects:
    """Who is in a study: cases, healthy ones to calibrate thresholds, and where they are from.

    The parts never overlap.
    """

    cases: tuple[Case, ...]
    calibration: tuple[Case, ...]
    about: str

    @property
    def digest(self) -> str:
        """Short hash of all images, truths, ages, pixel sizes, and of which visits are there."""
        found = hashlib.sha256()
        for case in (*self.cases, *self.calibration):
            found.update(f"{case.kind} {case.number}".encode())
            stack = case.stack
            found.update(f"{stack.shape} {stack.spacing} {stack.unit}".encode())
            for values in (stack.images, case.truth, stack.ages, stack.is_observed):
                found.update(np.ascontiguousarray(values).tobytes())
        return found.hexdigest()[:12]


@dataclass(frozen=True, eq=False, kw_only=True)
class Entry:
    """One model of a study: its rows, and what its training took; `method` is what it is.

    Its figures are kept by the names of its rows, so no two may share one.
    """

    name: str
    method: str
    bundle: ModelBundle
    rows: tuple[Row, ...]
    fingerprint: str
    parameters: int
    images_seen: int | None = None  # in training; none where the model does not record it

    def __post_init__(self) -> None:
        check_names(self.rows)


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """One row of a study.

    `drawn_from` says where the healthy scores behind its threshold come from: "model", "held out",
    or nothing where none are needed or known. `seconds` is the median of a patient.
    """

    model: str
    method: str
    fingerprint: str
    recipe: Mapping[str, Any]
    drawn_from: str
    figures: DetectionFigures
    seconds: float
    parameters: int
    images_seen: int | None
    patients: tuple[Patient, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """Rows of one model that share their evidence."""

    entry: Entry
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Store:
    """Folder of finished rows, a JSON file each, and what they were measured with."""

    folder: Path
    settings: Mapping[str, Any]  # seed, device, patients: all that rows have in common

    def path(self, entry: Entry, row: Row) -> Path:
        """File of a row, whose name changes with all that its figures depend on.

        That is the weights, configuration and parts of the model, the healthy scores that it knows
        for the row, the row's recipe, the settings and the version of this software.
        """
        bundle = entry.bundle
        model, _ = model_and_options(bundle, row.recipe)
        known, _ = model.healthy_for(row.recipe.score_key)
        identity = {
            "settings": dict(self.settings),
            "model": [entry.name, entry.fingerprint, dict(bundle.config)],
            "parts": {name: [p.fingerprint, dict(p.config)] for name, p in bundle.parts.items()},
            "row": [row.name, row.source, row.key, row.recipe.as_dict()],
            "healthy": None if known is None else asdict(known),
            "version": version("napari-followup"),
        }
        text = json.dumps(identity, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"

    def load(self, entry: Entry, row: Row) -> StudyRow | None:
        """Row as it was measured earlier, none where it was not."""
        path = self.path(entry, row)
        return _row_of(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None

    def save(self, entry: Entry, row: Row, found: StudyRow) -> None:
        """Keep a finished row."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.path(entry, row)) as draft:
            draft.write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")

    def jobs(self, entry: Entry) -> Iterator[Job]:
        """Give what is still to be measured of a model, evidence by evidence."""
        groups: dict[str, list[Row]] = {}
        for row in entry.rows:
            if self.load(entry, row) is None:
                groups.setdefault(row.key, []).append(row)
        for rows in groups.values():
            yield Job(entry=entry, rows=tuple(rows))

    def rows(self, entries: Sequence[Entry]) -> list[StudyRow]:
        """Give all finished rows, in the order of the models and of their rows."""
        found = [self.load(entry, row) for entry in entries for row in entry.rows]
        return [each for each in found if each is not None]


def _row_of(values: Mapping[str, Any]) -> StudyRow:
    """Read what `Store.save` wrote."""
    figures = _made(DetectionFigures, values["figures"])
    ends = {name: (low, high) for name, (low, high) in figures.intervals.items()}
    return StudyRow(
        **{
            **values,
            "figures": replace(figures, intervals=ends),
            "patients": tuple(_made(Patient, each) for each in values["patients"]),
        }
    )


def _made(kind: Any, values: Mapping[str, Any]) -> Any:
    """Dataclass whose lists are tuples again."""
    plain = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return kind(**plain)


def variants(default: Recipe) -> list[Row]:
    """Recipe on trial, and the same without any fusion over visits and with LAFM.

    Where one of them is the recipe itself, the row's name contains it.
    """
    others = {
        "without LAFM": replace(default, fusion=None),
        "with LAFM": replace(default, fusion=Lafm()),
    }
    same = [name for name, recipe in others.items() if recipe == default]
    rows = [Row(name=f"{DEFAULT}, {same[0]}" if same else DEFAULT, recipe=default)]
    return rows + [
        Row(name=f"its score, {name}", recipe=recipe)
        for name, recipe in others.items()
        if name not in same
    ]


def model_entry(
    name: str, bundle: ModelBundle, *, published: bool = True
) -> tuple[Entry, list[str]]:
    """One model and its rows.

    Parameters
    ----------
    name
        What the table calls it.
    bundle
        The model.
    published
        Whether the published recipe of its method has a row.

    Returns
    -------
    Entry, notes
        The notes name the rows that were left out, and why.
    """
    recipe = bundle.recipes.get("published") if published else None
    rows = [] if recipe is None else [Row(name="published recipe", recipe=recipe)]
    kept, notes = usable(rows, bundle)
    entry = entry_of(name, bundle, [*variants(bundle.recipe), *kept])
    return entry, [f"{name}, {note}" for note in notes]


def entry_of(name: str, bundle: ModelBundle, rows: Sequence[Row]) -> Entry:
    """Model with rows of one's choice; parameters as for `model_entry`."""
    return Entry(
        name=name,
        method=bundle.method,
        bundle=bundle,
        rows=tuple(rows),
        fingerprint=bundle.fingerprint,
        parameters=_parameters(bundle),
        images_seen=images_seen(bundle.card),
    )


def _parameters(bundle: ModelBundle) -> int:
    """Count parameters, which the weights hold with running means among them.

    On the meta device a network has shapes and no values, so it costs neither memory nor time.
    """
    kind, config = configured(bundle)
    with torch.device("meta"):
        return sum(each.numel() for each in kind(config).parameters())


def images_seen(card: Mapping[str, Any]) -> int | None:
    """Training images that went through a model, by its card; none where the card has no number.

    Images that went through twice count twice.
    """
    if "images_seen" in card:
        return int(card["images_seen"])
    batches = [curve.get("batches") for curve in card.get("losses", {}).values()]
    batch = card.get("plan", {}).get("batch")
    if batch is None or not batches or None in batches:
        return None
    return int(batch * sum(batches))


def baseline_entry(components: Components, carrier: ModelBundle, images: int) -> Entry:
    """Principal components in the place of a model.

    They are measured as published methods are (Yen, without and with LAFM) and, as the models are,
    by the default recipe of SDM and what it becomes without fusion and with LAFM.

    Parameters
    ----------
    components
        Fitted to planes as `carrier` takes them.
    carrier
        A model, for its intensity range and image size.
    images
        How many planes they were fitted to.

    Returns
    -------
    Entry
        Of the method `BASELINE`.
    """
    name, reconstructor = f"PCA({len(components.axes)})", component_reconstructor(components)
    mean, axes = components.mean, components.axes
    digest = hashlib.sha256(mean.numpy().tobytes() + axes.numpy().tobytes()).hexdigest()[:12]
    default = replace(Recipe.default(), options={})
    likened = [replace(row, reconstructor=reconstructor, source=name) for row in variants(default)]
    published = [
        replace(row, name=row.name.removeprefix(f"{name} ")) for row in baseline_rows(components)
    ]
    return Entry(
        name=name,
        method=BASELINE,
        bundle=replace(carrier, healthy={}),
        rows=(*likened, *published),
        fingerprint=digest,
        parameters=mean.numel() + math.prod(axes.shape),
        images_seen=images,
    )


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

    def after(done: int, total: int) -> None:
        if on_step is not None:
            on_step()

    found = measure_rows(subjects.cases, bundle, rows, device=device, seed=seed, on_step=after)
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
    """Source of the healthy scores behind a row's threshold; empty where there is none."""
    if row.healthy_scores is not None:
        return "held out"
    model, _ = model_and_options(bundle, row.recipe)
    known, _ = model.healthy_for(row.recipe.score_key)
    return "model" if asks_healthy(row.recipe) and known is not None else ""
