"""Where a run computes, from which seed, and what becomes of its results."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QSpinBox, QWidget

from napari_followup.plugin.forms.forms import add_row, new_form
from napari_followup.plugin.layers.result_layers import RESULTS

__all__ = ["RunForm"]

MODES = {"update existing results": True, "add new layers": False}


class RunForm(QWidget):
    """Device and seed; with `wanted`, which layers come back too."""

    def __init__(self, *, wanted: bool = False, seeded: bool = True) -> None:
        super().__init__()
        self.device_combo = QComboBox()
        self.device_combo.addItems(["auto", "cpu", "cuda"])
        self.seed_box = QSpinBox()
        self.seed_box.setRange(0, 2**31 - 1)
        self.seed_box.setToolTip("The same seed gives the same result")
        self.mode = QComboBox()
        self.mode.addItems(list(MODES))
        self.boxes = {result: QCheckBox(result) for result in RESULTS}
        row = QHBoxLayout()
        for box in self.boxes.values():
            box.setChecked(True)
            row.addWidget(box)
        form = new_form(self)
        add_row(form, "device", self.device_combo)
        add_row(form, "seed", self.seed_box)
        add_row(form, "layers", row)
        add_row(form, "then", self.mode)
        form.setRowVisible(row, wanted)
        form.setRowVisible(self.seed_box, seeded)

    @property
    def device(self) -> str:
        """``"auto"``, ``"cpu"`` or ``"cuda"``."""
        return self.device_combo.currentText()

    @device.setter
    def device(self, device: str) -> None:
        self.device_combo.setCurrentText(device)

    @property
    def seed(self) -> int:
        """Source of all noise."""
        return self.seed_box.value()

    @seed.setter
    def seed(self, seed: int) -> None:
        self.seed_box.setValue(seed)

    @property
    def wanted(self) -> tuple[str, ...]:
        """Which layers come back."""
        return tuple(result for result, box in self.boxes.items() if box.isChecked())

    @wanted.setter
    def wanted(self, results: tuple[str, ...]) -> None:
        for result, box in self.boxes.items():
            box.setChecked(result in results)

    @property
    def update_existing(self) -> bool:
        """Whether the layers of an earlier run are filled anew."""
        return MODES[self.mode.currentText()]

    @update_existing.setter
    def update_existing(self, update: bool) -> None:
        self.mode.setCurrentIndex(list(MODES.values()).index(update))
