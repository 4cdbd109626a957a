"""What detection is measured by, row by row, and the figures of the thesis to stand beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["THESIS", "DetectionFigures"]

NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class DetectionFigures:
    """What one row reaches; shares in [0, 1].

    `mdice` is the mean Dice over visits whose truth is not empty, by kind; `mean_mdice` their mean
    over kinds with its 95 % `interval` for other patients. `false_positives` is the flagged share
    of healthy patients' pixels. `auroc` and `auprc` tell visits with an anomaly from healthy
    patients' visits by the image score, `pixel_auprc` the anomaly's pixels from all others of the
    sick patients; `l1_ratio` is the residual inside the truth over that outside it, in the visits
    that show it (Dang 2025, eq. 4.1). `best_dice` is what `mean_mdice` would be with the one
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
