"""The widget *Timeline*: the visits of the active layer by age; a click shows a visit."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_followup.plugin.forms.layer_choices import is_alive, unwrapped
from napari_followup.plugin.layers.layers import about, axes_choices
from napari_followup.plugin.layers.visit_text import visit_line
from napari_followup.plugin.layers.visits import (
    IMPUTED,
    OBSERVED,
    covers,
    entry,
    go_to_visit,
    position,
    visit_kinds,
)
from napari_followup.plugin.results.timeline_plot import Points, TimelinePlot

__all__ = ["TimelineWidget"]

HEIGHT = 100  # pixels of the plot
NO_LAYER = "Select an image series in the layer list: its visits appear here."
NO_VISITS = "{}: it is unknown which axis is the visit. Label its axes, such as visit, y, x."
BESIDE = "The viewer shows no visit of {}; click one to show it."
LEGEND = "● observed    ○ imputed    × missing    click or ← → keys: show a visit"


class TimelineWidget(QWidget):
    """Visits of the active layer: dot: observed; ring: imputed; cross: missing.

    Attributes
    ----------
    plot
        The axis with the visits, ``plot.points``.
    line
        Text: the visit that is shown, or a hint if there are no visits.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        viewer = unwrapped(napari_viewer)
        self._viewer = weakref.ref(viewer)
        self._layer: Any = lambda: None
        self._subject: int | None = None
        self.line, self.legend = QLabel(), QLabel(LEGEND)
        self.line.setWordWrap(True)
        self.plot = TimelinePlot(HEIGHT)
        self.setFocusProxy(self.plot)
        layout = QVBoxLayout(self)
        for part in (self.line, self.plot, self.legend):
            layout.addWidget(part)
        layout.addStretch()
        self.setMaximumHeight(2 * HEIGHT)  # leaves space for the other docks
        self.plot.visit_clicked.connect(self.go_to)
        viewer.dims.events.current_step.connect(self._on_step)
        viewer.layers.selection.events.active.connect(self.refresh)
        self.refresh()

    @property
    def axes(self) -> str:
        """Axes of the layer; empty if it has no visits."""
        layer = self._layer()
        if not isinstance(layer, Image | Labels):
            return ""
        try:
            choices = axes_choices(layer)
        except ValueError:
            return ""
        return choices[0] if len(choices) == 1 else ""

    def go_to(self, visit: int) -> None:
        """Move the viewer's slider to a visit."""
        viewer, layer = self._viewer(), self._layer()
        if viewer is not None and layer is not None and self.axes:
            go_to_visit(viewer, layer, self.axes, visit)

    def refresh(self, event: Any = None) -> None:
        """Show the visits of the active layer."""
        viewer = self._viewer()
        if viewer is None or not is_alive(self):
            return
        layer, before = viewer.layers.selection.active, self._layer()
        if layer is not before:
            _follow(before, self.refresh, is_followed=False)
            _follow(layer, self.refresh, is_followed=True)
            self._layer = (lambda: None) if layer is None else weakref.ref(layer)
        if not self.axes:
            self.plot.show_visits(None)
            self._show_hint(NO_LAYER if layer is None else NO_VISITS.format(repr(layer.name)))
            return
        where = position(viewer, layer, self.axes)
        self._subject = where.get("s")
        self.plot.show_visits(_points(layer, self.axes, where))
        self._show_visit(where)

    def _on_step(self, event: Any = None) -> None:
        viewer, layer = self._viewer(), self._layer()
        if viewer is None or layer is None or not is_alive(self) or not self.axes:
            return
        where = position(viewer, layer, self.axes)
        if where.get("s") != self._subject:
            self.refresh()
        self._show_visit(where)

    def _show_visit(self, where: dict[str, int]) -> None:
        points, visit = self.plot.points, where["v"]
        if points is None or visit >= len(points.ages):
            return
        viewer, layer = self._viewer(), self._layer()
        is_shown = covers(viewer, layer, self.axes)
        text = visit_line(about(layer), where, len(points.ages), points.kind(visit))
        self.plot.show_visit(visit if is_shown else None)
        self.line.setText(text if is_shown else BESIDE.format(repr(layer.name)))
        self.plot.show()
        self.legend.show()

    def _show_hint(self, text: str) -> None:
        self.line.setText(text)
        self.plot.hide()
        self.legend.hide()


def _points(layer: Any, axes: str, where: dict[str, int]) -> Points:
    """Visits of the shown subject, by age, or by number if the ages are unknown."""
    data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    meta = about(layer) | {"axes": axes}
    kinds = np.array(visit_kinds(data, meta, where))
    ages = [entry(meta.get("ages"), where.get("s"), visit) for visit in range(len(kinds))]
    known = meta.get("ages_known", True) and None not in ages
    return Points(
        ages=np.array(ages if known else range(len(kinds)), float),
        values=None,
        is_observed=kinds == OBSERVED,
        is_missing=(kinds != OBSERVED) & (kinds != IMPUTED),
        ages_known=known,
    )


def _follow(layer: Any, refresh: Any, *, is_followed: bool) -> None:
    """Connect or disconnect changes of a layer's data and metadata."""
    if layer is not None:
        for event in (layer.events.data, layer.events.metadata):
            (event.connect if is_followed else event.disconnect)(refresh)
