"""Report of a study: tables, and remarks in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from napari_followup.detection.segment import NEARLY, NO_FLOOR, UNKNOWN
from napari_followup.evaluation.patients import HEALTHY
from napari_followup.evaluation.report import number, table
from napari_followup.evaluation.study import BASELINE, DEFAULT, StudyRow
from napari_followup.evaluation.verdicts import FEWEST, ClaimFigures, Difference, difference

__all__ = [
    "CLAIMS_LEGEND",
    "LEGEND",
    "against_baseline",
    "budget_remark",
    "claims_table",
    "claims_text",
    "csv_rows",
    "is_borrowed",
    "json_rows",
    "study_table",
    "study_text",
    "threshold_remarks",
]

LEGEND = (
    "mDICE is the mean over visits that show the anomaly, with the threshold of the recipe, which "
    "knows no label; [Dice] is what one threshold for all patients would reach, chosen by their "
    "labels: an evaluation figure, no way to segment. FP is the flagged share of healthy patients' "
    "pixels, pixel AUPRC is of all sick patients' pixels together, AUROC of the highest score of a "
    "visit. All but the last four columns in per cent. Seconds are the median of a patient on this "
    "machine, everything included; training images count each time they are seen."
)
BORROWED = (
    "Rows with * need healthy scores that the model does not hold: those of the held-out "
    "subjects were used, or what the remarks state."
)
CLAIMS_LEGEND = (
    "Figures are the area under precision and recall of each patient's pixels, mean over patients, "
    "without fusion, filter or threshold, in per cent; intervals are a bootstrap of the paired "
    "difference over patients. A claim is confirmed when its whole interval lies above minus the "
    "margin, not confirmed when the whole interval lies below; what is to be at least as good has "
    f"a margin, what is to be better has none. Below {FEWEST} patients of a kind there is no "
    "verdict."
)
LACKING = (UNKNOWN, NO_FLOOR, NEARLY)  # notes on thresholds without the right scores


def study_table(rows: Sequence[StudyRow]) -> str:
    """Markdown table, one line a row."""
    kinds = list(dict.fromkeys(kind for row in rows for kind in row.figures.mdice))
    head = [
        "model",
        "recipe",
        *(f"mDICE {kind.replace('_', ' ')}" for kind in kinds),
        "mDICE mean",
        "95 %",
        "healthy FP",
        "[Dice]",
        "pixel AUPRC",
        "AUROC",
        "l1-ratio",
        "s/patient",
        "parameters",
        "training images",
    ]
    return table(head, [_line(row, kinds) for row in rows])


def _line(row: StudyRow, kinds: Sequence[str]) -> list[str]:
    found = row.figures
    return [
        row.model,
        f"{found.name} *" if is_borrowed(row) else found.name,
        *(number(found.mdice[kind], 1, 100) for kind in kinds),
        number(found.mean_mdice, 1, 100),
        _ends(found.interval),
        number(found.false_positives, 4, 100),
        *(number(share, 1, 100) for share in (found.best_dice, found.pixel_auprc, found.auroc)),
        number(found.l1_ratio, 1),
        number(row.seconds, 2),
        f"{row.parameters / 1e6:.2f} M",
        "–" if row.images_seen is None else f"{row.images_seen:,}".replace(",", " "),
    ]


def _ends(ends: tuple[float, float]) -> str:
    low, high = (number(end, 1, 100) for end in ends)
    return "–" if low == "–" else f"{low} to {high}"


def claims_table(claims: Sequence[ClaimFigures]) -> str:
    """Markdown table, one line a claim and model, in points of pixel AUPRC."""
    head = ["claim", "model", "first", "second", "difference", "95 %", "margin", "verdict"]
    lines = [
        [
            each.text,
            each.model,
            f"{each.first}: {number(each.first_auprc, 1, 100)}",
            f"{each.second}: {number(each.second_auprc, 1, 100)}",
            f"{100 * each.difference:+.1f}",
            _ends(each.interval),
            number(each.margin, 1, 100) if each.margin else "–",
            each.verdict,
        ]
        for each in claims
    ]
    return table(head, lines)


def study_text(rows: Sequence[StudyRow], notes: Sequence[str], who: str) -> str:
    """Body of a report: the table, the comparison with the baseline, remarks.

    Parameters
    ----------
    rows
        What was measured.
    notes
        What was left out.
    who
        A sentence on the subjects.

    Returns
    -------
    str
        Markdown.
    """
    remarks = [*against_baseline(rows), budget_remark(rows), *threshold_remarks(rows), *notes]
    legend = [LEGEND, *([BORROWED] if any(map(is_borrowed, rows)) else [])]
    return "\n\n".join([study_table(rows), who, *legend, _listed(remarks)])


def claims_text(claims: Sequence[ClaimFigures], notes: Sequence[str], who: str) -> str:
    """Body of a report on claims; parameters as for `study_text`."""
    remarks = [*(_singles(each) for each in claims if len(each.others) > 1), *notes]
    return "\n\n".join([claims_table(claims), who, CLAIMS_LEGEND, _listed(remarks)])


def _listed(remarks: Sequence[str]) -> str:
    return "\n".join(f"* {remark}" for remark in dict.fromkeys(remarks) if remark)


def _singles(claim: ClaimFigures) -> str:
    each = ", ".join(f"{name} {number(area, 1, 100)}" for name, area in claim.others.items())
    return f"{claim.name}, {claim.model}: {claim.first} {number(claim.first_auprc, 1, 100)}; {each}"


def json_rows(rows: Sequence[StudyRow]) -> list[dict[str, Any]]:
    """Rows as plain values, without the single patients."""
    names = [each.name for each in fields(StudyRow) if each.name not in ("figures", "patients")]
    found = []
    for row in rows:
        figures = {each.name: getattr(row.figures, each.name) for each in fields(row.figures)}
        figures["row"] = figures.pop("name")
        found.append({name: getattr(row, name) for name in names} | figures)
    return found


def csv_rows(rows: Sequence[StudyRow]) -> list[dict[str, Any]]:
    """Rows for a spreadsheet: plain numbers, shares in [0, 1]."""
    return [
        {
            "model": row.model,
            "method": row.method,
            "fingerprint": row.fingerprint,
            "recipe": row.figures.name,
            **{f"mdice_{kind}": value for kind, value in row.figures.mdice.items()},
            "mean_mdice": row.figures.mean_mdice,
            "interval_low": row.figures.interval[0],
            "interval_high": row.figures.interval[1],
            "false_positives": row.figures.false_positives,
            "best_dice": row.figures.best_dice,
            "pixel_auprc": row.figures.pixel_auprc,
            "auroc": row.figures.auroc,
            "auprc": row.figures.auprc,
            "l1_ratio": row.figures.l1_ratio,
            "seconds": row.seconds,
            "parameters": row.parameters,
            "images_seen": row.images_seen,
            "healthy_scores": row.drawn_from,
        }
        for row in rows
    ]


def against_baseline(rows: Sequence[StudyRow]) -> list[str]:
    """One remark a model: whether its default recipe beats the best row of the baseline.

    Parameters
    ----------
    rows
        Of a study, the baseline's among them.

    Returns
    -------
    list of str
        By how much and how surely; where it does not, which figures are behind.
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
    figures = (
        f"mDICE {number(found.first, 1, 100)} against {number(found.second, 1, 100)} "
        f"({opponent}), difference {_signed(found)}"
    )
    if not found.is_sure:
        return (
            f"{row.model} and the baseline: {figures}; {found.fewest} of a kind are too few "
            f"patients, give {FEWEST} or more."
        )
    if low > 0:
        return f"{row.model} beats the baseline: {figures}."
    word = "does not differ clearly from" if found.interval[1] >= 0 else "does not beat"
    return f"{row.model} {word} the baseline: {figures}. {_reason(row, best)}"


