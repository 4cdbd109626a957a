"""A control for one of several kinds of settings: which kind, and its numbers.

The kinds are dataclasses of `recipe`. Their fields become controls by the type of their default, so
that a new kind, or a new number, shows here without a line of code.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QLineEdit, QSpinBox, QWidget

from napari_followup.plugin.forms import NumberBox, add_row, new_form

__all__ = ["LABELS", "ChoiceForm"]

WHOLE = "whole numbers"  # property of a line of several
Control = QCheckBox | QDoubleSpinBox | QLineEdit | QSpinBox

LABELS = {
    "Fam": "feature attention (FAM)",
    "Fixed": "fixed height",
    "Lafm": "LAFM",
    "Mahalanobis": "Mahalanobis distance",
    "Own": "the method's own",
    "Pixel": "pixel distance",
    "Quantile": "own quantile",
    "Ssim": "structural distance (SSIM)",
    "Temporal": "temporal residual",
    "Yen": "Yen",
}
FIELD_LABELS = {
    "pixel_too": "pixel too",
    "q": "quantile",
    "full": "full covariance",
    "sampling_steps": "sampling steps",
    "value": "height",
    "with_ssim": "times SSIM",
}
TIPS = {
    "beta": "Strength of the removal of what other visits do not show",
    "blur": "Sigma of the blur afterwards, in pixels; 0 for none",
    "draws": "Predictions of each visit from the others, of which the mean is taken",
    "full": "Count the covariance between pixels, or the variance of each alone",
    "gain": "What the other visits' scores count for",
    "gamma": "Strength of the recovery of what other visits show",
    "levels": "Stages of the feature network to compare, 1 to 4, with commas",
    "pixel_too": "The mask must also pass on the pixel distance",
    "q": "Share of pixels, 0 to 1, that lie below the threshold",
    "reach": "Pixels that an anomaly may move between visits",
    "ridge": "Added to the variances; small differences count less where it is large",
    "sampling_steps": "Network calls a prediction",
    "sigma": "Years over which visits lend each other weight; 0: all alike",
    "sigmas": "Sigmas of the windows in pixels, with commas",
    "tolerance": "How much less differences count beside edges",
    "value": "The score itself from which a pixel counts as abnormal",
    "weight": "Weight of the pixel distance beside the feature distance",
    "with_ssim": "Multiply by the structural distance to the mean of all draws",
}


class ChoiceForm(QWidget):
    """One of some dataclasses, or none where that is among the kinds."""

    changed = Signal()

    def __init__(self, label: str, kinds: Sequence[type | None]) -> None:
        super().__init__()
        self._kinds = list(kinds)
        self._bases = [None if kind is None else kind() for kind in kinds]
        self.kind = QComboBox(self)
        self._rows = new_form(self)
        self.kind.setVisible(len(kinds) > 1)
        if len(kinds) > 1:
            add_row(self._rows, label, self.kind)
        self.controls = [
            self._add_kind(kind, base) for kind, base in zip(kinds, self._bases, strict=True)
        ]
        self.kind.currentIndexChanged.connect(self._on_kind)
        self._on_kind(0)

    @property
    def value(self) -> Any:
        """The chosen settings.

        Raises
        ------
        ValueError
            If a number does not fit; the message says which.
        """
        index = self.kind.currentIndex()
        base, controls = self._bases[index], self.controls[index]
        if base is None:
            return None
        return replace(base, **{name: _read(name, control) for name, control in controls.items()})

    @value.setter
    def value(self, value: Any) -> None:
        index = self._kinds.index(None if value is None else type(value))
        self._bases[index] = value  # what has no control here is kept
        for name, control in self.controls[index].items():
            _write(control, getattr(value, name))
        self.kind.setCurrentIndex(index)

    def _add_kind(self, kind: type | None, base: Any) -> dict[str, Control]:
        name = "none" if kind is None else kind.__name__
        words = re.sub(r"(?<!^)([A-Z])", r" \1", name).lower()
        self.kind.addItem(LABELS.get(name, words))
        about = (kind.__doc__ or "").partition("\n")[0] if kind else "The score as it is"
        self.kind.setItemData(self.kind.count() - 1, about, Qt.ItemDataRole.ToolTipRole)
        controls = {}
        for field in () if base is None else fields(base):
            control = _control(getattr(base, field.name))
            if control is not None:
                control.setToolTip(TIPS.get(field.name, ""))
                add_row(self._rows, FIELD_LABELS.get(field.name, field.name), control)
                controls[field.name] = control
                _write(control, getattr(base, field.name))
                _changes(control).connect(self.changed)
        return controls

    def _on_kind(self, chosen: int) -> None:
        for index, controls in enumerate(self.controls):
            for control in controls.values():
                self._rows.setRowVisible(control, index == chosen)
        self.changed.emit()


def _control(value: Any) -> Control | None:
    """Make a control for a kind of value, or nothing for one that has a single choice."""
    match value:
        case bool():
            return QCheckBox()
        case int():
            box = QSpinBox()
            box.setRange(0, 1000)
            return box
        case float():
            return NumberBox(0, 1e6)
        case tuple():
            line = QLineEdit()
            line.setProperty(WHOLE, all(isinstance(each, int) for each in value))
            return line
        case _:
            return None


def _changes(control: Control) -> Any:
    match control:
        case QCheckBox():
            return control.toggled
        case QLineEdit():
            return control.editingFinished
        case _:
            return control.valueChanged


def _read(name: str, control: Control) -> Any:
    match control:
        case QCheckBox():
            return control.isChecked()
        case QLineEdit():
            return _numbers(name, control.text(), whole=bool(control.property(WHOLE)))
        case _:
            return control.value()


def _numbers(name: str, text: str, *, whole: bool) -> tuple[float, ...]:
    words = text.replace(",", " ").split()
    kind, example = (
        (int, "whole numbers, as in 2, 3") if whole else (float, "numbers, as in 0.5, 1")
    )
    try:
        return tuple(kind(word) for word in words)
    except ValueError:
        raise ValueError(f"{name}: got {text!r}; write {example}") from None


def _write(control: Control, value: Any) -> None:
    match control:
        case QCheckBox():
            control.setChecked(value)
        case QLineEdit():
            control.setText(", ".join(str(each) for each in value))
        case _:
            control.setValue(value)
