"""Move the threshold of a finished score."""

from __future__ import annotations

import math

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget
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
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QLabel("threshold"))
        layout.addWidget(self.slider, stretch=1)
        layout.addWidget(self.back)
        self.slider.valueChanged.connect(self.moved)
        self.back.clicked.connect(self.reset)

    def show_score(self, highest: float, threshold: float) -> None:
        """Set the range to a new score, and the handle to its threshold; sends nothing."""
        top = highest if math.isfinite(highest) and highest > 0 else 1.0
        top = max(top, threshold) if math.isfinite(threshold) else top
        self.slider.blockSignals(True)
        self.slider.setDecimals(max(2, 3 - math.floor(math.log10(top))))
        self.slider.setRange(0.0, top)
        self.slider.setValue(min(threshold, top))
        self.slider.blockSignals(False)
