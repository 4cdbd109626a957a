"""Forms whose labels line up from part to part of a widget."""

from __future__ import annotations

from qtpy.QtWidgets import QDoubleSpinBox, QFormLayout, QLabel, QLayout, QVBoxLayout, QWidget

__all__ = ["NumberBox", "add_row", "column_of", "new_form"]

LABEL_WIDTH = 104  # pixels; the longest label is "sampling steps"


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


def column_of(widget: QWidget, *parts: QWidget | QFormLayout) -> None:
    """Lay out parts one below the other."""
    layout = QVBoxLayout(widget)
    for part in parts:
        if isinstance(part, QWidget):
            layout.addWidget(part)
        else:
            layout.addLayout(part)
    layout.addStretch()


class NumberBox(QDoubleSpinBox):
    """A number with as many decimals as it needs."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.setDecimals(6)
        self.setRange(low, high)
        self.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)

    def textFromValue(self, value: float) -> str:
        """Write a number without trailing zeros."""
        return f"{value:.6g}"
