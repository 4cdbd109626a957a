"""Published claims as experiments: which two ways of using a model are compared, and how.

Claims that one model can answer differ in its options or its score; those about training need a
pair of models. The figure is the area under precision and recall of a patient's pixels, which no
threshold has a part in, without fusion over visits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from napari_followup.detection.prepare import Prepared
from napari_followup.device import fast_networks
from napari_followup.evaluation.case import Case
from napari_followup.evaluation.rows import Healer, Row
from napari_followup.methods.method import Evidence
from napari_followup.models.bundle import ModelBundle, configured
from napari_followup.recipe.recipe import Mahalanobis, Pixel, Recipe, Score, Ssim, Yen

__all__ = ["CLAIMS", "EQUAL", "PAIRS", "Claim", "PairClaim", "pair_rows"]

EQUAL = 0.01  # of pixel AUPRC: no whole interval lies above 0 where two are equally good

Rows = tuple[Row, list[Row]]
"""What a claim holds to be the better, and what it is compared with."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a source says of a method, and the rows that tell.

    `against` says which of the other rows counts: the best of them on these very patients, or their
    mean. A difference above minus `margin` confirms it: what is to be better has none, what is to
    be at least as good may lie `EQUAL` behind.
    """

    name: str
    text: str
    methods: tuple[str, ...]
    rows: Callable[[ModelBundle], Rows]
    against: Literal["best", "mean"] = "best"
    margin: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PairClaim:
    """What a source says of two ways to train; `first` and `second` check a configuration."""

    name: str
    text: str
    method: str
    setting: str
    first: Callable[[Any], bool]
    second: Callable[[Any], bool]
    margin: float = 0.0


def _plain(bundle: ModelBundle, score: Score | None = None, **options: Any) -> Recipe:
    """Recipe of a model, its score alone: no fusion, no filter; some options are others."""
    default = bundle.recipe
    return Recipe(
        options={**default.options, **options},
        score=score or default.score,
        threshold=Yen(pixel_too=False),
    )


def _andi(bundle: ModelBundle) -> Rows:
    means = ("geometric", "arithmetic")
    one, other = (Row(name=f"{mean} mean", recipe=_plain(bundle, mean=mean)) for mean in means)
    return one, [other]


def _ensemble(bundle: ModelBundle) -> Rows:
    single, several = {"noise_levels": (500,), "draws": 3}, {"noise_levels": (250, 500, 750)}
    return (
        Row(name="levels 250, 500, 750", recipe=_plain(bundle, Pixel(), draws=1, **several)),
        [Row(name="level 500, three draws", recipe=_plain(bundle, Pixel(), **single))],
    )


def _sigmas(bundle: ModelBundle) -> Rows:
    whole = Ssim()
    singles = [
        Row(name=f"sigma {sigma}", recipe=_plain(bundle, Ssim(sigmas=(sigma,))))
        for sigma in whole.sigmas
    ]
    return Row(name="all sigmas", recipe=_plain(bundle, whole)), singles


def _covariance(bundle: ModelBundle) -> Rows:
    draws = {"draws": max(5, int(bundle.recipe.options.get("draws", 1)))}
    one, other = (
        Row(name=name, recipe=_plain(bundle, Mahalanobis(full=full, blur=0.0), **draws))
        for name, full in (("full covariance", True), ("diagonal", False))
    )
    return one, [other]


def _chain(bundle: ModelBundle) -> Rows:
    whole = Row(name="chain of steps", recipe=_plain(bundle))
    last, count = int(bundle.config["steps"]), 4
    singles = [
        Row(name=f"single step {step}", recipe=_plain(bundle, single_step=step))
        for step in range(last // count, last + 1, last // count)
    ]
    return whole, singles


def _end_steps(bundle: ModelBundle) -> Rows:
    recipe = _plain(bundle, cut=None)
    steps = configured(bundle)[0].options_type(**recipe.options).steps
    ends = sorted({steps[max(2, round(part * (len(steps) - 1) / 6))] for part in range(1, 7)})
    fixed = [
        Row(
            name=f"fixed end step {end}",
            recipe=recipe,
            healer=_until(bundle, end, recipe.options),
            source=f"end step {end} {sorted(recipe.options.items())}",
        )
        for end in ends
    ]
    return Row(name="end step chosen", recipe=recipe), fixed


def _until(bundle: ModelBundle, end: int, options: Mapping[str, Any]) -> Healer:
    """Score of a forward process that ends before the same step for every image."""

    def find(case: Case, prepared: Prepared, generator: torch.Generator) -> Evidence:
        network, visits = bundle.build(prepared.device), prepared.visits
        settings = network.options_type(**options)
        walked = replace(settings, last_step=end - settings.stride)
        with fast_networks(prepared.device):
            errors = network.gather(visits.planes, walked, generator)
        return Evidence(score=visits.unplane(errors.mean()[None, :, None])[0, :, 0])

    return find


CLAIMS = (
    Claim(
        name="mean",
        text="ANDi: the geometric mean over steps is better than the arithmetic one "
        "(Frotscher et al. 2024)",
        methods=("andi",),
        rows=_andi,
    ),
    Claim(
        name="ensemble",
        text="cDDPM: reconstructions from three levels are at least as good as from one, with as "
        "many draws (Behrendt 2026)",
        methods=("cddpm",),
        rows=_ensemble,
        margin=EQUAL,
    ),
    Claim(
        name="sigmas",
        text="SSIM-ens: all sigmas together are better than one is on average, so that none must "
        "be chosen (Behrendt 2026)",
        methods=("anoddpm", "cddpm", "pddpm"),
        rows=_sigmas,
        against="mean",
    ),
    Claim(
        name="covariance",
        text="Mahalanobis distance: the full covariance is better than its diagonal "
        "(Behrendt 2026)",
        methods=("anoddpm", "cddpm", "pddpm"),
        rows=_covariance,
    ),
    Claim(
        name="end step",
        text="AnoFPDM: the end step it chooses is within 2 points of the best fixed one "
        "(Che et al. 2024)",
        methods=("anofpdm",),
        rows=_end_steps,
        margin=0.02,
    ),
    Claim(
        name="chain",
        text="DISYRE: several steps are at least as good as the best single one "
        "(Naval Marimont et al. 2024)",
        methods=("disyre",),
        rows=_chain,
        margin=EQUAL,
    ),
)

PAIRS = (
    PairClaim(
        name="pyramid",
        text="ANDi: training with pyramid noise is better than with Gaussian noise "
        "(Frotscher et al. 2024)",
        method="andi",
        setting="noise",
        first=lambda value: value == "pyramid",
        second=lambda value: value == "gaussian",
    ),
    PairClaim(
        name="erasing",
        text="VAE: training with erased parts is better than without (Bengs et al. 2021)",
        method="vae3d",
        setting="erasing_chance",
        first=lambda value: value > 0,
        second=lambda value: value == 0,
    ),
    PairClaim(
        name="grid",
        text="pDDPM: training with patches on a fixed grid is better than anywhere (Behrendt 2026)",
        method="pddpm",
        setting="positions",
        first=lambda value: value == "grid",
        second=lambda value: value == "anywhere",
    ),
)


def pair_rows(claim: PairClaim, first: ModelBundle, second: ModelBundle) -> tuple[Row, Row]:
    """Row of each of two models, both with the recipe of the first.

    Raises
    ------
    ValueError
        If one is of another method, or not trained as the claim says.
    """
    for place, bundle, fits in (("first", first, claim.first), ("second", second, claim.second)):
        value = bundle.config.get(claim.setting)
        if bundle.method != claim.method or not fits(value):
            raise ValueError(
                f"pair {claim.name!r}: the {place} model, {bundle.name!r}, is {bundle.method} with "
                f"{claim.setting} {value!r}; it takes {claim.method}, the first model trained the "
                f"way that is said to be better. {claim.text}"
            )
    recipe = _plain(first)
    return Row(name=f"first: {first.name}", recipe=recipe), Row(
        name=f"second: {second.name}", recipe=recipe
    )
