"""Evaluation of detection: every recipe and every kind of reconstruction on the same patients.

Each row is a recipe and who reconstructs: the model, the principal components of healthy images,
or, as a ceiling, the truth itself plus a little noise: what is lost then is lost by the recipe.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from napari_followup.detection.detect import segment_evidence
from napari_followup.detection.prepare import Prepared
from napari_followup.detection.recipe_checks import check_recipe, model_and_options
from napari_followup.detection.segment import in_region
from napari_followup.detection.steps import examine
from napari_followup.detection.stream import prepare
from napari_followup.device import choose_device, inference, wait
from napari_followup.evaluation.patients import (
    HEALTHY,
    Case,
    Curves,
    Patient,
    Pixels,
    curves,
    summary,
)
from napari_followup.evaluation.rows import DetectionFigures, Row, ceilings, check_names
from napari_followup.evaluation.statistics import (
    areas,
    auroc_of_draws,
    drawn,
    interval,
    kind_means,
    mean_of_kinds,
    means_of_draws,
)
from napari_followup.methods.method import Evidence
from napari_followup.models.bundle import HealthyScores, ModelBundle, configured
from napari_followup.recipe.recipe import (
    Fam,
    HealthyHysteresis,
    HealthyQuantile,
    Mahalanobis,
    Own,
    Recipe,
    Score,
    Temporal,
    Yen,
)
from napari_followup.series.results import Detection

__all__ = [
    "Measured",
    "RowDetection",
    "asks_healthy",
    "ceiling_rows",
    "evaluate_detection",
    "measure_rows",
    "needs_healthy",
    "row_detector",
    "usable",
    "with_healthy_scores",
]


@dataclass(frozen=True, eq=False, kw_only=True)
class RowDetection:
    """What one row found in one patient, and how long that takes when it is the only row."""

    row: Row
    detection: Detection
    seconds: float


def row_detector(
    rows: Sequence[Row], bundle: ModelBundle, *, device: str = "auto", seed: int = 0
) -> Callable[[Case], Iterator[RowDetection]]:
    """Make a function that goes through the rows with one patient after another.

    Parameters
    ----------
    rows
        Those of one source and the same options share their evidence.
    bundle
        The model; its intensity range and image size hold for every row.
    device, seed
        As for `detect`; the noise is seeded with `seed` plus the patient's number.

    Returns
    -------
    callable
        Takes a case, yields what each row found in it, in their order. It raises a ValueError if a
        recipe asks for what the method does not give.
    """
    where = choose_device(device)
    knowing = [_knowing(bundle, row) for row in rows]  # made once: each has its fingerprint to find

    def detections(case: Case) -> Iterator[RowDetection]:
        known: dict[str, tuple[Prepared, Evidence, float]] = {}
        with inference(where):
            for row, model in zip(rows, knowing, strict=True):
                if row.key not in known:
                    known[row.key] = _timed_evidence(case, row, bundle, where, seed + case.number)
                prepared, evidence, spent = known[row.key]
                start = time.perf_counter()
                found = segment_evidence(
                    prepared, evidence, model, row.recipe, seed=seed + case.number
                )
                yield RowDetection(
                    row=row, detection=found, seconds=spent + time.perf_counter() - start
                )

    return detections


def _knowing(bundle: ModelBundle, row: Row) -> ModelBundle:
    """Model that knows the row's own healthy scores, where it has any."""
    if row.healthy_scores is None:
        return bundle
    model, _ = model_and_options(bundle, row.recipe)
    known = model.with_healthy(row.recipe.score_key, row.healthy_scores)
    return known if model is bundle else bundle.with_part(known)


def _timed_evidence(
    case: Case, row: Row, bundle: ModelBundle, where: torch.device, seed: int
) -> tuple[Prepared, Evidence, float]:
    """Prepare a case for a row, find the evidence, and time it."""
    start = time.perf_counter()
    model, _ = model_and_options(bundle, row.recipe)
    prepared = prepare(case.stack, model, where)
    evidence = _evidence(case, row, prepared, bundle, seed)
    wait(where)
    return prepared, evidence, time.perf_counter() - start


def _evidence(case: Case, row: Row, prepared: Prepared, bundle: ModelBundle, seed: int) -> Evidence:
    where = prepared.device
    model, options = model_and_options(bundle, row.recipe)
    if row.reconstructor is None:
        return examine(prepared, model, options, seed)
    found = row.reconstructor(case, prepared, torch.Generator().manual_seed(seed))
    if isinstance(found, Evidence):
        return found
    features = bundle.build(where).examine_features if _has_features(bundle) else None
    return Evidence(healthy=found[None], features=features)


def _has_features(bundle: ModelBundle) -> bool:
    return "features" in configured(bundle)[0].gives


