"""The colours of a change map, and what they mean."""

from __future__ import annotations

from qtpy.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_followup.plugin.compare.compare_actions import COLORS, STOPS, full_scale

__all__ = ["ChangeLegend"]

MEANING = (
    "Change in units of noise, the spread of what did not change. "
    "Positive: brighter at the later visit; negative: darker. Transparent below half the threshold."
)
HEIGHT = 12  # pixels


class _Bar(QWidget):
    """The colours from darker to brighter, on black as over an image."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(HEIGHT)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the colours along the whole width."""
        gradient = QLinearGradient(0, 0, self.width(), 0)
        for stop, text in zip(STOPS, COLORS, strict=True):
            color = QColor(text[:7])
            color.setAlpha(int(text[7:] or "ff", 16))
            gradient.setColorAt(stop, color)
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor("black"))
        painter.fillRect(self.rect(), gradient)
        painter.end()


class ChangeLegend(QWidget):
    """A bar of the colours with its numbers, and a sentence."""

    def __init__(self) -> None:
        super().__init__()
        self.bar, self.numbers, self.meaning = _Bar(), QLabel(), QLabel(MEANING)
        self.meaning.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.bar, self.numbers, self.meaning):
            layout.addWidget(part)

    def show_threshold(self, threshold: float) -> None:
        """Say where the colours end."""
        top = full_scale(threshold)
        self.numbers.setText(
            '<table width="100%"><tr>'
            f'<td>−{top:g}</td><td align="center">0</td><td align="right">+{top:g}</td>'
            "</tr></table>"
        )