def _signed(found: Difference) -> str:
    low, high = found.interval
    return f"{100 * found.value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def _reason(row: StudyRow, best: StudyRow) -> str:
    """Where a model loses: by its threshold or by its score, and there on which pixels."""
    mine, theirs = row.figures, best.figures
    worse = [k for k in mine.mdice if mine.mdice[k] < theirs.mdice.get(k, np.inf)]
    where = f"It is behind on {', '.join(k.replace('_', ' ') for k in worse)}. " if worse else ""
    dices = (
        f"[Dice] {number(mine.best_dice, 1, 100)} against {number(theirs.best_dice, 1, 100)}, "
        f"pixel AUPRC {number(mine.pixel_auprc, 1, 100)} against "
        f"{number(theirs.pixel_auprc, 1, 100)}"
    )
    if mine.best_dice >= theirs.best_dice:
        return f"{where}Its score is good enough, its threshold is not: {dices}."
    if mine.pixel_auprc >= theirs.pixel_auprc:
        return (
            f"{where}Its score ranks pixels as well, but not with one threshold for all: {dices}."
        )
    return f"{where}Its score separates the pixels less well: {dices}.{_residual_reason(row, best)}"


def _residual_reason(row: StudyRow, best: StudyRow) -> str:
    """Whether the anomaly is left in, or the rest is changed; nothing without images."""
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
    """Whether the models had equal training budgets, as far as they record them."""
    seen = {row.model: row.images_seen for row in rows if row.method != BASELINE}
    silent = [name for name, images in seen.items() if images is None]
    known = [images for images in seen.values() if images is not None]
    remarks = []
    if len(known) == 1:
        remarks.append(f"Training images seen by the one model that records it: {known[0]}.")
    elif known:
        low, high = min(known), max(known)
        equal = "equal" if low == high else f"from {low} to {high}"
        remarks.append(
            f"Training images seen are {equal} for the {len(known)} models that record it."
        )
    if silent:
        remarks.append(f"These do not record how long they were trained: {', '.join(silent)}.")
    return " ".join(remarks)


def threshold_remarks(rows: Sequence[StudyRow]) -> list[str]:
    """Which thresholds rest on a model's own healthy scores, and which lack the right ones.

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
        begin = "Healthy scores behind the threshold are the model's own for: "
        found.append(f"{begin}{'; '.join(own)}.{rest}")
    for note in LACKING:
        if lacking := [_named(row) for row in rows if note in row.figures.notes]:
            found.append(f"{'; '.join(lacking)}: {note}.")
    return found


def is_borrowed(row: StudyRow) -> bool:
    """Whether a threshold asks for healthy scores and has others than the model's own."""
    return row.drawn_from == "held out" or any(note in row.figures.notes for note in LACKING)


def _named(row: StudyRow) -> str:
    return f"{row.model}, {row.figures.name}"
