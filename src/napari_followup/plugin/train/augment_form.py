"""How far training images are varied: in one choice, or in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QWidget

from napari_followup.plugin.forms.forms import NumberBox, add_row, new_form

if TYPE_CHECKING:
    from napari_followup.training.plan import Augmentation

__all__ = ["AugmentForm"]

AMOUNTS = {  # the most, and what it means
    "rotation": (180.0, "Degrees in the plane, at most, either way"),
    "scale": (0.9, "Share of the size, at most, smaller or larger"),
    "shift": (0.5, "Share of the plane's side, at most, any way"),
    "intensity": (0.9, "Share of the value range: offset, and gain about 1"),
    "bias": (2.0, "Strength of a smooth field that brightens one side, as coils do"),
}
AS_THEY_ARE, A_LITTLE, AS_SET = "as they are", "varied a little", "varied as set below"
TIP = (
    "A little: turned, scaled, shifted, brightened and shaded a little, as head scans differ. It "
    "helps where subjects are few or scanners differ; a mirror image is set below"
)


class AugmentForm(QWidget):
    """Numbers of an augmentation; `images` is a choice for all of them, to be shown elsewhere."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.images = QComboBox()
        self.images.addItems([AS_THEY_ARE, A_LITTLE, AS_SET])
        self.images.setToolTip(TIP)
        self.flips = {axis: QCheckBox(f"along {axis}") for axis in ("y", "x")}
        self.amounts = {name: NumberBox(0.0, most) for name, (most, _) in AMOUNTS.items()}
        _lay_out(self)
        self.images.currentTextChanged.connect(self._on_images)
        for flip in self.flips.values():
            flip.toggled.connect(self._on_number)
        for amount in self.amounts.values():
            amount.valueChanged.connect(self._on_number)

    @property
    def value(self) -> Augmentation:
        """The augmentation as set."""
        from napari_followup.training.plan import Augmentation

        flip = tuple(axis for axis, box in self.flips.items() if box.isChecked())
        return Augmentation(flip=flip, **{n: box.value() for n, box in self.amounts.items()})

    def take(self, values: Mapping[str, Any]) -> None:
        """Show an augmentation, given as plain values; what is not named is 0."""
        for axis, flip in self.flips.items():
            flip.setChecked(axis in values.get("flip", ()))
        for name, amount in self.amounts.items():
            amount.setValue(values.get(name, 0.0))

    def _on_images(self, chosen: str) -> None:
        from napari_followup.training.plan import Augmentation

        if chosen == AS_SET:
            return
        wanted = Augmentation.usual() if chosen == A_LITTLE else Augmentation()
        self.take({name: getattr(wanted, name) for name in AMOUNTS})

    def _on_number(self, _: object = None) -> None:
        from napari_followup.training.plan import Augmentation

        named = {AS_THEY_ARE: Augmentation(), A_LITTLE: Augmentation.usual()}
        shown = next((name for name, each in named.items() if each == self.value), AS_SET)
        with QSignalBlocker(self.images):  # the numbers have changed, not the choice
            self.images.setCurrentText(shown)
        self.changed.emit()


def _lay_out(form: AugmentForm) -> None:
    rows = new_form(form)
    note = QLabel("Vary images only as healthy subjects vary: what is varied is seen as normal.")
    note.setWordWrap(True)
    rows.addRow(note)
    mirror = QHBoxLayout()
    for flip in form.flips.values():
        mirror.addWidget(flip, stretch=1)
    add_row(rows, "mirror", mirror)
    for name, amount in form.amounts.items():
        amount.setToolTip(AMOUNTS[name][1])
        add_row(rows, name, amount)
