"""Button, progress and results of a widget that makes layers in one step."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_followup.io.file_sets import Parts
from napari_followup.plugin.forms.layer_choices import unwrapped
from napari_followup.plugin.layers.layers import LayerTuple, about
from napari_followup.plugin.layers.result_layers import show_layers
from napari_followup.plugin.results.save_panel import SavePanel
from napari_followup.plugin.run.progress import JobPanel
from napari_followup.plugin.run.report import Report

__all__ = ["StepPanel", "Work"]

Work = Callable[[Report], list[LayerTuple]]


class StepPanel(QWidget):
    """Runs in a thread what `prepare` read from the controls, and adds the layers that come back.

    Attributes
    ----------
    layers
        What the last run added, or filled anew.
    error
        What it complained of; empty after a good one.
    """

    finished = Signal()

    def __init__(
        self,
        viewer: Any,
        title: str,
        prepare: Callable[[], Work],
        *,
        uses: Callable[[], Sequence[Any]] = tuple,
        keeps_partial: bool = False,
    ) -> None:
        """Show a button `title`; `uses` gives the layers that a run needs until its end."""
        super().__init__()
        self._viewer = weakref.ref(unwrapped(viewer))
        self._title = title
        self._prepare = prepare
        self._uses = uses
        self._used: list[weakref.ref[Any]] = []
        self._keeps_partial = keeps_partial
        self.layers: list[Any] = []
        self.error = ""
        self.update_existing = True
        self.button = QPushButton(title)
        self.job = JobPanel()
        self.save = SavePanel(self._parts)
        self.save.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.button)
        layout.addWidget(self.job)
        layout.addWidget(self.save)
        self.button.clicked.connect(self.run)
        self.job.started.connect(self._on_started)
        self.job.returned.connect(self._on_returned)
        self.job.ended.connect(self._on_ended)

    def run(self) -> None:
        """Start; `finished` says when it is over."""
        if self.job.is_running:
            return
        try:
            work = self._prepare()
        except ValueError as error:
            self.error = str(error)
            self.job.say(self.error, is_error=True)
            self.finished.emit()
            return
        self.layers = []
        self._used = [weakref.ref(layer) for layer in self._uses()]
        self.job.start(self._title, work, keeps_partial=self._keeps_partial)

    def stop(self) -> None:
        """End the run; nothing is added, but for visits that are finished where that is kept."""
        self.job.stop()

    @property
    def used(self) -> list[Any]:
        """Layers that the last run came from, as far as they are still there."""
        return [layer for layer in (reference() for reference in self._used) if layer is not None]

    def stop_without(self, layer: Any) -> None:
        """End the run if it came from this layer, which was removed."""
        if self.job.is_running and any(layer is each for each in self.used):
            self.job.stop(
                reason=f"{layer.name!r} was removed, so the run was stopped; nothing was added."
            )

    def _on_returned(self, layers: list[LayerTuple]) -> None:
        viewer = self._viewer()
        if viewer is not None:
            self.layers = show_layers(viewer, layers, update=self.update_existing)
            made = [f"made {layer.name!r}" for layer in self.layers]
            said = [about(layer).get("provenance", {}).get("notes", ()) for layer in self.layers]
            notes = dict.fromkeys(note for each in said for note in each)  # each of them once
            self.job.say("\n".join([*made, *notes]))
            self.save.job.say("")  # what was said was about the results before
            self.save.format = _usual_format(self.layers)
            self.save.setVisible(bool(self.layers))

    def _parts(self, form: str, stages: bool) -> Parts:
        from napari_followup.plugin.results.save_layers import layer_parts

        viewer = self._viewer()
        left = [layer for layer in self.layers if viewer is not None and layer in viewer.layers]
        if not left:
            raise ValueError("the results are no longer among the layers; run again")
        made = [layer.as_layer_data_tuple() for layer in left]
        return layer_parts([each for each in made if each[2] in ("image", "labels")], form)

    def _on_started(self) -> None:
        self.button.setEnabled(False)
        self.save.hide()

    def _on_ended(self) -> None:
        self.button.setEnabled(True)
        self.error = self.job.error
        self.finished.emit()


def _usual_format(layers: Sequence[Any]) -> str:
    """Give the format for results: NIfTI where planes are measured in lengths."""
    units = [unit for layer in layers for unit in layer.units[-2:]]
    return "nifti" if all(unit.is_compatible_with("mm") for unit in units) else "ome-tiff"
