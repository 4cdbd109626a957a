"""What can be done with a finished detection: move its threshold, see its visits, go to one."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_followup.plugin.cursor import go_to_visit, position
from napari_followup.plugin.layers import KEY, Series, about
from napari_followup.plugin.result_layers import Found, mask_of
from napari_followup.plugin.series_input import is_alive, unwrapped
from napari_followup.plugin.threshold_bar import ThresholdBar
from napari_followup.plugin.timeline_plot import TimelinePlot
from napari_followup.results import Detection

__all__ = ["ResultPanel", "summary"]


class ResultPanel(QWidget):
    """Threshold slider and timeline of the last detection; hidden before there is one."""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrapped(viewer))
        self.found: Found | None = None  # as segmented now
        self._made: Found | None = None  # as the recipe segmented it
        self._layer: Any = lambda: None
        self._mask: Any = lambda: None
        self._subject = 0
        self.threshold = ThresholdBar()
        self.plot = TimelinePlot()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.threshold)
        layout.addWidget(self.plot)
        self.threshold.moved.connect(self._on_moved)
        self.threshold.reset.connect(self._on_reset)
        self.plot.visit_clicked.connect(self._on_visit)
        unwrapped(viewer).dims.events.current_step.connect(self._on_step)
        self.hide()

    @property
    def detection(self) -> Detection | None:
        """The detection of the subject that the viewer shows."""
        return None if self.found is None else self.found.detections[self._subject]

    def show_found(self, found: Found, source_layer: Any, layers: list[Any]) -> None:
        """Take over a finished detection, and the layers that show it."""
        self.found = self._made = found
        self._layer = weakref.ref(source_layer)
        masks = [layer for layer in layers if about(layer).get("result") == "mask"]
        self._mask = weakref.ref(masks[0]) if masks else lambda: None
        self._subject = next(n for n, each in enumerate(found.detections) if each is not None)
        self._show_subject()
        self._on_step()
        self.show()

    def _show_subject(self) -> None:
        assert self.found is not None  # a subject is shown only once something was found
        detection, series = self.detection, self.found.series[self._subject]
        self.threshold.setEnabled(detection is not None)
        if detection is None or series is None:
            return
        self.threshold.show_score(_highest(self.found), detection.threshold)
        stack = detection.stack
        self.plot.show_points(
            _as_layer(series, stack.ages),
            _as_layer(series, detection.image_score),
            _as_layer(series, stack.is_observed),
        )

    def _on_moved(self, height: float) -> None:
        if self._made is not None:
            self._segment(self._made.at_threshold(height))

    def _on_reset(self) -> None:
        if self._made is not None:
            self._segment(self._made)
            self._show_subject()

    def _segment(self, found: Found) -> None:
        self.found, mask = found, self._mask()
        if mask is not None:
            mask.data = mask_of(found)
            said = about(mask) | {"provenance": found.provenance}
            mask.metadata = {**mask.metadata, KEY: said}

    def _on_visit(self, visit: int) -> None:
        viewer, layer = self._viewer(), self._layer()
        if (
            viewer is not None
            and layer is not None
            and layer in viewer.layers
            and self.found is not None
        ):
            go_to_visit(viewer, layer, self.found.source.axes, visit)

    def _on_step(self, event: Any = None) -> None:
        viewer, layer = self._viewer(), self._layer()
        if viewer is None or layer is None or self.found is None or not is_alive(self):
            return
        where = position(viewer, layer, self.found.source.axes)
        if where.get("s", 0) != self._subject:
            self._subject = where["s"]
            self._show_subject()
        self.plot.show_visit(where["v"])


def summary(found: Found) -> str:
    """Say what was found in a sentence, and what the user should know."""
    seen = [each for each in found.detections if each is not None]
    visits = sum(int(each.stack.is_observed.sum()) for each in seen)
    marked = sum(int(each.mask.any(axis=(1, 2, 3)).sum()) for each in seen)
    start = f"{len(seen)} subjects: " if len(found.detections) > 1 else ""
    return "\n".join([f"{start}something abnormal at {marked} of {visits} visits", *found.notes])


def _highest(found: Found) -> float:
    """Highest score of all subjects: they share one slider."""
    return max(float(np.nanmax(each.score)) for each in found.detections if each is not None)


def _as_layer(series: Series, values: NDArray[Any]) -> NDArray[Any]:
    """One value a visit, from the order of the stack into that of the layer."""
    return np.asarray(values)[np.argsort(series.order)]
