"""Detection, measured: the same patients through every recipe and every kind of reconstruction.

Each row is a recipe and who reconstructs: the model, the principal components of healthy images,
or, as a ceiling, the truth itself plus a little noise: what is lost then is lost by the recipe.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_followup.bundle import HealthyScores, ModelBundle
from napari_followup.detect import examine, judge
from napari_followup.device import choose_device, inference
from napari_followup.evaluation.baselines import Components
from napari_followup.evaluation.cases import HEALTHY, Case
from napari_followup.evaluation.statistics import (
    areas,
    bootstrap_interval,
    dice_by_visit,
    mean_of_kinds,
)
from napari_followup.methods.method import Evidence
from napari_followup.preparation import Prepared, prepare, visits_of
from napari_followup.recipe import HealthyHysteresis, HealthyQuantile, Pixel, Recipe, Yen
from napari_followup.results import Detection

__all__ = [
    "CEILING_NOISE",
    "THESIS",
    "DetectionFigures",
    "Row",
    "baseline_rows",
    "ceiling_rows",
    "evaluate_detection",
    "model_rows",
]

CEILING_NOISE = 0.02  # standard deviation, of the model's value range

Healer = Callable[[Case, Prepared, torch.Generator], torch.Tensor]
"""Healthy images ``(visit, modality, z, y, x)`` of a case, in the model's range and size."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: a recipe, and who reconstructs if not the model."""

    name: str
    recipe: Recipe
    healer: Healer | None = None
    source: str = "model"  # rows of one source and the same options share their reconstructions
    line: HealthyScores | None = (
        None  # healthy scores of this healer, where the bundle's are not its own
    )

    @property
    def key(self) -> str:
        """What decides about the reconstruction."""
        return self.source if self.healer else json.dumps(self.recipe.as_dict()["options"])


@dataclass(frozen=True, kw_only=True)
class DetectionFigures:
    """What one row reaches; shares in [0, 1].

    `mdice` is the mean Dice over visits whose truth is not empty, by kind; `mean_mdice` their mean
    over kinds with its 95 % `interval` for other patients. `false_positives` is the flagged share
    of healthy patients' pixels. `auroc` and `auprc` tell visits with an anomaly from healthy
    patients' visits by the image score, `pixel_auprc` the anomaly's pixels from all others of the
    sick patients; `l1_ratio` is the residual inside the truth over that outside it, in the visits
    that show it (Dang 2025, eq. 4.1).
    """

    name: str
    mdice: Mapping[str, float]
    mean_mdice: float
    interval: tuple[float, float]
    false_positives: float
    auroc: float
    auprc: float
    pixel_auprc: float
    l1_ratio: float
    patients: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


THESIS = DetectionFigures(
    name="thesis, FAM + LAFM (other variant of the data, test split)",
    mdice={"growing_circle": 0.861, "darker_circle": 0.820, "darker_line": 0.874},
    mean_mdice=0.852,
    interval=(np.nan, np.nan),
    false_positives=0.00183,
    auroc=0.975,
    auprc=0.929,
    pixel_auprc=np.nan,
    l1_ratio=49.9,
)
"""Figures quoted from Dang (2025), Sec. 5.2 and Table 5.2; its data have no individual pace."""


@dataclass(frozen=True, eq=False, kw_only=True)
class _Found:
    """What a row found in one patient, as far as the figures need it."""

    kind: str
    dice: NDArray[np.float64]
    flagged: float
    sick_scores: NDArray[np.float32]  # highest score of every visit that shows the anomaly
    healthy_scores: NDArray[np.float32]  # of every visit of a healthy patient
    pixels: tuple[NDArray[np.float32], NDArray[np.float32]]  # scores inside and outside the truth
    residuals: tuple[float, float]
    notes: tuple[str, ...]


def model_rows(default: Recipe) -> list[Row]:
    """Rows of the model: the recipe on trial, the thesis', and two of the thesis' table 5.4."""
    thesis = Recipe.published()
    alone = replace(thesis, score=Pixel(), fusion=None, median=1, threshold=Yen(pixel_too=False))
    return [
        Row(name="default recipe", recipe=default),
        Row(name="published recipe", recipe=thesis),
        Row(name="pixel distance + Yen", recipe=alone),
        Row(name="FAM + Yen, no fusion", recipe=replace(thesis, fusion=None)),
    ]


def baseline_rows(components: Components) -> list[Row]:
    """Rows of a reconstruction from principal components."""

    def heal(case: Case, prepared: Prepared, generator: torch.Generator) -> torch.Tensor:
        visits = prepared.visits
        return visits.unplane(components.reconstruct(visits.planes)[None])[0]

    thesis, name = Recipe.published(), f"PCA({len(components.axes)})"
    fused = replace(thesis, score=Pixel())
    alone = replace(fused, fusion=None, median=1, threshold=Yen(pixel_too=False))
    return [
        Row(name=f"{name} residual + Yen", recipe=alone, healer=heal, source=name),
        Row(name=f"{name} residual + LAFM", recipe=fused, healer=heal, source=name),
    ]


def ceiling_rows(
    bundle: ModelBundle, recipes: Mapping[str, Recipe], calibration: Sequence[Case]
) -> list[Row]:
    """Rows of an all but perfect reconstruction, one a recipe, with healthy scores of its own.

    Parameters
    ----------
    bundle
        The model, for its features and its range.
    recipes
        By the name they go by.
    calibration
        Healthy cases that are not evaluated on: their scores say where a healthy quantile lies when
        the reconstruction is this good.

    Returns
    -------
    list of Row
        "ceiling of the ..." each.
    """
    rows = [
        Row(name=f"ceiling of the {name}", recipe=recipe, healer=_truth, source="truth")
        for name, recipe in recipes.items()
    ]
    return [replace(row, line=_own_line(row, bundle, calibration)) for row in rows]


