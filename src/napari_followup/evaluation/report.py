"""Report of an evaluation: tables for people, JSON for programs, and the command behind them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_followup.io.replacing import replacing

if TYPE_CHECKING:
    from napari_followup.evaluation.reconstruction import ReconstructionFigures
    from napari_followup.evaluation.rows import DetectionFigures

__all__ = [
    "detection_table",
    "number",
    "reconstruction_table",
    "replacing",
    "table",
    "write_report",
]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown table whose columns also line up as plain text, numbers to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    marks = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [head, marks, *rows]
    return "\n".join(f"| {' | '.join(_padded(line, widths))} |" for line in lines)


def _padded(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *rest = zip(line, widths, strict=True)
    return [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]


def number(value: float, digits: int, factor: float = 1.0) -> str:
    """Write a figure with so many digits, times a factor; a dash where there is none."""
    return "–" if math.isnan(value) else f"{factor * value:.{digits}f}"


def detection_table(figures: Sequence[DetectionFigures]) -> str:
    """One row for every row evaluated; everything but the l1-ratio in per cent."""
    kinds = list(dict.fromkeys(kind for row in figures for kind in row.mdice))
    names = [f"mDICE {kind.replace('_', ' ')}" for kind in kinds]
    head = [
        "",
        *names,
        "mDICE mean",
        "95 %",
        "healthy FP",
        "AUROC",
        "AUPRC",
        "pixel AUPRC",
        "l1-ratio",
    ]
    return table(head, [_detection_row(row, kinds) for row in figures])


def _detection_row(row: DetectionFigures, kinds: Sequence[str]) -> list[str]:
    low, high = (number(end, 1, 100) for end in row.interval)
    return [
        row.name,
        *(number(row.mdice.get(kind, math.nan), 1, 100) for kind in kinds),
        number(row.mean_mdice, 1, 100),
        "–" if low == "–" else f"{low} to {high}",
        number(row.false_positives, 4, 100),
        *(number(area, 1, 100) for area in (row.auroc, row.auprc, row.pixel_auprc)),
        number(row.l1_ratio, 1),
    ]


def reconstruction_table(figures: Sequence[ReconstructionFigures]) -> str:
    """One row for every way to reconstruct; errors in thousandths, similarities in per cent."""
    head = ["", "l1 [1e-3]", "l2 [1e-3]", "PSNR [dB]", "SSIM [%]", "MS-SSIM [%]"]
    rows = [
        [
            row.name,
            *(number(error, 2, 1000) for error in (row.l1, row.l2)),
            number(row.psnr, 2),
            *(number(share, 2, 100) for share in (row.ssim, row.ms_ssim)),
        ]
        for row in figures
    ]
    return table(head, rows)


def write_report(
    folder: str | os.PathLike[str],
    name: str,
    title: str,
    text: str,
    figures: Sequence[Any],
    provenance: Mapping[str, Any],
) -> list[Path]:
    """Write ``<name>.md`` and ``<name>.json`` into a folder, which is made if need be.

    Parameters
    ----------
    folder, name
        Where.
    title, text
        Head and body of the markdown file.
    figures
        Dataclasses or mappings of numbers; what is no number becomes null in the JSON.
    provenance
        Command, seed, model, data: stands in both files.

    Returns
    -------
    list of Path
        The files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    facts = "\n".join(f"- {key}: {value}" for key, value in provenance.items())
    values = {"provenance": dict(provenance), "figures": [_plain(_as_dict(row)) for row in figures]}
    contents = {
        folder / f"{name}.md": f"# {title}\n\n{text}\n\n{facts}\n",
        folder / f"{name}.json": json.dumps(values, indent=1, ensure_ascii=False) + "\n",
    }
    for path, content in contents.items():
        with replacing(path) as draft:
            draft.write_text(content, encoding="utf-8")
    return list(contents)


def _as_dict(row: Any) -> dict[str, Any]:
    return dict(row) if isinstance(row, Mapping) else asdict(row)


def _plain(value: Any) -> Any:
    """JSON knows no NaN."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
