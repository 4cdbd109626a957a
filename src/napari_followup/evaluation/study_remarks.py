"""What a study says in words; every remark is worked out from the figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_followup.detection.segment import NEARLY, NO_FLOOR, UNKNOWN
from napari_followup.evaluation.case import HEALTHY
from napari_followup.evaluation.report import number
from napari_followup.evaluation.study import BASELINE, DEFAULT, StudyRow
from napari_followup.evaluation.verdicts import FEWEST, Difference, difference

__all__ = ["against_baseline", "budget_remark", "is_foreign", "threshold_remarks"]

LACKING = (UNKNOWN, NO_FLOOR, NEARLY)  # what is said of thresholds without the right scores


def against_baseline(rows: Sequence[StudyRow]) -> list[str]:
    """One remark a model: whether its default recipe beats the best row of the baseline.

    Parameters
    ----------
    rows
        Of a study, the baseline's among them.

    Returns
    -------
    list of str
        By how much and how surely; where it does not, which figures tell why.
    """
    baseline = [row for row in rows if row.method == BASELINE]
    if not baseline:
        return []
    best = max(baseline, key=lambda row: row.figures.mean_mdice)
    tried = [r for r in rows if r.method != BASELINE and r.figures.name.startswith(DEFAULT)]
    return [_compared(row, best) for row in tried]


def _compared(row: StudyRow, best: StudyRow) -> str:
    found = difference(row, [best], "dice")
    low = found.interval[0]
    opponent = f"{best.model}, {best.figures.name}"
    said = (
        f"mDICE {number(found.first, 1, 100)} against {number(found.second, 1, 100)} "
        f"({opponent}), difference {_signed(found)}"
    )
    if not found.is_sure:
        return (
            f"{row.model} and the baseline: {said}; {found.fewest} of a kind are too few patients "
            f"to tell, give {FEWEST} or more."
        )
    if low > 0:
        return f"{row.model} beats the baseline: {said}."
    word = "is not told apart from" if found.interval[1] >= 0 else "does not beat"
    return f"{row.model} {word} the baseline: {said}. {_reason(row, best)}"


def _signed(found: Difference) -> str:
    low, high = found.interval
    return f"{100 * found.value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def _reason(row: StudyRow, best: StudyRow) -> str:
    """Say where a model loses: the threshold, or the score, and there on which pixels."""
    mine, theirs = row.figures, best.figures
    worse = [k for k in mine.mdice if mine.mdice[k] < theirs.mdice.get(k, np.inf)]
    where = f"It is behind on {', '.join(k.replace('_', ' ') for k in worse)}. " if worse else ""
    dices = (
        f"[Dice] {number(mine.best_dice, 1, 100)} against {number(theirs.best_dice, 1, 100)}, "
        f"pixel AUPRC {number(mine.pixel_auprc, 1, 100)} against "
        f"{number(theirs.pixel_auprc, 1, 100)}"
    )
    if mine.best_dice >= theirs.best_dice:
        return f"{where}Its score would do, its threshold loses it: {dices}."
    if mine.pixel_auprc >= theirs.pixel_auprc:
        return f"{where}Its score ranks pixels as well, but not at one height for all: {dices}."
    return f"{where}Its score tells the pixels less well: {dices}.{_residual_reason(row, best)}"


def _residual_reason(row: StudyRow, best: StudyRow) -> str:
    """Say whether the anomaly is left in, or the rest is changed; nothing without images."""
    mine, theirs = _residuals(row), _residuals(best)
    if not np.isfinite([*mine, *theirs]).all():
        return ""
    parts = []
    if mine[0] < theirs[0]:
        parts.append("takes less of the anomaly away")
    if mine[1] > theirs[1]:
        parts.append("changes more of what is healthy")
    if not parts:
        return ""
    return (
        f" Its healthy image {' and '.join(parts)}: mean residual {mine[0]:.3g} against "
        f"{theirs[0]:.3g} inside the anomaly, {mine[1]:.3g} against {theirs[1]:.3g} outside, in "
        "units of the data."
    )


def _residuals(row: StudyRow) -> tuple[float, float]:
    known = [each.residuals for each in row.patients if each.kind != HEALTHY]
    finite = [ends for ends in known if np.isfinite(ends).all()]
    if not finite:
        return float("nan"), float("nan")
    inside, outside = np.mean(finite, axis=0)
    return float(inside), float(outside)


def budget_remark(rows: Sequence[StudyRow]) -> str:
    """Say whether the models had equal training budgets, as far as they tell."""
    seen = {row.model: row.images_seen for row in rows if row.method != BASELINE}
    silent = [name for name, images in seen.items() if images is None]
    known = [images for images in seen.values() if images is not None]
    said = []
    if len(known) == 1:
        said.append(f"Training images seen by the one model that says it: {known[0]}.")
    elif known:
        low, high = min(known), max(known)
        equal = "equal" if low == high else f"from {low} to {high}"
        said.append(f"Training images seen are {equal} for the {len(known)} models that say it.")
    if silent:
        said.append(f"These do not say how long they were trained: {', '.join(silent)}.")
    return " ".join(said)


def threshold_remarks(rows: Sequence[StudyRow]) -> list[str]:
    """Say which thresholds stand on a model's own healthy scores, and which lack the right ones.

    Parameters
    ----------
    rows
        Of a study.

    Returns
    -------
    list of str
        A remark for each cause; notes on single patients are left to the rows themselves.
    """
    found = []
    own = [_named(row) for row in rows if row.drawn_from == "model"]
    if own:
        others = any(row.drawn_from == "held out" for row in rows)
        rest = " Where others need any, they are of the held-out subjects." if others else ""
        said = "Healthy scores behind the threshold are the model's own for: "
        found.append(f"{said}{'; '.join(own)}.{rest}")
    for note in LACKING:
        if told := [_named(row) for row in rows if note in row.figures.notes]:
            found.append(f"{'; '.join(told)}: {note}.")
    return found


def is_foreign(row: StudyRow) -> bool:
    """Whether a threshold asks for healthy scores and has others than the model's own."""
    return row.drawn_from == "held out" or any(note in row.figures.notes for note in LACKING)


def _named(row: StudyRow) -> str:
    return f"{row.model}, {row.figures.name}"
