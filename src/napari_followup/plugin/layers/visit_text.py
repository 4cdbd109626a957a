"""The text in the canvas: the visit that is shown, and the subject's age."""

from __future__ import annotations

import re
import weakref
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from psygnal import EmitLoopError
from qtpy.QtWidgets import QWidget

from napari_followup.plugin.forms.layer_choices import unwrapped
from napari_followup.plugin.layers.layers import about
from napari_followup.plugin.layers.visits import OBSERVED, covers, entry, position, visit_kind

__all__ = ["VisitText", "visit_line"]

OURS = re.compile(r"(.+, )?(visit \d+ of \d+|age -?\d+\.\d)(, .+)?$")  # of any of our widgets


class VisitText:
    """Writes the active layer's visit into the text overlay, unless other text is there."""

    def __init__(self, viewer: Any) -> None:
        self._viewer = weakref.ref(unwrapped(viewer))
        self._known: Any = lambda: None
        self._visits: dict[str, Any] = {}
        viewer = unwrapped(viewer)
        viewer.dims.events.current_step.connect(self.refresh)
        viewer.layers.selection.events.active.connect(self.refresh)
        viewer.layers.events.removed.connect(self.refresh)
        self.refresh()

    def follow(self, widget: QWidget) -> None:
        """Live until a widget is destroyed; Python may drop its own references earlier."""
        _FOLLOWING.append(self)
        widget.destroyed.connect(self.end)  # a lambda would be collected with the widget

    def know(self, layer: Any, visits: Mapping[str, Any]) -> None:
        """Use axes and ages that were typed for a layer without metadata."""
        self._known = (lambda: None) if layer is None else weakref.ref(layer)
        self._visits = dict(visits)
        self.refresh()

    def refresh(self, event: Any = None) -> None:
        """Write the text for the active layer."""
        viewer = self._viewer()
        if viewer is None:
            return
        layer = _shown_layer(viewer)
        if layer is None:
            self._write(viewer, "")
            return
        typed = self._visits if layer is self._known() else {}
        self._write(viewer, _line_for(viewer, layer, about(layer) | typed))

    def end(self, *_: object) -> None:
        """Remove the text, unless another widget keeps it, and disconnect from the viewer."""
        if self in _FOLLOWING:
            _FOLLOWING.remove(self)
        viewer = self._viewer()
        if viewer is None:
            return
        viewer.dims.events.current_step.disconnect(self.refresh)
        viewer.layers.selection.events.active.disconnect(self.refresh)
        viewer.layers.events.removed.disconnect(self.refresh)
        with suppress(EmitLoopError, RuntimeError):  # the canvas may have gone before the widget
            self._write(viewer, "")
            for other in [each for each in _FOLLOWING if each._viewer() is viewer]:
                other.refresh()

    def _write(self, viewer: Any, text: str) -> None:
        overlay = viewer.canvas.overlays.text
        if overlay.text and not OURS.match(overlay.text):
            return  # written by others
        overlay.text, overlay.visible = text, bool(text)


_FOLLOWING: list[VisitText] = []  # until their widgets have gone


def _shown_layer(viewer: Any) -> Any:
    """Give the active layer; if the slider is outside it, the topmost layer it is inside of."""
    active = viewer.layers.selection.active
    if active is None or covers(viewer, active, str(about(active).get("axes", ""))):
        return active
    others = [layer for layer in reversed(viewer.layers) if layer.visible]
    series = [(each, axes) for each in others if (axes := _axes(each, about(each)))]
    return next((each for each, axes in series if covers(viewer, each, axes)), None)


def _axes(layer: Any, meta: Mapping[str, Any]) -> str:
    """Axes of a layer with visits; empty for other layers."""
    axes = str(meta.get("axes", ""))
    return axes if "v" in axes and len(axes) == layer.ndim else ""


def _line_for(viewer: Any, layer: Any, meta: Mapping[str, Any]) -> str:
    axes = _axes(layer, meta)
    if not axes:
        return ""
    data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    where = position(viewer, layer, axes)
    return visit_line(meta, where, data.shape[axes.index("v")], visit_kind(data, meta, where))


def visit_line(
    meta: Mapping[str, Any], where: Mapping[str, int], visits: int, kind: str = OBSERVED
) -> str:
    """Write which visit is at an index, and the subject's age, from a layer's metadata.

    The visit of a layer with a single one gets no number: it may be one of several layers.
    """
    visit, subject = where["v"], where.get("s")
    parts = [f"visit {visit + 1} of {visits}"] if visits > 1 else []
    age = entry(meta.get("ages"), subject, visit)
    if age is not None and meta.get("ages_known", True):
        parts.append(f"age {age:.1f}")
    if kind != OBSERVED:
        parts.append(kind)
    names = meta.get("subject")
    if subject is not None and isinstance(names, list | tuple) and subject < len(names):
        parts.insert(0, str(names[subject]))
    return ", ".join(parts)
