"""Layout of widgets: rows whose labels line up, columns that scroll, texts that wrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, QTimer
from qtpy.QtGui import QPaintEvent
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLayout,
    QScrollArea,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QVBoxLayout,
    QWidget,
)

__all__ = [
    "ElidingCombo",
    "ScrolledColumn",
    "add_row",
    "column_of",
    "fill_combo",
    "new_form",
    "row_of",
    "scrolled_column_of",
    "wrapped_label",
]

WIDTH = 392  # pixels, so that no control is cut off, with a scroll bar beside them
LABEL_WIDTH = 120  # pixels; the longest label is "median in space"
WAIT = 50  # ms until what appears is laid out


def new_form(widget: QWidget | None = None) -> QFormLayout:
    """Make a form without margins, in a widget or to be put into a layout."""
    form = QFormLayout() if widget is None else QFormLayout(widget)
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return form


def add_row(form: QFormLayout, text: str, field: QWidget | QLayout) -> None:
    """Add a row with a label of the common width."""
    label = QLabel(text)
    label.setMinimumWidth(LABEL_WIDTH)
    if isinstance(field, QWidget):
        form.addRow(label, field)
    else:
        form.addRow(label, field)


def row_of(*parts: QWidget, wide: Sequence[int] = (0,)) -> QHBoxLayout:
    """Put parts side by side; `wide` are the positions of those that take the spare width."""
    row = QHBoxLayout()
    for position, part in enumerate(parts):
        row.addWidget(part, stretch=int(position in wide))
    return row


def wrapped_label() -> QLabel:
    """Make a label for plain text that wraps, needs no width of its own, and can be copied."""
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label


def fill_combo(combo: QComboBox, texts: Mapping[Any, str], chosen: Any) -> None:
    """Fill a combo box with values and their texts, and "choose …" before them; no signal."""
    with QSignalBlocker(combo):
        combo.clear()
        combo.addItem("choose …", None)
        for value, text in texts.items():
            combo.addItem(text, value)
        combo.setCurrentIndex(max(combo.findData(chosen), 0))


def column_of(widget: QWidget, *parts: QWidget | QLayout, inner: bool = False) -> None:
    """Lay out parts one below the other; an `inner` column has neither margins nor a stretch."""
    layout = QVBoxLayout(widget)
    for part in parts:
        if isinstance(part, QWidget):
            layout.addWidget(part)
        else:
            layout.addLayout(part)
    if inner:
        layout.setContentsMargins(0, 0, 0, 0)
    else:
        layout.addStretch()


def scrolled_column_of(widget: QWidget, *parts: QWidget | QFormLayout) -> ScrolledColumn:
    """Lay out parts as `column_of`, in a column that scrolls on a small screen."""
    inner = QWidget()
    column_of(inner, *parts)
    area = ScrolledColumn()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setWidget(inner)
    area.setMinimumWidth(WIDTH)
    outer = QVBoxLayout(widget)
    outer.setContentsMargins(0, 0, 0, 0)
    outer.addWidget(area)
    return area


class ScrolledColumn(QScrollArea):
    """A column that can scroll to one of its parts."""

    def reveal(self, part: QWidget) -> None:
        """Scroll to a part, once it is laid out."""
        self._wanted = part
        QTimer.singleShot(WAIT, self._scroll)

    def _scroll(self) -> None:
        self.ensureWidgetVisible(self._wanted)


class ElidingCombo(QComboBox):
    """Names too long for the box lose their middle: that of a result differs in its last word."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        view = self.view()
        if view is not None:
            view.setTextElideMode(Qt.TextElideMode.ElideMiddle)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the box with as much of the name as fits."""
        painter, option = QStylePainter(self), QStyleOptionComboBox()
        self.initStyleOption(option)
        option.currentText = self.shown_text(option)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        painter.end()

    def shown_text(self, option: QStyleOptionComboBox) -> str:
        """Name as it fits into the box."""
        style, part = self.style(), QStyle.SubControl.SC_ComboBoxEditField
        assert style is not None  # every widget has one
        field = style.subControlRect(QStyle.ComplexControl.CC_ComboBox, option, part, self)
        mode = Qt.TextElideMode.ElideMiddle
        return self.fontMetrics().elidedText(self.currentText(), mode, field.width() - 4)
