"""A list of a viewer's image layers, of which some are checked."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from napari.layers import Image
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_followup.plugin.forms.series_input import is_alive, unwrapped

__all__ = ["LayerList"]

LINES = 8  # shown at once
CHECKED, UNCHECKED = Qt.CheckState.Checked, Qt.CheckState.Unchecked


class LayerList(QListWidget):
    """Image layers that fit, in the order of the viewer; holds none of them alive.

    `fits` says which are listed, `wanted` which of them are checked until the user chooses.
    """

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrapped(viewer))
        self._fits: Callable[[Any], bool] = lambda layer: True
        self._wanted: Callable[[Any], bool] = lambda layer: False
        self._chosen: dict[int, bool] = {}  # by the user, by id of the layer
        events = unwrapped(viewer).layers.events
        for event in (events.inserted, events.removed, events.reordered, events.renamed):
            event.connect(self.reset_choices)
        self.itemChanged.connect(self._on_item)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.reset_choices()

    @property
    def layers(self) -> list[Any]:
        """The checked layers."""
        found = [self._layer(row) for row in range(self.count()) if self._is_checked(row)]
        return [layer for layer in found if layer is not None]

    @layers.setter
    def layers(self, layers: Sequence[Any]) -> None:
        wanted = [unwrapped(layer) for layer in layers]
        listed = [self._layer(row) for row in range(self.count())]
        for layer in wanted:
            if not any(layer is each for each in listed):
                raise ValueError(f"{layer!r} is not in the list; it is no image that fits")
        self._chosen = {id(each): any(each is layer for layer in wanted) for each in listed}
        self.reset_choices()

    def offer(self, fits: Callable[[Any], bool], wanted: Callable[[Any], bool]) -> None:
        """List other layers; what the user checked before is forgotten."""
        self._fits, self._wanted, self._chosen = fits, wanted, {}
        self.reset_choices()

    def reset_choices(self, event: Any = None) -> None:
        """List the layers anew."""
        viewer = self._viewer()
        if viewer is None or not is_alive(self):
            return
        before = self.layers
        layers = [each for each in viewer.layers if isinstance(each, Image) and self._fits(each)]
        there = {id(layer) for layer in layers}
        self._chosen = {key: value for key, value in self._chosen.items() if key in there}
        with QSignalBlocker(self):
            self.clear()
            for layer in layers:
                item = QListWidgetItem(layer.name)
                item.setData(Qt.ItemDataRole.UserRole, weakref.ref(layer))
                item.setToolTip(layer.name)
                is_on = self._chosen.get(id(layer), self._wanted(layer))
                item.setCheckState(CHECKED if is_on else UNCHECKED)
                self.addItem(item)
        lines = min(max(self.count(), 1), LINES)
        self.setFixedHeight(lines * max(self.sizeHintForRow(0), 18) + 2 * self.frameWidth() + 4)
        if self.layers != before:
            self.changed.emit()

    def _on_item(self, item: QListWidgetItem) -> None:
        layer = item.data(Qt.ItemDataRole.UserRole)()
        if layer is not None:
            self._chosen[id(layer)] = item.checkState() == CHECKED
        self.changed.emit()

    def _is_checked(self, row: int) -> bool:
        item = self.item(row)
        return item is not None and item.checkState() == CHECKED

    def _layer(self, row: int) -> Any:
        item = self.item(row)
        return None if item is None else item.data(Qt.ItemDataRole.UserRole)()