def _truth(case: Case, prepared: Prepared, generator: torch.Generator) -> torch.Tensor:
    """Give the true healthy images plus a little noise."""
    images = prepared.visits.images
    where = images.device
    true = visits_of(
        case.stack,
        case.healthy.images,
        prepared.scalings,
        (images.shape[-2], images.shape[-1]),
        where,
    ).images
    low, high = prepared.scalings[0].range
    noise = torch.randn(true.shape, generator=generator).to(true)
    return true + CEILING_NOISE * (high - low) * noise


def _own_line(row: Row, bundle: ModelBundle, calibration: Sequence[Case]) -> HealthyScores | None:
    """Scores that this row gives healthy patients, where its recipe asks for them."""
    asks = isinstance(row.recipe.threshold, HealthyQuantile | HealthyHysteresis)
    if not calibration or not (asks or row.recipe.floor is not None):
        return None
    plain = replace(row, recipe=replace(row.recipe, threshold=Yen(pixel_too=False), floor=None))
    found = [d.score for case in calibration for _, d in _detect(case, [plain], bundle, "cpu", 1)]
    return HealthyScores.of(found)


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
    """
    found: dict[str, list[_Found]] = {row.name: [] for row in rows}
    for count, case in enumerate(cases, start=1):
        for row, detection in _detect(case, rows, bundle, device, seed):
            found[row.name].append(_summary(case, detection))
        if on_step is not None and on_step(count, len(cases)) is False:
            break
    return [_figures(name, patients) for name, patients in found.items()]


def _detect(
    case: Case, rows: Iterable[Row], bundle: ModelBundle, device: str, seed: int
) -> Iterable[tuple[Row, Detection]]:
    """Every row's detection of one patient; each reconstruction is made once."""
    where = choose_device(device)
    prepared = prepare(case.stack, bundle, where)
    seed += case.number
    known: dict[str, Evidence] = {}
    with inference(where):
        for row in rows:
            if row.key not in known:
                known[row.key] = _evidence(case, row, prepared, bundle, seed)
            lined = bundle.with_healthy(row.recipe.score_key, row.line) if row.line else bundle
            yield row, judge(prepared, known[row.key], lined, row.recipe, seed=seed)


def _evidence(case: Case, row: Row, prepared: Prepared, bundle: ModelBundle, seed: int) -> Evidence:
    where = prepared.visits.images.device
    if row.healer is None:
        return examine(prepared.visits, bundle, row.recipe.options, where, seed, None)
    healthy = row.healer(case, prepared, torch.Generator().manual_seed(seed))
    return Evidence(healthy=healthy[None], features=bundle.build(where).examine_features)


def _summary(case: Case, found: Detection) -> _Found:
    truth, shown = case.truth, np.asarray(case.truth.any(axis=(1, 2, 3)))
    seen = case.stack.is_observed
    is_healthy = case.kind == HEALTHY
    residual, outside = _residual(found), ~truth & shown[:, None, None, None]
    none = np.empty(0, np.float32)
    return _Found(
        kind=case.kind,
        dice=dice_by_visit(found.mask[seen], truth[seen]),
        flagged=float(found.mask[seen].mean()),
        sick_scores=found.image_score[seen & shown],
        healthy_scores=found.image_score[seen] if is_healthy else none,
        pixels=(none, none)
        if is_healthy
        else (found.score[truth], found.score[seen][~truth[seen]]),
        residuals=(_mean(residual[truth]), _mean(residual[outside])),
        notes=tuple(found.provenance["notes"]),
    )


def _residual(found: Detection) -> NDArray[np.floating[Any]]:
    """Mean over modalities of what the healthy image lacks, ``(visit, z, y, x)``."""
    if found.healthy is None:
        return np.full(found.mask.shape, np.nan, np.float32)
    return np.asarray(
        np.abs(np.asarray(found.stack.images, np.float32) - found.healthy).mean(axis=1)
    )


def _mean(values: NDArray[np.floating[Any]]) -> float:
    return float(values.mean()) if values.size else float("nan")


def _figures(name: str, found: Sequence[_Found]) -> DetectionFigures:
    kinds = list(dict.fromkeys(each.kind for each in found if each.kind != HEALTHY))
    table = {kind: [each.dice for each in found if each.kind == kind] for kind in kinds}
    healthy = [each.flagged for each in found if each.kind == HEALTHY]
    images = areas(
        np.concatenate([each.sick_scores for each in found]),
        np.concatenate([each.healthy_scores for each in found]),
    )
    pixels = [np.concatenate(part) for part in zip(*(each.pixels for each in found), strict=True)]
    residuals = [np.array(each.residuals) for each in found if each.kind != HEALTHY]
    inside, outside = np.nanmean(residuals, axis=0) if residuals else (np.nan, np.nan)
    return DetectionFigures(
        name=name,
        mdice={kind: mean_of_kinds({kind: dices}) for kind, dices in table.items()},
        mean_mdice=mean_of_kinds(table),
        interval=bootstrap_interval(table),
        false_positives=float(np.mean(healthy)) if healthy else float("nan"),
        auroc=images[0],
        auprc=images[1],
        pixel_auprc=areas(pixels[0], pixels[1])[1],
        l1_ratio=float(inside / outside) if outside else float("inf"),
        patients={kind: len(dices) for kind, dices in table.items()} | {HEALTHY: len(healthy)},
        notes=tuple(dict.fromkeys(note for each in found for note in each.notes)),
    )
