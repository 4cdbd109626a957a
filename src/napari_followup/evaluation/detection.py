"""Detection, measured: the same patients through every recipe and every kind of reconstruction.

Each row is a recipe and who reconstructs: the model, the principal components of healthy images,
or, as a ceiling, the truth itself plus a little noise: what is lost then is lost by the recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from napari_followup.evaluation.patients import (
    HEALTHY,
    Case,
    Curves,
    Patient,
    Pixels,
    curves,
    summary,
)
from napari_followup.evaluation.row_judging import judging
from napari_followup.evaluation.rows import DetectionFigures, Row, check_names
from napari_followup.evaluation.statistics import (
    areas,
    auroc_of_draws,
    drawn,
    interval,
    kind_means,
    mean_of_kinds,
    means_of_draws,
)
from napari_followup.models.bundle import ModelBundle

__all__ = [
    "Measured",
    "evaluate_detection",
    "measure_rows",
]

NAN = float("nan")


"""Figures quoted from Dang (2025), Sec. 5.2 and Table 5.2; its data have no individual pace."""


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
    judged = judging(rows, bundle, device=device, seed=seed)
    for count, case in enumerate(cases, start=1):
        for each in judged(case):
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
