"""Which planes of a volume series are looked at: axis, first, last, every how many."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QSpinBox, QWidget

from napari_followup.plugin.forms.forms import add_row, new_form
from napari_followup.series.plane_selection import Slicing

__all__ = ["PlanesForm"]

ACROSS = "Axis across which the model sees planes: those of its training, most often z"
RANGE = "First and last plane, as the slider of the axis counts them, and every how many of them"


class PlanesForm(QWidget):
    """Planes of volumes; hidden where there is but one."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._sizes: tuple[int, int, int] = (1, 1, 1)
        self.axis = QComboBox()
        self.axis.addItems(list("zyx"))
        self.axis.setToolTip(ACROSS)
        self.first, self.last, self.step = QSpinBox(), QSpinBox(), QSpinBox()
        self.step.setRange(1, 1000)
        row = QHBoxLayout()
        row.addWidget(self.first, stretch=1)
        row.addWidget(QLabel("to"))
        row.addWidget(self.last, stretch=1)
        for box in (self.first, self.last, self.step):
            box.setToolTip(RANGE)
            box.valueChanged.connect(self.changed)
        form = new_form(self)
        add_row(form, "planes across", self.axis)
        add_row(form, "planes", row)
        add_row(form, "every", self.step)
        self.axis.currentIndexChanged.connect(self._on_axis)
        self.first.valueChanged.connect(self.last.setMinimum)
        self.last.valueChanged.connect(self.first.setMaximum)
        self.show_grid(None)

    @property
    def slicing(self) -> Slicing | None:
        """What is chosen; none where that is every plane across z."""
        axis = self.axis.currentText()
        size = self._sizes["zyx".index(axis)]
        last = self.last.value() + 1
        chosen = Slicing(
            axis, self.first.value(), None if last == size else last, self.step.value()
        )
        return None if chosen.is_whole else chosen

    @slicing.setter
    def slicing(self, slicing: Slicing | None) -> None:
        chosen = slicing or Slicing()
        self.axis.setCurrentText(chosen.axis)
        size = self._sizes["zyx".index(chosen.axis)]
        self._reset(size)
        self.first.setValue(chosen.first)
        self.last.setValue((chosen.last or size) - 1)
        self.step.setValue(chosen.step)

    def show_grid(self, sizes: tuple[int, int, int] | None) -> None:
        """Offer the planes of volumes of these sizes (z, y, x); nothing for planar series."""
        sizes = (1, 1, 1) if sizes is None or sizes[0] == 1 else sizes
        if sizes != self._sizes or sizes[0] == 1:
            self._sizes = sizes
            self.slicing = None
        self.setVisible(sizes[0] > 1)

    def _on_axis(self, index: int) -> None:
        self._reset(self._sizes[index])
        self.changed.emit()

    def _reset(self, size: int) -> None:
        for box in (self.first, self.last):
            box.setRange(0, size - 1)
        self.first.setValue(0)
        self.last.setValue(size - 1)
        self.step.setValue(1)
