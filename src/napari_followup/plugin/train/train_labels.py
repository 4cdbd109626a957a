"""What is abnormal in the series of a training: a Labels layer each, or masks in files.

For methods that can learn from it. A row each layer that is learned from; a layer with a truth
beside it, named after it, begins with that.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_followup.plugin.forms.mask_combo import MaskCombo
from napari_followup.plugin.forms.series_input import is_alive, unwrapped
from napari_followup.plugin.layers.layers import GivenMask, axes_choices

__all__ = ["HEALTHY", "MASKS", "TRUTH", "LayerLabels", "PathLabels", "has_truth", "truth_of"]

HEALTHY, TRUTH, MASKS = "none: healthy", "the truth in the files", "masks in other files"
LINES = 5  # rows shown at once


@dataclass(eq=False)
class _Row:
    """A layer, and the choice of its labels; `is_own` once it was chosen by hand."""

    layer: Any  # a weak reference
    name: QElidingLabel
    combo: MaskCombo
    is_own: bool = False


class LayerLabels(QScrollArea):
    """Which Labels layer marks what is abnormal in each layer; holds none of them alive."""

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrapped(viewer))
        self._rows: list[_Row] = []
        self._painted: list[Any] = []  # weak references to the chosen layers
        inner = QWidget()
        self._grid = QGridLayout(inner)
        self._grid.setContentsMargins(0, 0, 0, 0)
        for column, share in enumerate((2, 3)):
            self._grid.setColumnStretch(column, share)
        self.setWidget(inner)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        events = unwrapped(viewer).layers.events
        for event in (events.inserted, events.removed, events.renamed):
            event.connect(self._on_layers)

    def show_layers(self, layers: Sequence[Any]) -> None:
        """Show a row each layer, those with labels first; what was chosen stays."""
        if {id(layer) for layer in layers} == {id(row.layer()) for row in self._rows}:
            self._suggest()
        else:
            known = {id(row.layer()): row for row in self._rows if row.layer() is not None}
            rows = [known.get(id(layer)) or self._new_row(layer) for layer in layers]
            for row in self._rows:
                if row not in rows:
                    for part in (row.name, row.combo):
                        part.setParent(None)
                        part.deleteLater()
            self._rows = rows
            self._on_layers()
            self._fit()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Take the height of the rows, which hangs on the theme."""
        super().showEvent(event)
        self._fit()

    def _fit(self) -> None:
        lines = min(len(self._rows), LINES)
        if lines:
            line = self._rows[0].combo.sizeHint().height() + self._grid.verticalSpacing()
            self.setFixedHeight(lines * line + 2)

    def choose(self, layer: Any, labels: Any) -> None:
        """Choose the Labels layer of a layer that is shown, or none, as the user does."""
        row = next((row for row in self._rows if row.layer() is unwrapped(layer)), None)
        if row is None:
            raise ValueError(f"{layer!r} is not learned from; check it in the list first")
        row.is_own = True
        if labels is None:
            row.combo.setCurrentIndex(0)
        else:
            row.combo.layer = labels

    def given(self, layer: Any) -> GivenMask | None:
        """Give what a run needs of the labels of a layer, if any are chosen."""
        row = next((row for row in self._rows if row.layer() is unwrapped(layer)), None)
        return None if row is None else row.combo.given

    def _new_row(self, layer: Any) -> _Row:
        viewer = self._viewer()
        row = _Row(weakref.ref(layer), QElidingLabel(layer.name), MaskCombo(viewer, HEALTHY))
        row.name.setElideMode(Qt.TextElideMode.ElideMiddle)
        row.combo.setToolTip("Labels painted on this layer, nonzero where abnormal")
        row.combo.activated.connect(lambda index: setattr(row, "is_own", True))
        row.combo.currentIndexChanged.connect(self._on_chosen)
        return row

    def _on_layers(self, event: Any = None) -> None:
        self._suggest()
        if is_alive(self):
            # not at every choice: the row would go from under the cursor
            self._rows.sort(key=lambda row: row.combo.layer is None)
            for number, row in enumerate(self._rows):
                self._grid.addWidget(row.name, number, 0)
                self._grid.addWidget(row.combo, number, 1)

    def _suggest(self) -> None:
        """Take the truths of layers whose labels nobody has chosen."""
        viewer = self._viewer()
        if viewer is None or not is_alive(self):
            return
        for row in self._rows:
            layer = row.layer()
            if layer is None:
                continue
            row.name.setText(layer.name)
            row.name.setToolTip(layer.name)
            if not row.is_own:
                row.combo.reset_choices()  # whose turn to hear of a new layer may come later
                with QSignalBlocker(row.combo):
                    truth = truth_of(viewer, layer)
                    row.combo.setCurrentIndex(0)
                    if truth is not None:
                        row.combo.layer = truth
        self._on_chosen()

    def _on_chosen(self, _: object = None) -> None:
        """Tell of another choice, and hear of what is painted from now on."""
        chosen = [row.combo.layer for row in self._rows]
        before = [reference() for reference in self._painted]
        now = [layer for layer in chosen if layer is not None]
        if [id(layer) for layer in now] == [id(layer) for layer in before]:
            return
        for layer in before:
            if layer is not None:
                layer.events.paint.disconnect(self._on_painted)
        for layer in now:
            layer.events.paint.connect(self._on_painted)
        self._painted = [weakref.ref(layer) for layer in now]
        self.changed.emit()

    def _on_painted(self, event: Any = None) -> None:
        if is_alive(self):
            self.changed.emit()


