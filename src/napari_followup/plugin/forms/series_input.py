"""Choose an image layer, its axes and ages where the layer does not name them, and planes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QLabel, QLineEdit, QSpinBox, QWidget

from napari_followup.plugin.forms.forms import add_row, new_form, row_of
from napari_followup.plugin.forms.layer_choices import LayerCombo
from napari_followup.plugin.layers.layers import (
    Source,
    axes_choices,
    check_ages,
    parse_ages,
    source_of,
)
from napari_followup.series.plane_selection import Slicing
from napari_followup.series.results import counted

__all__ = ["PlanesForm", "SeriesInput", "age_range"]

MEANINGS = {
    "vyx": "visit, y, x",
    "vzyx": "visit, z, y, x",
    "svyx": "subject, visit, y, x",
    "svzyx": "subject, visit, z, y, x",
    "vmzyx": "visit, modality, z, y, x",
}


class SeriesInput(QWidget):
    """An image layer with its axes and ages; with `sliced`, the planes of volumes to use."""

    changed = Signal()
    layer_removed = Signal(object)

    def __init__(
        self,
        viewer: Any = None,
        *,
        label: str = "image",
        results: tuple[str, ...] = (),
        sliced: bool = False,
        leave_out: Callable[[Any], bool] = lambda layer: False,
    ) -> None:
        super().__init__()
        self.planes = PlanesForm()
        self._sliced = sliced
        self.layers = LayerCombo(viewer, results=results, leave_out=leave_out)
        self.axes_combo = QComboBox()
        self.axes_combo.setToolTip("The layer does not say what its axes are")
        self.ages_edit = QLineEdit()
        self.ages_edit.setToolTip(
            "Age at each visit, in years, in the order of the layer; a semicolon between subjects"
        )
        self.found = QLabel()
        self.found.setWordWrap(True)
        self._form = new_form(self)
        add_row(self._form, label, self.layers)
        add_row(self._form, "axes", self.axes_combo)
        add_row(self._form, "ages", self.ages_edit)
        add_row(self._form, "", self.found)
        self._form.addRow(self.planes)
        self.layers.layer_changed.connect(self._on_layer)
        self.layers.layer_removed.connect(self.layer_removed)
        self.axes_combo.currentIndexChanged.connect(self._show_found)
        self.ages_edit.textChanged.connect(self._show_found)
        self._on_layer()

    def watch(self, viewer: Any) -> None:
        """List the layers of a viewer."""
        self.layers.watch(viewer)

    @property
    def value(self) -> Source:
        """The source; set a layer to choose it."""
        return self.source()

    @value.setter
    def value(self, layer: Any) -> None:
        self.layer = layer

    @property
    def layer(self) -> Any:
        """The chosen layer, or none."""
        return self.layers.layer

    @layer.setter
    def layer(self, layer: Any) -> None:
        self.layers.layer = layer

    @property
    def axes(self) -> str | None:
        """The axes, as the layer names them or as chosen; None where they are unknown."""
        chosen = self.axes_combo.currentData()
        return None if chosen is None else str(chosen)

    @axes.setter
    def axes(self, axes: str) -> None:
        index = self.axes_combo.findData(axes)
        if index < 0:
            known = [self.axes_combo.itemData(i) for i in range(self.axes_combo.count())]
            raise ValueError(
                f"axes: got {axes!r}; this layer can have {', '.join(filter(None, known))}"
            )
        self.axes_combo.setCurrentIndex(index)

    def source(self) -> Source:
        """Source of the chosen layer.

        Raises
        ------
        ValueError
            If there is no layer, or the layer, its axes or its ages do not fit.
        """
        layer = self.layers.layer
        if layer is None:
            raise ValueError(
                "there is no image layer; open a series first, or a sample (File, Open Sample)"
            )
        source = source_of(layer, axes=self.axes, ages=parse_ages(self.ages_edit.text()))
        check_ages(source)
        return source

    @property
    def slicing(self) -> Slicing | None:
        """Planes of volumes to use; None for all across z."""
        return self.planes.slicing

    @property
    def visits(self) -> dict[str, Any]:
        """Axes and ages of the source; empty where there is none."""
        try:
            source = self.source()
        except ValueError:
            return {}
        if source.ages is None:
            return {"axes": source.axes}
        return {"axes": source.axes, "ages": source.ages.tolist(), "ages_known": True}

    def _on_layer(self) -> None:
        self.axes_combo.blockSignals(True)
        self.axes_combo.clear()
        try:
            choices = () if self.layers.layer is None else axes_choices(self.layers.layer)
        except ValueError:
            choices = ()  # reported when the run begins
        if len(choices) > 1:
            self.axes_combo.addItem("choose …", None)
        for axes in choices:
            self.axes_combo.addItem(MEANINGS.get(axes, ", ".join(axes)), axes)
        self.axes_combo.blockSignals(False)
        self._form.setRowVisible(self.axes_combo, len(choices) > 1)
        self.ages_edit.clear()
        self._show_found()

    def _show_found(self, _: object = None) -> None:
        text, hint = _found(self.layers.layer, self.axes, self.ages_edit.text())
        self.found.setText(text)
        self._form.setRowVisible(self.found, bool(text))
        self.ages_edit.setPlaceholderText(hint)
        self.planes.show_grid(_grid(self.layers.layer, self.axes) if self._sliced else None)
        self.changed.emit()


def age_range(ages: ArrayLike) -> str:
    """Range of ages, or the single age."""
    low, high = np.min(ages), np.max(ages)
    return f"age {low:.1f}" if np.size(ages) == 1 else f"ages {low:.1f} to {high:.1f} years"


def _grid(layer: Any, axes: str | None) -> tuple[int, int, int] | None:
    """Size of volumes (z, y, x); nothing for planes, and where the axes are not known."""
    try:
        source = None if layer is None else source_of(layer, axes=axes)
    except ValueError:
        return None
    if source is None or "z" not in source.axes:
        return None
    z, y, x = (int(source.data.shape[source.axes.index(letter)]) for letter in "zyx")
    return z, y, x


def _found(layer: Any, axes: str | None, typed: str) -> tuple[str, str]:
    """Summary of the visits, and the placeholder of the ages."""
    if layer is None:
        return "", "61, 62.5, …"
    try:
        source = source_of(layer, axes=axes, ages=parse_ages(typed))
    except ValueError as error:
        return str(error), "61, 62.5, …"
    visits = source.data.shape[source.axes.index("v")]
    start = counted(visits, "visit")
    if "s" in source.axes:
        start = f"{counted(source.n_subjects, 'subject')}, {start}"
    if source.ages is None:
        unknown = "ages not known: taken as a year apart" if visits > 1 else "age not known"
        return f"{start}, {unknown}", "61, 62.5, …"
    if source.ages.shape[-1] != visits:
        return f"{start}, but {counted(source.ages.shape[-1], 'age')}", "61, 62.5, …"
    return f"{start}, {age_range(source.ages)}", "as the layer says"


ACROSS = "Axis of the planes; the model was trained on planes of one axis, most often z"
RANGE = "First and last plane, counted as the slider of the axis counts; every n-th plane"


class PlanesForm(QWidget):
    """Planes of volumes to use; hidden for planar series."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._sizes: tuple[int, int, int] = (1, 1, 1)
        self.axis = QComboBox()
        self.axis.addItems(list("zyx"))
        self.axis.setToolTip(ACROSS)
        self.first, self.last, self.step = QSpinBox(), QSpinBox(), QSpinBox()
        self.step.setRange(1, 1000)
        row = row_of(self.first, QLabel("to"), self.last, wide=(0, 2))
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
        """The chosen planes; None for all across z."""
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
        """Offer the planes of volumes of these sizes (z, y, x); hide for planar series."""
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
