"""Report of imputation: tables and plots, with the thesis' figures beside ours.

References
----------
Dang (2025), Tables 6.2 and 6.3: Starmen without an individual pace, test split. LPIPS, which the
thesis has too, is left out: it needs a network of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_followup.evaluation.prediction import ImputationFigures
from napari_followup.evaluation.report import replacing, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from napari_followup.evaluation.references import ReferenceFigures
    from napari_followup.evaluation.speed import SpeedFigures

__all__ = [
    "THESIS_GAPS",
    "THESIS_NEXT",
    "gap_tables",
    "group_tables",
    "plot_gaps",
    "plot_references",
    "reference_table",
    "speed_table",
]

HEAD = ("PSNR [dB]", "l1 [1e-3]", "l2 [1e-3]", "SSIM [%]", "MS-SSIM [%]")


def _thesis(group: str, name: str, values: Sequence[float]) -> ImputationFigures:
    """Figures in the thesis' units and order: SSIM, MS-SSIM, PSNR, l1, l2."""
    ssim, ms_ssim, psnr, l1, l2 = values
    return ImputationFigures(
        group=group,
        name=name,
        psnr=psnr,
        l1=l1 / 1000,
        l2=l2 / 1000,
        ssim=ssim / 100,
        ms_ssim=ms_ssim / 100,
    )


THESIS_NEXT = {
    group: _thesis(group, "thesis", values)
    for group, values in {
        "healthy": (77.26, 99.17, 37.40, 9.90, 0.19),
        "growing_circle": (75.02, 97.72, 23.97, 17.77, 6.31),
        "darker_circle": (76.68, 99.07, 33.05, 10.99, 0.52),
        "darker_line": (75.82, 98.90, 31.73, 11.60, 0.71),
    }.items()
}
"""Dang (2025), Table 6.2, by kind of series."""

THESIS_GAPS = {
    name: _thesis("thesis", name, values)
    for name, values in {
        "0-1": (84.882, 99.158, 38.266, 9.001, 0.151),
        "1-2": (83.955, 99.118, 36.778, 9.769, 0.226),
        "2-3": (83.422, 99.037, 34.670, 10.835, 0.362),
        "3-4": (84.150, 98.921, 32.524, 11.828, 0.630),
        "4-5": (83.235, 98.826, 31.843, 12.453, 0.774),
        "5-6": (82.772, 98.744, 30.906, 13.255, 0.898),
        "6-7": (83.273, 98.635, 30.372, 14.002, 1.040),
        "7-8": (82.625, 98.532, 29.580, 14.432, 1.215),
        "8-9": (83.880, 98.564, 29.427, 14.433, 1.289),
        "9-10": (83.127, 98.507, 29.099, 15.178, 1.440),
        "10-11": (83.329, 98.473, 28.870, 15.436, 1.372),
        "11-12": (76.029, 98.373, 26.884, 17.134, 2.078),
    }.items()
}
"""Dang (2025), Table 6.3, by gap in years; forward, from one visit."""


def group_tables(
    figures: Sequence[ImputationFigures],
    thesis: Mapping[str, ImputationFigures] | None = None,
) -> str:
    """One table a group, with the thesis' row below where it has one for the group."""
    parts = []
    for group in dict.fromkeys(row.group for row in figures):
        rows = [row for row in figures if row.group == group]
        rows += [thesis[group]] if thesis and group in thesis else []
        head = ["", "images", HEAD[0], "95 %", *HEAD[1:]]
        lines = []
        for row in rows:
            psnr, *others = _cells(row)
            low, high = (_number(end, 2) for end in row.interval)
            interval = "–" if low == "–" else f"{low} to {high}"
            lines.append([row.name, _count(row.images), psnr, interval, *others])
        parts.append(f"**{_spaced(group)}**\n\n{table(head, lines)}")
    return "\n\n".join(parts)


def gap_tables(figures: Sequence[ImputationFigures]) -> str:
    """One table a direction and number of known visits, the thesis' columns beside the first."""
    parts = []
    for group in dict.fromkeys(row.group for row in figures):
        beside = THESIS_GAPS if group == "forward, one known" else {}
        head = ["gap [years]", "pairs", *HEAD]
        head += [f"thesis {name}" for name in HEAD] if beside else []
        lines = []
        for row in (row for row in figures if row.group == group):
            known = _cells(beside[row.name]) if beside else []
            lines.append([row.name, _count(row.images), *_cells(row), *known])
        parts.append(f"**{group}**\n\n{table(head, lines)}")
    return "\n\n".join(parts)


