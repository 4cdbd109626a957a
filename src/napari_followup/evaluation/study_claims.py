"""Claims of publications: which of them the models of a study can test, and the results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from napari_followup.detection.prepare import Prepared
from napari_followup.device import fast_networks
from napari_followup.evaluation.detection import usable
from napari_followup.evaluation.patients import Case
from napari_followup.evaluation.rows import Reconstructor, Row
from napari_followup.evaluation.study import Entry, Store, StudyRow, entry_of
from napari_followup.evaluation.verdicts import ClaimFigures, figures_of_claim
from napari_followup.methods.method import Evidence
from napari_followup.models.bundle import ModelBundle, configured
from napari_followup.recipe.recipe import Mahalanobis, Pixel, Recipe, Score, Ssim, Yen

__all__ = [
    "CLAIMS",
    "EQUAL",
    "PAIRS",
    "Claim",
    "PairClaim",
    "Question",
    "answers",
    "pair_questions",
    "pair_rows",
    "questions",
]

EQUAL = 0.01  # of pixel AUPRC: no whole interval lies above 0 where two are equally good

Rows = tuple[Row, list[Row]]
"""What a claim holds to be the better, and what it is compared with."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A source's claim about a method, and the rows that test it.

    `against` names the other row that counts: the best of them on these very patients, or their
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
    """A source's claim about two ways to train; `first` and `second` check a configuration."""

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
            reconstructor=_until(bundle, end, recipe.options),
            source=f"end step {end} {sorted(recipe.options.items())}",
        )
        for end in ends
    ]
    return Row(name="end step chosen", recipe=recipe), fixed


def _until(bundle: ModelBundle, end: int, options: Mapping[str, Any]) -> Reconstructor:
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
        If one is of another method, or not trained as the claim needs.
    """
    for place, bundle, fits in (("first", first, claim.first), ("second", second, claim.second)):
        value = bundle.config.get(claim.setting)
        if bundle.method != claim.method or not fits(value):
            raise ValueError(
                f"pair {claim.name!r}: the {place} model, {bundle.name!r}, is {bundle.method} with "
                f"{claim.setting} {value!r}; it takes {claim.method}, the first model trained the "
                f"way that the claim calls better. {claim.text}"
            )
    recipe = _plain(first)
    return Row(name=f"first: {first.name}", recipe=recipe), Row(
        name=f"second: {second.name}", recipe=recipe
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Question:
    """One claim put to one model, or to a pair: its first row against all others.

    `model` is the one that is asked.
    """

    claim: Claim | PairClaim
    model: str
    entries: tuple[Entry, ...]


def questions(models: Mapping[str, ModelBundle]) -> tuple[list[Question], list[str]]:
    """Put every claim that needs one model to each model of its methods.

    Parameters
    ----------
    models
        By the name that the table has for them.

    Returns
    -------
    questions, notes
        The notes name the claims that no model can test, and what a model cannot do.
    """
    found: list[Question] = []
    notes: list[str] = []
    for claim in CLAIMS:
        asked = {name: model for name, model in models.items() if model.method in claim.methods}
        if not asked:
            notes.append(f"{claim.text}: not asked, no model of {' or '.join(claim.methods)}.")
        for name, model in asked.items():
            first, others = claim.rows(model)
            kept, why = usable(
                [first, *(row for row in others if row.reconstructor is None)], model
            )
            notes += [f"{claim.text}: {name}, {each}" for each in why]
            free = [row for row in others if row.reconstructor is not None]
            if first in kept and len(kept) + len(free) > 1:
                entry = entry_of(name, model, [*kept, *free])
                found.append(Question(claim=claim, model=name, entries=(entry,)))
    return found, notes


def pair_questions(
    pairs: Mapping[str, tuple[ModelBundle, ModelBundle]],
) -> tuple[list[Question], list[str]]:
    """Put the claims about training to pairs of models.

    Parameters
    ----------
    pairs
        By the name of the claim, the model first that the claim calls better.

    Returns
    -------
    questions, notes
        As from `questions`; a note, too, where a pair differs in more than the claim is about.

    Raises
    ------
    ValueError
        If there is no such claim, or a pair does not suit it.
    """
    known = {claim.name: claim for claim in PAIRS}
    if unknown := sorted(set(pairs) - set(known)):
        raise ValueError(f"pair: got {', '.join(unknown)}; claims are {', '.join(known)}")
    found: list[Question] = []
    notes = [
        f"{claim.text}: not asked, it needs two models (pair {name})."
        for name, claim in known.items()
        if name not in pairs
    ]
    for name, (first, second) in pairs.items():
        rows = pair_rows(known[name], first, second)
        entries = tuple(
            entry_of(bundle.name, bundle, [row])
            for bundle, row in zip((first, second), rows, strict=True)
        )
        asked = f"{first.name}, {second.name}"
        found.append(Question(claim=known[name], model=asked, entries=entries))
        notes += _unlike(known[name], entries)
    return found, notes


def _unlike(claim: PairClaim, entries: Sequence[Entry]) -> list[str]:
    """Note on what else two models of a pair differ in."""
    first, second = (entry.bundle.config for entry in entries)
    others = sorted(
        name
        for name in {**first, **second}
        if first.get(name) != second.get(name) and name != claim.setting
    )
    found = [f"in {', '.join(others)}"] if others else []
    seen = [entry.images_seen for entry in entries]
    if seen[0] != seen[1]:
        found.append(f"in training images ({seen[0]} and {seen[1]})")
    return [f"{claim.text}: the pair differs also {' and '.join(found)}."] if found else []


def answers(asked: Sequence[Question], store: Store) -> list[ClaimFigures]:
    """Decide the questions whose rows are all measured."""
    found = []
    for question in asked:
        rows = store.rows(question.entries)
        if len(rows) == sum(len(entry.rows) for entry in question.entries):
            found.append(_answer(question, rows))
    return found


def _answer(question: Question, rows: Sequence[StudyRow]) -> ClaimFigures:
    claim = question.claim
    against = claim.against if isinstance(claim, Claim) else "best"
    about = (claim.name, claim.text, claim.margin, question.model)
    return figures_of_claim(about, rows[0], rows[1:], against)