class PathLabels(QWidget):
    """Where the masks of files are: in or beside them, or in others."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.choice, self.path = QComboBox(), QLineEdit()
        self.file_button, self.folder_button = QPushButton("File…"), QPushButton("Folder…")
        self.choice.addItems([HEALTHY, TRUTH, MASKS])
        self.path.setToolTip("Masks named as the subjects, or one for each; 0 where healthy")
        self.choice.setToolTip(
            "truth: an array 'truth' in an .npz file, or NAME_truth.tif beside NAME.tif"
        )
        self.path.setPlaceholderText("file or folder of masks")
        row, column = QHBoxLayout(), QVBoxLayout(self)
        row.addWidget(self.file_button)
        row.addWidget(self.folder_button)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.choice)
        column.addWidget(self.path)
        column.addLayout(row)
        self.choice.currentIndexChanged.connect(self._on_choice)
        self.path.textChanged.connect(self.changed)
        self.file_button.clicked.connect(self._on_file)
        self.folder_button.clicked.connect(self._on_folder)
        self._on_choice()

    @property
    def paths(self) -> tuple[Path, ...] | None:
        """Files of masks, none of them where the truth counts; nothing where all are healthy.

        Raises
        ------
        ValueError
            If files are to be named and are not.
        """
        choice, text = self.choice.currentText(), self.path.text().strip()
        if choice == MASKS and not text:
            raise ValueError("labels: give a file or folder of masks, or take none")
        if choice == HEALTHY:
            return None
        return (Path(text).expanduser(),) if choice == MASKS else ()

    def _on_choice(self, _: object = None) -> None:
        for part in (self.path, self.file_button, self.folder_button):
            part.setVisible(self.choice.currentText() == MASKS)
        self.changed.emit()

    def _on_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Masks", self.path.text())
        self.path.setText(path or self.path.text())

    def _on_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder of masks", self.path.text())
        self.path.setText(path or self.path.text())


def has_truth(viewer: Any, layer: Any) -> bool:
    """Whether anomalies of a layer are known, as those of the samples are."""
    return any(_names(each, layer) for each in viewer.layers)


def truth_of(viewer: Any, layer: Any) -> Any:
    """Labels layer named after a layer that lies on its pixels, or none."""
    wanted = _shapes(layer)
    found = [each for each in viewer.layers if _names(each, layer)]
    return next((each for each in found if np.shape(each.data) in wanted), None)


def _names(labels: Any, layer: Any) -> bool:
    return isinstance(labels, Labels) and labels.name == f"{layer.name} truth"


def _shapes(layer: Any) -> set[tuple[int, ...]]:
    """Shapes that labels of a layer may have: one mask for all modalities."""
    try:
        choices = axes_choices(layer)
    except ValueError:
        return set()
    sizes = [zip(axes, np.shape(layer.data), strict=True) for axes in choices]
    return {tuple(size for letter, size in each if letter != "m") for each in sizes}
