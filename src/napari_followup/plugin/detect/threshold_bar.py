"""Move the threshold of a finished score."""

from __future__ import annotations

import math

from qtpy.QtCore import QLocale, Qt, Signal
from qtpy.QtGui import QDoubleValidator
from qtpy.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget
from superqt import QDoubleSlider

__all__ = ["ThresholdBar"]

LONGEST = "0.0001234 "  # as `_show_number` writes a small score


class ThresholdBar(QWidget):
    """A slider from 0 to the highest score, and a way back to the recipe's threshold."""

    moved = Signal(float)
    reset = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.slider = QDoubleSlider(Qt.Orientation.Horizontal)
        self.slider.setToolTip(
            "Score from which a pixel counts as abnormal; the mask follows at once"
        )
        self.number = QLineEdit()
        self.number.setToolTip("The threshold; type another one")
        self.number.setValidator(_point_validator(self))
        self.back = QPushButton("reset")
        self.back.setToolTip("Back to the mask of the recipe")
        self.floor = QLabel()
        row = QHBoxLayout()
        row.addWidget(QLabel("threshold"))
        row.addWidget(self.slider, stretch=1)
        row.addWidget(self.number)
        row.addWidget(self.back)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.floor)
        self.show_floor(None)
        self.slider.valueChanged.connect(self._show_number)
        self.slider.valueChanged.connect(self.moved)
        self.number.editingFinished.connect(self._on_typed)
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
        self.slider.setRange(0.0, top)
        self.slider.setSingleStep(top / 100)
        self.slider.setValue(min(threshold, top))
        self.slider.blockSignals(False)
        self._show_number(self.slider.value())

    def _show_number(self, value: float) -> None:
        self.number.ensurePolished()  # the theme has its own font
        margins = self.number.sizeHint().height() - self.number.fontMetrics().height()
        self.number.setFixedWidth(self.number.fontMetrics().horizontalAdvance(LONGEST) + margins)
        self.number.setText(f"{value:.4g}")

    def _on_typed(self) -> None:
        if self.number.isModified():  # what is shown is rounded, and is no choice of the user
            self.slider.setValue(float(self.number.text()))
            self._show_number(self.slider.value())


def _point_validator(parent: QWidget) -> QDoubleValidator:
    """Accept numbers as they are shown here, wherever the user lives."""
    validator = QDoubleValidator(parent)
    validator.setLocale(QLocale.c())
    return validator
