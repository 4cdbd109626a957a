"""Rows of a table of detection: a recipe, and who reconstructs if not the model."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import torch
from torch import Tensor

from napari_followup.detection.prepare import Prepared, visits_of
from napari_followup.evaluation.patients import Case
from napari_followup.methods.method import Evidence
from napari_followup.models.bundle import HealthyScores, ModelBundle
from napari_followup.recipe.recipe import Fam, Pixel, Recipe, Temporal, Yen

__all__ = [
    "CEILING_NOISE",
    "THESIS",
    "Components",
    "DetectionFigures",
    "Reconstructor",
    "Row",
    "baseline_rows",
    "ceilings",
    "check_names",
    "component_reconstructor",
    "fit_components",
    "model_rows",
]

CEILING_NOISE = 0.02  # standard deviation, of the model's value range

Reconstructor = Callable[[Case, Prepared, torch.Generator], torch.Tensor | Evidence]
"""Healthy images ``(visit, modality, z, y, x)`` of a case, in the model's range and size; or all
that there is to find in it."""


NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: a recipe, and who reconstructs if not the model."""

    name: str
    recipe: Recipe
    reconstructor: Reconstructor | None = None
    source: str = "model"  # rows of one source and the same options share their evidence
    healthy_scores: HealthyScores | None = None  # its own, where the bundle's are not

    @property
    def key(self) -> str:
        """What decides about the evidence."""
        if self.reconstructor:
            return self.source
        temporal = isinstance(self.recipe.score, Temporal)  # which holds its own options
        options = asdict(self.recipe.score) if temporal else self.recipe.as_dict()["options"]
        return json.dumps([temporal, options])


def check_names(rows: Sequence[Row]) -> None:
    """Raise a ValueError if two rows have one name, by which their figures are kept."""
    twice = [name for name, count in Counter(row.name for row in rows).items() if count > 1]
    if twice:
        raise ValueError(f"rows: {', '.join(twice)} named twice; give each a name of its own")


def model_rows(bundle: ModelBundle, default: Recipe) -> list[Row]:
    """Rows of the model: the recipe on trial, the published one, and two simpler ones.

    Parameters
    ----------
    bundle
        The model.
    default
        The recipe on trial.

    Returns
    -------
    list of Row
        Some of them may ask for what the method does not give, see `detection.usable`; a method
        without a published recipe has no row of it.
    """
    published = bundle.recipes.get("published")
    base = published or default
    alone = Recipe(
        options=base.options,
        score=Pixel(),
        rescale=base.rescale,
        threshold=Yen(pixel_too=False),
    )
    fam = base.score if isinstance(base.score, Fam) else Fam()
    rows = [
        Row(name="default recipe", recipe=default),
        Row(name="pixel distance + Yen", recipe=alone),
        Row(
            name="FAM + Yen, no fusion",
            recipe=replace(base, score=fam, fusion=None, threshold=Yen()),
        ),
    ]
    if published is not None:
        rows.insert(1, Row(name="published recipe", recipe=published))
    return rows


def component_reconstructor(components: Components) -> Reconstructor:
    """Reconstruction from principal components, in the place of a model's."""

    def reconstruct(case: Case, prepared: Prepared, generator: torch.Generator) -> torch.Tensor:
        visits = prepared.visits
        return visits.unplane(components.reconstruct(visits.planes)[None])[0]

    return reconstruct


def baseline_rows(components: Components) -> list[Row]:
    """Rows of a reconstruction from principal components."""
    thesis, name = Recipe.published(), f"PCA({len(components.axes)})"
    reconstruct = component_reconstructor(components)
    fused = replace(thesis, score=Pixel())
    alone = replace(fused, fusion=None, median=1, threshold=Yen(pixel_too=False))
    return [
        Row(name=f"{name} residual + Yen", recipe=alone, reconstructor=reconstruct, source=name),
        Row(name=f"{name} residual + LAFM", recipe=fused, reconstructor=reconstruct, source=name),
    ]


def ceilings(recipes: Mapping[str, Recipe]) -> list[Row]:
    """Rows of an all but perfect reconstruction, "ceiling of the ...", one a recipe."""
    return [
        Row(name=f"ceiling of the {name}", recipe=recipe, reconstructor=_truth, source="truth")
        for name, recipe in recipes.items()
    ]


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


@dataclass(frozen=True, eq=False, kw_only=True)
class Components:
    """Mean and principal axes of healthy planes."""

    mean: Tensor  # (modality · y · x,)
    axes: Tensor  # (component, modality · y · x), orthonormal

    def reconstruct(self, planes: Tensor) -> Tensor:
        """Planes as the components represent them: (b, modality, y, x) -> the same shape."""
        mean, axes = self.mean.to(planes), self.axes.to(planes)
        weights = (planes.flatten(1) - mean) @ axes.T
        return (mean + weights @ axes).reshape(planes.shape)


def fit_components(planes: Tensor, count: int = 200, *, seed: int = 0) -> Components:
    """Principal components of healthy planes.

    Parameters
    ----------
    planes
        ``(plane, modality, y, x)``, healthy ones.
    count
        How many components, fewer where there are fewer pixels, or no more planes than that: of
        n planes and their mean, n - 1 differ.
    seed
        Source of the randomised decomposition; the caller's random state is left as it was.

    Returns
    -------
    Components
        Axes in falling order of variance.

    Raises
    ------
    ValueError
        If there are fewer than two planes.
    """
    if len(planes) < 2:
        raise ValueError(f"principal components need at least 2 healthy planes, got {len(planes)}")
    flat = planes.flatten(1)
    mean = flat.mean(dim=0)
    rank = min(count, len(flat) - 1, flat.shape[1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _, _, axes = torch.svd_lowrank(flat - mean, q=min(rank + 20, *flat.shape), niter=4)
    return Components(mean=mean, axes=axes[:, :rank].T.contiguous())


@dataclass(frozen=True, kw_only=True)
class DetectionFigures:
    """Figures of one row; shares in [0, 1].

    `mdice` is the mean Dice over visits whose truth is not empty, by kind; `mean_mdice` their mean
    over kinds with its 95 % `interval` for other patients. `false_positives` is the flagged share
    of healthy patients' pixels. `auroc` and `auprc` separate visits with an anomaly from
    healthy patients' visits by the image score, `pixel_auprc` the anomaly's pixels from all others
    of the sick patients; `l1_ratio` is the residual inside the truth over that outside it, in the
    visits that show it (Dang 2025, eq. 4.1). `best_dice` is what `mean_mdice` would be with the one
    threshold that labels show to be best: [Dice], no way to segment. `intervals` are the 95 % ones
    of the figures by name.
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
    best_dice: float = NAN
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    patients: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


THESIS = DetectionFigures(
    name="thesis, FAM + LAFM (other variant of the data, test split)",
    mdice={"growing_circle": 0.861, "darker_circle": 0.820, "darker_line": 0.874},
    mean_mdice=0.852,
    interval=(NAN, NAN),
    false_positives=0.00183,
    auroc=0.975,
    auprc=0.929,
    pixel_auprc=NAN,
    l1_ratio=49.9,
)
"""Figures quoted from Dang (2025), Sec. 5.2 and Table 5.2; its data have no individual pace."""
