"""A control for one of several kinds of settings: which kind, and its numbers.

The kinds are dataclasses of `recipe`. Their fields become controls by their type, so that a new
kind, or a new number, shows here without a line of code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, get_type_hints

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QWidget

from napari_followup.plugin.forms.field_control import Control, control_of
from napari_followup.plugin.forms.forms import add_row, new_form

__all__ = ["LABELS", "ChoiceForm", "label_of"]

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
    "per": "Whose scores lie behind one threshold",
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
        return replace(base, **{name: control.setting for name, control in controls.items()})

    @value.setter
    def value(self, value: Any) -> None:
        index = self._kinds.index(None if value is None else type(value))
        self._bases[index] = value  # what has no control here is kept
        for name, control in self.controls[index].items():
            control.setting = getattr(value, name)
        self.kind.setCurrentIndex(index)

    def refuse(self, obstacles: Mapping[type, str]) -> None:
        """Leave only those kinds to choose from against which nothing speaks, and say what does."""
        model = self.kind.model()
        for row, kind in enumerate(self._kinds):
            why = "" if kind is None else obstacles.get(kind, "")
            self.kind.setItemData(row, why or _about(kind), Qt.ItemDataRole.ToolTipRole)
            item = model.item(row)  # type: ignore[union-attr]
            item.setEnabled(not why)

    def _add_kind(self, kind: type | None, base: Any) -> dict[str, Control]:
        self.kind.addItem(label_of(kind))
        self.kind.setItemData(self.kind.count() - 1, _about(kind), Qt.ItemDataRole.ToolTipRole)
        hints = {} if kind is None else get_type_hints(kind)
        controls = {}
        for field in () if base is None else fields(base):
            name = FIELD_LABELS.get(field.name, field.name)
            control = control_of(hints[field.name], getattr(base, field.name), label=field.name)
            if control is not None:
                control.setToolTip(TIPS.get(field.name, ""))
                add_row(self._rows, name, control)
                controls[field.name] = control
                control.edited.connect(self.changed)
        return controls

    def _on_kind(self, chosen: int) -> None:
        for index, controls in enumerate(self.controls):
            for control in controls.values():
                self._rows.setRowVisible(control, index == chosen)
        self.changed.emit()


def label_of(kind: type | None) -> str:
    """Name of a kind of settings, as it is shown."""
    name = "none" if kind is None else kind.__name__
    words = re.sub(r"(?<!^)([A-Z])", r" \1", name).lower()
    return LABELS.get(name, words)


def _about(kind: type | None) -> str:
    return (kind.__doc__ or "").partition("\n")[0] if kind else "The score as it is"
