"""Choose layers of a viewer: one image, a mask, or several images of a list."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from napari.layers import Image, Labels
from qtpy import compat
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QWidget

from napari_followup.plugin.forms.forms import ElidingCombo
from napari_followup.plugin.layers.layers import GivenMask, about

__all__ = ["LayerCombo", "LayerList", "MaskCombo", "is_alive", "unwrapped"]

LINES = 8  # of a list, shown at once
CHECKED, UNCHECKED = Qt.CheckState.Checked, Qt.CheckState.Unchecked


def unwrapped(viewer: Any) -> Any:
    """Viewer behind the proxy that napari gives to widgets; weak references need it."""
    return getattr(viewer, "__wrapped__", viewer)


def is_alive(widget: QWidget) -> bool:
    """Whether Qt still has the widget; the viewer may call one that it has closed."""
    return bool(compat.isalive(widget))  # type: ignore[no-untyped-call]


class LayerCombo(ElidingCombo):
    """Layers of a viewer, after some fixed choices; kept up to date with weak references.

    Without a viewer the list is empty until `watch` gets one.
    """

    layer_changed = Signal()
    layer_removed = Signal(object)

    def __init__(
        self,
        viewer: Any = None,
        *choices: str,
        kind: type = Image,
        results: tuple[str, ...] = (),
        leave_out: Callable[[Any], bool] = lambda layer: False,
    ) -> None:
        """`results` names the kinds of results that fit, "" other images; all others come last."""
        super().__init__()
        self._choices, self._kind, self._results = choices, kind, results
        self._leave_out = leave_out
        self._viewer: Callable[[], Any] = lambda: None
        self._shown: Any = None
        self.currentIndexChanged.connect(self._on_index)
        if viewer is not None:
            self.watch(viewer)

    def watch(self, viewer: Any) -> None:
        """List the layers of a viewer."""
        if self._viewer() is not unwrapped(viewer):
            self._viewer = weakref.ref(unwrapped(viewer))
            _connect(self._viewer(), self.reset_choices, self._on_removed)
            self.reset_choices()

    @property
    def layer(self) -> Any:
        """The chosen layer, or none."""
        reference = self.currentData()
        return None if reference is None else reference()

    @layer.setter
    def layer(self, layer: Any) -> None:
        layer = unwrapped(layer)
        for index in range(len(self._choices), self.count()):
            if self.itemData(index)() is layer:
                self.setCurrentIndex(index)
                return
        kind = self._kind.__name__.lower()
        raise ValueError(f"{layer!r} is no {kind} layer of this viewer; add it first")

    def reset_choices(self, event: Any = None) -> None:
        """List the layers again and keep the choice; else the first choice or the topmost layer."""
        viewer = self._viewer()
        if viewer is None or not is_alive(self):
            return
        chosen, text = self.layer, self.currentText()
        layers: list[Any] = [each for each in viewer.layers if isinstance(each, self._kind)]
        layers = [each for each in layers if not self._leave_out(each)]
        self.blockSignals(True)
        self.clear()
        self.addItems(list(self._choices))
        for layer in layers:
            self.addItem(layer.name, weakref.ref(layer))
        if chosen in layers:
            self.setCurrentIndex(len(self._choices) + layers.index(chosen))
        elif self._choices:
            self.setCurrentIndex(self._choices.index(text) if text in self._choices else 0)
        elif layers:
            fitting = [each for each in layers if self._fits(each)] or layers
            self.setCurrentIndex(layers.index(fitting[-1]))
        self.blockSignals(False)
        self._on_index()

    def _fits(self, layer: Any) -> bool:
        result = about(layer).get("result")
        return (result or "") in self._results if self._results else result is None

    def _on_index(self, index: int = 0) -> None:
        self.setToolTip(self.currentText())  # the whole name
        layer = self.layer
        shown = None if layer is None else id(layer)
        if shown != self._shown:
            self._shown = shown
            self.layer_changed.emit()

    def _on_removed(self, event: Any) -> None:
        if is_alive(self):
            self.reset_choices()
            self.layer_removed.emit(event.value)


class MaskCombo(LayerCombo):
    """Some fixed choices, and the Labels layers of a viewer."""

    def __init__(
        self,
        viewer: Any,
        *choices: str,
        leave_out: Callable[[Any], bool] = lambda layer: False,
    ) -> None:
        super().__init__(viewer, *choices, kind=Labels, leave_out=leave_out)

    @property
    def chosen(self) -> str:
        """The fixed choice; empty where a layer is chosen."""
        return "" if self.layer is not None else self.currentText()

    @property
    def given(self) -> GivenMask | None:
        """Name and data of the chosen layer, if one is chosen."""
        layer = self.layer
        return None if layer is None else GivenMask(name=layer.name, data=layer.data)

    def reset_choices(self, event: Any = None) -> None:
        """List the layers again, as `LayerCombo` does."""
        super().reset_choices(event)
        if is_alive(self):
            self.currentIndexChanged.emit(self.currentIndex())

    def _on_index(self, index: int = 0) -> None:
        """Keep the tip: it explains the mask."""


class LayerList(QListWidget):
    """Image layers that fit, in the order of the viewer, each with a check box.

    `fits` says which are listed, `wanted` which of them are checked until the user chooses.
    """

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrapped(viewer))
        self._fits: Callable[[Any], bool] = lambda layer: True
        self._wanted: Callable[[Any], bool] = lambda layer: False
        self._chosen: dict[int, bool] = {}  # by the user, by id of the layer
        _connect(unwrapped(viewer), self.reset_choices, self.reset_choices)
        self.itemChanged.connect(self._on_item)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.reset_choices()

    @property
    def layers(self) -> list[Any]:
        """The checked layers."""
        items = [item for item in self._items() if item.checkState() == CHECKED]
        return [layer for item in items if (layer := _layer_of(item)) is not None]

    @layers.setter
    def layers(self, layers: Sequence[Any]) -> None:
        wanted = [unwrapped(layer) for layer in layers]
        listed = [_layer_of(item) for item in self._items()]
        for layer in wanted:
            if not any(layer is each for each in listed):
                raise ValueError(f"{layer!r} is not in the list of images that fit")
        self._chosen = {id(each): any(each is layer for layer in wanted) for each in listed}
        self.reset_choices()

    def offer(self, fits: Callable[[Any], bool], wanted: Callable[[Any], bool]) -> None:
        """List other layers; forget what the user checked."""
        self._fits, self._wanted, self._chosen = fits, wanted, {}
        self.reset_choices()

    def reset_choices(self, event: Any = None) -> None:
        """List the layers again."""
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
        layer = _layer_of(item)
        if layer is not None:
            self._chosen[id(layer)] = item.checkState() == CHECKED
        self.changed.emit()

    def _items(self) -> list[QListWidgetItem]:
        items = [self.item(row) for row in range(self.count())]
        return [item for item in items if item is not None]


def _connect(viewer: Any, reset: Callable[..., None], removed: Callable[..., None]) -> None:
    """Call back when layers come, go, move or get another name."""
    events = viewer.layers.events
    for event in (events.inserted, events.reordered, events.renamed):
        event.connect(reset)
    events.removed.connect(removed)


def _layer_of(item: QListWidgetItem) -> Any:
    return item.data(Qt.ItemDataRole.UserRole)()