def reference_table(figures: Sequence[ReferenceFigures]) -> str:
    """One row a recipe, number of observed visits and use of imputed ones; Dice in per cent."""
    kinds = list(dict.fromkeys(kind for row in figures for kind in row.mdice))
    names = [f"mDICE {_spaced(kind)}" for kind in kinds]
    head = ["", "observed", "imputed references", *names, "mDICE mean", "95 %", "visits"]
    lines = []
    for row in figures:
        low, high = (_number(100 * end, 1) for end in row.interval)
        dices = [row.mdice.get(kind, math.nan) for kind in kinds]
        lines.append(
            [
                row.name,
                str(row.observed),
                "yes" if row.with_imputed else "no",
                *(_number(100 * value, 1) for value in (*dices, row.mean_mdice)),
                "–" if low == "–" else f"{low} to {high}",
                str(row.images),
            ]
        )
    return table(head, lines)


def speed_table(figures: Sequence[SpeedFigures]) -> str:
    """One row a way to impute one visit."""
    head = ["", "network calls", "ms a visit", "times our default"]
    return table(
        head,
        [
            [row.name, str(row.calls), _number(1000 * row.seconds, 1), _number(row.ratio, 1)]
            for row in figures
        ],
    )


def _cells(row: ImputationFigures) -> list[str]:
    return [
        _number(row.psnr, 2),
        *(_number(1000 * error, 2) for error in (row.l1, row.l2)),
        *(_number(100 * share, 2) for share in (row.ssim, row.ms_ssim)),
    ]


def _number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _count(images: int) -> str:
    return str(images) if images else "–"


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def plot_gaps(figures: Sequence[ImputationFigures], path: Path) -> Path:
    """Draw PSNR by gap, a panel a direction, into a PNG; needs no screen."""
    directions = list(dict.fromkeys(row.group.split(", ")[0] for row in figures))
    with _Drawing(path, len(directions)) as panels:
        for panel, direction in zip(panels, directions, strict=True):
            groups = dict.fromkeys(r.group for r in figures if r.group.startswith(f"{direction},"))
            for group in groups:
                rows = [row for row in figures if row.group == group]
                places = [_years(row) for row in rows]
                label = group.removeprefix(f"{direction}, ")
                panel.plot(places, [row.psnr for row in rows], marker="o", label=label)
            if direction == "forward":
                places = [_years(row) for row in THESIS_GAPS.values()]
                heights = [row.psnr for row in THESIS_GAPS.values()]
                panel.plot(places, heights, "k--", label="thesis, one known")
            _label(panel, direction, "gap [years]", "PSNR [dB]")
    return path


def _years(row: ImputationFigures) -> float:
    """Middle of a row's gap."""
    return list(THESIS_GAPS).index(row.name) + 0.5


def plot_references(figures: Sequence[ReferenceFigures], path: Path) -> Path:
    """Draw mDICE by number of observed visits, a panel a recipe, into a PNG; needs no screen."""
    names = list(dict.fromkeys(row.name for row in figures))
    with _Drawing(path, len(names)) as panels:
        for panel, name in zip(panels, names, strict=True):
            for with_imputed, style in ((False, "o-"), (True, "s--")):
                rows = [r for r in figures if (r.name, r.with_imputed) == (name, with_imputed)]
                label = f"{'with' if with_imputed else 'without'} imputed references"
                heights = [100 * row.mean_mdice for row in rows]
                panel.plot([row.observed for row in rows], heights, style, label=label)
            _label(panel, name, "observed visits", "mDICE, mean of kinds [%]")
    return path


def _label(panel: Axes, title: str, x: str, y: str) -> None:
    panel.set_title(title, fontsize=10)
    panel.set_xlabel(x)
    panel.set_ylabel(y)
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8)


class _Drawing:
    """A row of panels, written to a file once all is drawn."""

    def __init__(self, path: Path, panels: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.path = path
        self.figure = Figure(figsize=(4.6 * panels, 3.6), dpi=110, layout="constrained")
        FigureCanvasAgg(self.figure)
        self.panels: list[Axes] = list(self.figure.subplots(1, panels, squeeze=False)[0])

    def __enter__(self) -> list[Axes]:
        return self.panels

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            with replacing(self.path) as draft:
                self.figure.savefig(draft, format="png")
