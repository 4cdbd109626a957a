"""A study as tables; `study_remarks` says in words what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from napari_followup.evaluation.report import number, table
from napari_followup.evaluation.study import StudyRow
from napari_followup.evaluation.study_remarks import (
    against_baseline,
    budget_remark,
    is_foreign,
    threshold_remarks,
)
from napari_followup.evaluation.verdicts import FEWEST, ClaimFigures

__all__ = [
    "CLAIMS_LEGEND",
    "LEGEND",
    "claims_table",
    "claims_text",
    "csv_rows",
    "json_rows",
    "study_table",
    "study_text",
]

LEGEND = (
    "mDICE is the mean over visits that show the anomaly, with the threshold of the recipe, which "
    "knows no label; [Dice] is what one threshold for all patients would reach, chosen by their "
    "labels: an evaluation figure, no way to segment. FP is the marked share of healthy patients' "
    "pixels, pixel AUPRC is of all sick patients' pixels together, AUROC of the highest score of a "
    "visit. All but the last four columns in per cent. Seconds are the median of a patient on this "
    "machine, everything included; training images count each time they are seen."
)
FOREIGN = (
    "Rows marked * asked for healthy scores that the model does not bring: those of the held-out "
    "subjects were taken, or what the remarks say."
)
CLAIMS_LEGEND = (
    "Figures are the area under precision and recall of each patient's pixels, mean over patients, "
    "without fusion, filter or threshold, in per cent; intervals are a bootstrap of the paired "
    "difference over patients. A claim is confirmed when its whole interval lies above minus the "
    "margin, not confirmed when the whole interval lies below; what is to be at least as good has "
    f"a margin, what is to be better has none. Below {FEWEST} patients of a kind nothing is said."
)


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
        f"{found.name} *" if is_foreign(row) else found.name,
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
    """Body of a report: the table, what it says of the baseline, remarks.

    Parameters
    ----------
    rows
        What was measured.
    notes
        What was left out.
    who
        A line on the subjects.

    Returns
    -------
    str
        Markdown.
    """
    remarks = [*against_baseline(rows), budget_remark(rows), *threshold_remarks(rows), *notes]
    legend = [LEGEND, *([FOREIGN] if any(map(is_foreign, rows)) else [])]
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
