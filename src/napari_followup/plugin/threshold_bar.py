"""Move the threshold of a finished score."""

from __future__ import annotations

import math

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from superqt import QLabeledDoubleSlider

__all__ = ["ThresholdBar"]


class ThresholdBar(QWidget):
    """A slider from 0 to the highest score, and a way back to the recipe's threshold."""

    moved = Signal(float)
    reset = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.slider = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
        self.slider.setToolTip(
            "Score from which a pixel counts as abnormal; the mask follows at once"
        )
        self.back = QPushButton("reset")
        self.back.setToolTip("Back to the mask of the recipe")
        self.floor = QLabel()
        row = QHBoxLayout()
        row.addWidget(QLabel("threshold"))
        row.addWidget(self.slider, stretch=1)
        row.addWidget(self.back)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.floor)
        self.show_floor(None)
        self.slider.valueChanged.connect(self.moved)
        self.back.clicked.connect(self.reset)

    def show_floor(self, floor: tuple[str, float] | None) -> None:
        """Say what must reach a second height, and which; nothing where there is none."""
        self.floor.setText("" if floor is None else f"{floor[0]} must reach {floor[1]:.3g}")
        self.floor.setVisible(floor is not None)

    def show_score(self, highest: float, threshold: float) -> None:
        """Set the range to a new score, and the handle to its threshold; sends nothing."""
        top = highest if math.isfinite(highest) and highest > 0 else 1.0
        top = max(top, threshold) if math.isfinite(threshold) else top
        self.slider.blockSignals(True)
        self.slider.setDecimals(max(2, 3 - math.floor(math.log10(top))))
        self.slider.setRange(0.0, top)
        self.slider.setValue(min(threshold, top))
        self.slider.blockSignals(False)
