"""Choose a mask: one of some fixed choices, or a Labels layer."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from napari.layers import Labels

from napari_followup.plugin.forms.forms import ElidingCombo
from napari_followup.plugin.forms.series_input import is_alive, unwrapped
from napari_followup.plugin.layers.layers import GivenMask

__all__ = ["MaskCombo"]


class MaskCombo(ElidingCombo):
    """Some fixed choices, and the Labels layers of a viewer; holds none of them alive."""

    def __init__(
        self,
        viewer: Any,
        *choices: str,
        leave_out: Callable[[Any], bool] = lambda layer: False,
    ) -> None:
        super().__init__()
        self._leave_out = leave_out
        self._viewer = weakref.ref(unwrapped(viewer))
        self._choices = choices
        events = unwrapped(viewer).layers.events
        for event in (events.inserted, events.removed, events.reordered, events.renamed):
            event.connect(self.reset_choices)
        self.reset_choices()

    @property
    def chosen(self) -> str:
        """The fixed choice; empty where a layer is chosen."""
        return "" if self.layer is not None else self.currentText()

    @property
    def layer(self) -> Any:
        """The chosen Labels layer, or none."""
        reference = self.currentData()
        return None if reference is None else reference()

    @layer.setter
    def layer(self, layer: Any) -> None:
        layer = unwrapped(layer)
        for index in range(len(self._choices), self.count()):
            if self.itemData(index)() is layer:
                self.setCurrentIndex(index)
                return
        raise ValueError(f"{layer!r} is no labels layer of this viewer; add it first")

    @property
    def given(self) -> GivenMask | None:
        """What a run needs of the chosen layer, if one is chosen."""
        layer = self.layer
        if layer is None:
            return None
        return GivenMask(name=layer.name, data=layer.data)

    def reset_choices(self, event: Any = None) -> None:
        """List the layers anew and keep the choice; without its layer, the first one."""
        viewer = self._viewer()
        if viewer is None or not is_alive(self):
            return
        layer, text = self.layer, self.chosen
        labels = [each for each in viewer.layers if isinstance(each, Labels)]
        layers = [each for each in labels if not self._leave_out(each)]
        self.blockSignals(True)
        self.clear()
        self.addItems(list(self._choices))
        for each in layers:
            self.addItem(each.name, weakref.ref(each))
        if layer in layers:
            self.setCurrentIndex(len(self._choices) + layers.index(layer))
        elif text in self._choices:
            self.setCurrentText(text)
        self.blockSignals(False)
        self.currentIndexChanged.emit(self.currentIndex())