def asks_healthy(recipe: Recipe) -> bool:
    """Whether a recipe's mask depends on what healthy subjects score."""
    asks = isinstance(recipe.threshold, HealthyQuantile | HealthyHysteresis)
    return asks or recipe.floor is not None


def needs_healthy(row: Row, bundle: ModelBundle) -> bool:
    """Whether healthy scores of a row must be measured, for the bundle does not know them."""
    if row.healthy_scores is not None or not asks_healthy(row.recipe):
        return False
    model, _ = model_and_options(bundle, row.recipe)
    return row.reconstructor is not None or not model.healthy_for(row.recipe.score_key)[1]


def with_healthy_scores(
    rows: Sequence[Row],
    bundle: ModelBundle,
    calibration: Sequence[Case],
    *,
    device: str = "auto",
    seed: int = 0,
    on_step: Callable[[], None] | None = None,
) -> list[Row]:
    """Rows with healthy scores of their own, where they need them and the bundle has none.

    Parameters
    ----------
    rows, bundle, device, seed
        As for `row_detector`.
    calibration
        Healthy cases that are not evaluated on; without any, rows stay as they are.
    on_step
        Called after each of them.

    Returns
    -------
    list of Row
        In the order of `rows`.

    Raises
    ------
    ValueError
        If two rows have one name.
    """
    check_names(rows)
    plain = {
        row.name: replace(row, recipe=_unthresholded(row.recipe))
        for row in rows
        if needs_healthy(row, bundle)
    }
    found: dict[str, list[np.ndarray]] = {name: [] for name in plain}
    detections = row_detector(list(plain.values()), bundle, device=device, seed=seed)
    for case in calibration if plain else ():
        for each in detections(case):
            erosion = each.row.recipe.erosion
            found[each.row.name].append(in_region(each.detection.score, case.stack, erosion))
        if on_step is not None:
            on_step()
    known = {name: HealthyScores.of(scores) for name, scores in found.items() if scores}
    return [replace(row, healthy_scores=known.get(row.name, row.healthy_scores)) for row in rows]


def _unthresholded(recipe: Recipe) -> Recipe:
    """Copy with the same score and a threshold that needs no healthy scores."""
    return replace(recipe, threshold=Yen(pixel_too=False), floor=None, rescale=False)


def ceiling_rows(
    bundle: ModelBundle, recipes: Mapping[str, Recipe], calibration: Sequence[Case]
) -> tuple[list[Row], list[str]]:
    """Rows of an all but perfect reconstruction, one a recipe, with healthy scores of its own.

    Parameters
    ----------
    bundle
        The model, for its features and its range.
    recipes
        By the name they go by.
    calibration
        Healthy cases that are not evaluated on: their scores give the healthy quantile when
        the reconstruction is this good.

    Returns
    -------
    rows, notes
        "ceiling of the ..." each, without those whose score one healthy image cannot give; why
        each of these is left out.
    """
    rows, notes = usable(ceilings(recipes), bundle)
    return with_healthy_scores(rows, bundle, calibration, device="cpu", seed=1), notes


def usable(rows: Sequence[Row], bundle: ModelBundle) -> tuple[list[Row], list[str]]:
    """Rows that a model can give.

    Parameters
    ----------
    rows
        Any.
    bundle
        The model.

    Returns
    -------
    rows, notes
        The rows it can give, and why it cannot give each of the others.
    """
    kept, notes = [], []
    for row in rows:
        if problem := _problem(row, bundle):
            notes.append(f"{row.name}: left out, {problem}")
        else:
            kept.append(row)
    return kept, notes


def _problem(row: Row, bundle: ModelBundle) -> str:
    """Reason why a model cannot give a row; empty where it can."""
    score = row.recipe.score
    if row.reconstructor is not None:
        return _healer_problem(score, bundle)
    try:
        check_recipe(bundle, row.recipe)
    except ValueError as error:
        return str(error)
    return ""


def _healer_problem(score: Score, bundle: ModelBundle) -> str:
    """Reason why a healthy image and the model's features cannot give a score."""
    if isinstance(score, Own | Temporal | Mahalanobis):
        return f"score {type(score).__name__} is of more than one healthy image"
    if isinstance(score, Fam) and not _has_features(bundle):
        return f"FAM needs a method with features, and {bundle.method!r} has none"
    return ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Measured:
    """Figures of one row, and the patients that they are made of."""

    row: Row
    figures: DetectionFigures
    patients: tuple[Patient, ...]


def evaluate_detection(
    cases: Sequence[Case],
    bundle: ModelBundle,
    rows: Sequence[Row],
    *,
    device: str = "auto",
    seed: int = 0,
    on_step: Callable[[int, int], bool | None] | None = None,
) -> list[DetectionFigures]:
    """Figures of every row on the same patients.

    Parameters
    ----------
    cases
        From `make_cases`.
    bundle
        The model; its intensity range and image size hold for every row.
    rows
        What to compare, see `model_rows`, `baseline_rows` and `ceiling_rows`.
    device, seed
        As for `detect`; each patient's noise is seeded with `seed` plus the patient's number.
    on_step
        Called with the patients done and to do.

    Returns
    -------
    list of DetectionFigures
        In the order of `rows`.

    Raises
    ------
    ValueError
        If two rows have one name.
    """
    found = measure_rows(cases, bundle, rows, device=device, seed=seed, on_step=on_step)
    return [each.figures for each in found]


