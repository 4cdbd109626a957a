"""The claims of a study: which of them its models can answer, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from napari_followup.evaluation.claims import CLAIMS, PAIRS, Claim, PairClaim, pair_rows
from napari_followup.evaluation.row_judging import usable
from napari_followup.evaluation.study import Entry, Store, StudyRow
from napari_followup.evaluation.study_entries import entry_of
from napari_followup.evaluation.verdicts import ClaimFigures, figures_of_claim
from napari_followup.models.bundle import ModelBundle

__all__ = ["Question", "answers", "pair_questions", "questions"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Question:
    """One claim put to one model, or to a pair: its first row against all others.

    `model` says who is asked.
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
        The notes say which claims nobody was there to answer, and what a model could not do.
    """
    found: list[Question] = []
    notes: list[str] = []
    for claim in CLAIMS:
        asked = {name: model for name, model in models.items() if model.method in claim.methods}
        if not asked:
            notes.append(f"{claim.text}: not asked, no model of {' or '.join(claim.methods)}.")
        for name, model in asked.items():
            first, others = claim.rows(model)
            kept, why = usable([first, *(row for row in others if row.healer is None)], model)
            notes += [f"{claim.text}: {name}, {each}" for each in why]
            free = [row for row in others if row.healer is not None]
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
        By the name of the claim, the model first that is said to be better.

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
    """Say in what else two models of a pair differ."""
    first, second = (entry.bundle.config for entry in entries)
    others = sorted(
        name
        for name in {**first, **second}
        if first.get(name) != second.get(name) and name != claim.setting
    )
    said = [f"in {', '.join(others)}"] if others else []
    seen = [entry.images_seen for entry in entries]
    if seen[0] != seen[1]:
        said.append(f"in training images ({seen[0]} and {seen[1]})")
    return [f"{claim.text}: the pair differs also {' and '.join(said)}."] if said else []


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