def measure_rows(
    cases: Sequence[Case],
    bundle: ModelBundle,
    rows: Sequence[Row],
    *,
    device: str = "auto",
    seed: int = 0,
    on_step: Callable[[int, int], bool | None] | None = None,
) -> list[Measured]:
    """Measure as `evaluate_detection` does, and keep what was found in every patient."""
    check_names(rows)
    patients: dict[str, list[Patient]] = {row.name: [] for row in rows}
    pixels: dict[str, list[Pixels]] = {row.name: [] for row in rows}
    detections = row_detector(rows, bundle, device=device, seed=seed)
    for count, case in enumerate(cases, start=1):
        for each in detections(case):
            patient, scores = summary(case, each.detection, each.seconds)
            patients[each.row.name].append(patient)
            if case.kind != HEALTHY:
                pixels[each.row.name].append(scores)
        if on_step is not None and on_step(count, len(cases)) is False:
            break
    return [
        Measured(
            row=row,
            figures=_figures(row.name, patients[row.name], pixels[row.name]),
            patients=tuple(patients[row.name]),
        )
        for row in rows
    ]


def _figures(name: str, found: Sequence[Patient], pixels: Sequence[Pixels]) -> DetectionFigures:
    sick = [each for each in found if each.kind != HEALTHY]
    kinds = list(dict.fromkeys(each.kind for each in sick))
    table = {kind: [np.array(each.dice) for each in sick if each.kind == kind] for kind in kinds}
    healthy = [each.flagged for each in found if each.kind == HEALTHY]
    images = areas(
        np.concatenate([each.sick_scores for each in found]),
        np.concatenate([each.healthy_scores for each in found]),
    )
    counted = curves([each.kind for each in sick], pixels)
    best = counted.best_dice()
    intervals = _intervals(found, counted, best)
    return DetectionFigures(
        name=name,
        mdice={kind: mean_of_kinds({kind: dices}) for kind, dices in table.items()},
        mean_mdice=mean_of_kinds(table),
        interval=intervals["mdice mean"],
        false_positives=float(np.mean(healthy)) if healthy else float("nan"),
        auroc=images[0],
        auprc=images[1],
        pixel_auprc=_pixel_auprc(pixels),
        l1_ratio=_l1_ratio(sick),
        best_dice=float(kind_means(counted.kinds, best, np.ones((1, len(best))))["mean"][0]),
        intervals=intervals,
        patients={kind: len(dices) for kind, dices in table.items()} | {HEALTHY: len(healthy)},
        notes=tuple(dict.fromkeys(note for each in found for note in each.notes)),
    )


def _pixel_auprc(pixels: Sequence[Pixels]) -> float:
    """Of all sick patients' pixels together."""
    if not pixels:
        return float("nan")
    visits = [visit for patient in pixels for visit in patient]
    inside, outside = (np.concatenate(part) for part in zip(*visits, strict=True))
    return areas(inside, outside)[1]


def _l1_ratio(sick: Sequence[Patient]) -> float:
    known = [each.residuals for each in sick if np.isfinite(each.residuals).all()]
    if not known:
        return float("nan")
    inside, outside = np.mean(known, axis=0)
    return float(inside / outside) if outside else float("inf")


def _intervals(
    found: Sequence[Patient], counted: Curves, best: Sequence[np.ndarray]
) -> dict[str, tuple[float, float]]:
    """Intervals of the figures, all for the same drawn patients.

    The sick are drawn first: whoever the healthy are, rows on the same sick patients are compared.
    """
    found = sorted(found, key=lambda each: each.kind == HEALTHY)
    kinds = [each.kind for each in found]
    counts = drawn(kinds)
    is_sick = np.array([kind != HEALTHY for kind in kinds])
    of_sick = counts[:, is_sick]
    dices = kind_means(counted.kinds, [e.dice for e in found if e.kind != HEALTHY], of_sick)
    flagged = [[each.flagged] if each.kind == HEALTHY else [] for each in found]
    values = {
        **{f"mdice {kind}": means for kind, means in dices.items()},
        "false_positives": means_of_draws(flagged, counts),
        "auroc": auroc_of_draws(
            [each.sick_scores for each in found], [each.healthy_scores for each in found], counts
        ),
        "pixel_auprc": counted.pixel_auprc(of_sick),
        "best_dice": kind_means(counted.kinds, best, of_sick)["mean"],
    }
    return {name: interval(draws) for name, draws in values.items()}
