"""The result of a detection: the finding, the threshold slider, the timeline, the save button."""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QLocale, Qt, Signal
from qtpy.QtGui import QDoubleValidator
from qtpy.QtWidgets import (
    QLabel,
    QLineEdit,
    QPushButton,
    QWidget,
)
from superqt import QDoubleSlider

from napari_followup.io.replacing import Parts
from napari_followup.io.save_results import usual_format
from napari_followup.plugin.forms.forms import column_of, row_of, wrapped_label
from napari_followup.plugin.forms.layer_choices import is_alive, unwrapped
from napari_followup.plugin.layers.layers import KEY, Series, about
from napari_followup.plugin.layers.result_layers import Found, mask_of
from napari_followup.plugin.layers.visits import go_to_visit, position
from napari_followup.plugin.results.save_panel import SavePanel
from napari_followup.plugin.results.timeline_plot import Points, TimelinePlot
from napari_followup.series.results import Detection, finding

__all__ = [
    "ResultPanel",
    "ThresholdBar",
    "summary",
]

LONGEST = "0.0001234 "  # as `_show_number` writes a small score


class ThresholdBar(QWidget):
    """A slider from 0 to the highest score, and a way back to the recipe's threshold."""

    moved = Signal(float)
    reset = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.slider = QDoubleSlider(Qt.Orientation.Horizontal)
        self.slider.setToolTip("Score from which a pixel is flagged; the mask follows at once")
        self.number = QLineEdit()
        self.number.setToolTip("The threshold; type another one")
        self.number.setValidator(_point_validator(self))
        self.back = QPushButton("reset")
        self.back.setToolTip("Back to the mask of the recipe")
        self.floor = QLabel()
        row = row_of(QLabel("threshold"), self.slider, self.number, self.back, wide=(1,))
        column_of(self, row, self.floor, inner=True)
        self.show_floor(None)
        self.slider.valueChanged.connect(self._show_number)
        self.slider.valueChanged.connect(self.moved)
        self.number.editingFinished.connect(self._on_typed)
        self.back.clicked.connect(self.reset)

    def show_floor(self, floor: tuple[str, float] | None) -> None:
        """Say what must reach a second threshold, and which; nothing where there is none."""
        self.floor.setText("" if floor is None else f"{floor[0]} must reach {floor[1]:.3g}")
        self.floor.setVisible(floor is not None)

    def show_score(self, highest: float, threshold: float) -> None:
        """Set the range to a new score, and the handle to its threshold; sends nothing."""
        top = highest if math.isfinite(highest) and highest > 0 else 1.0
        top = max(top, threshold) if math.isfinite(threshold) else top
        self.slider.blockSignals(True)
        self.slider.setRange(0.0, top)
        self.slider.setSingleStep(top / 100)
        self.slider.setValue(min(threshold, top))
        self.slider.blockSignals(False)
        self._show_number(self.slider.value())

    def _show_number(self, value: float) -> None:
        self.number.ensurePolished()  # the theme has its own font
        margins = self.number.sizeHint().height() - self.number.fontMetrics().height()
        self.number.setFixedWidth(self.number.fontMetrics().horizontalAdvance(LONGEST) + margins)
        self.number.setText(f"{value:.4g}")

    def _on_typed(self) -> None:
        if self.number.isModified():  # the number shown is rounded, and was not typed
            self.slider.setValue(float(self.number.text()))
            self._show_number(self.slider.value())


def _point_validator(parent: QWidget) -> QDoubleValidator:
    """Accept numbers with a decimal point in every locale."""
    validator = QDoubleValidator(parent)
    validator.setLocale(QLocale.c())
    return validator


class ResultPanel(QWidget):
    """Finding, threshold slider and timeline of the last detection, and a button to save it.

    Hidden unless its series is chosen, and its results are still in the viewer.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrapped(viewer))
        self.found: Found | None = None  # as segmented now
        self._made: Found | None = None  # as the recipe segmented it
        self._layer: Any = lambda: None
        self._mask: Any = lambda: None
        self._shown: list[Any] = []  # references to the layers that the panel is about
        self._chosen: Any = lambda: None
        self._subject = 0
        self.verdict, self.notes = wrapped_label(), wrapped_label()
        self.threshold = ThresholdBar()
        self.plot = TimelinePlot()
        self.save = SavePanel(self._parts, has_stages=True)
        parts = (self.verdict, self.notes, self.threshold, self.plot, self.save)
        column_of(self, *parts, inner=True)
        self.threshold.moved.connect(self._on_moved)
        self.threshold.reset.connect(self._on_reset)
        self.plot.visit_clicked.connect(self._on_visit)
        unwrapped(viewer).dims.events.current_step.connect(self._on_step)
        unwrapped(viewer).layers.events.removed.connect(self._on_removed)
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
        self._shown = [weakref.ref(layer) for layer in masks or layers]
        self._subject = next(n for n, each in enumerate(found.detections) if each is not None)
        first = summary(found)
        notes = [note for note in found.notes if note not in first]
        self.notes.setText("\n".join(notes))
        self.notes.setVisible(bool(notes))
        self.save.job.show_text("")  # it was about the previous detection
        self.save.start_beside(source_layer)
        self.save.format = next(usual_format(each.stack) for each in found.detections if each)
        self._show_subject()
        self._on_step()
        self.follow(source_layer)

    def follow(self, layer: Any) -> None:
        """Show the panel if it is about this layer."""
        self._chosen = (lambda: None) if layer is None else weakref.ref(layer)
        self._show_or_hide()

    def _show_or_hide(self) -> None:
        viewer, chosen = self._viewer(), self._chosen()
        is_about_it = self.found is not None and chosen is not None and chosen is self._layer()
        left = [] if viewer is None else [each for each in self._shown if each() in viewer.layers]
        self.setVisible(is_about_it and bool(left or not self._shown))

    def _show_subject(self) -> None:
        assert self.found is not None  # a subject is shown only once something was found
        detection, series = self.detection, self.found.series[self._subject]
        self.threshold.setEnabled(detection is not None)
        self._show_verdict()
        if detection is None or series is None:
            self.plot.show_visits(None)
            return
        self.threshold.show_score(_highest(self.found), detection.threshold)

    def _show_verdict(self) -> None:
        assert self.found is not None  # as in `_show_subject`
        self.verdict.setText(summary(self.found))
        detection, series = self.detection, self.found.series[self._subject]
        is_moved = self.found is not self._made
        self.threshold.show_floor(None if detection is None or is_moved else _floor(detection))
        if detection is not None and series is not None:
            self._show_points(detection, series)

    def _show_points(self, detection: Detection, series: Series) -> None:
        stack = detection.stack
        points = Points(
            ages=_as_layer(series, stack.ages),
            values=_as_layer(series, detection.image_score),
            is_observed=_as_layer(series, stack.is_observed),
            is_flagged=_as_layer(series, detection.mask.any(axis=(1, 2, 3))),
            threshold=_flagging_score(detection),
        )
        self.plot.show_visits(points)

    def _on_moved(self, threshold: float) -> None:
        if self._made is not None:
            self._segment(self._made.at_threshold(threshold))

    def _on_reset(self) -> None:
        if self._made is not None:
            self._segment(self._made)
            self._show_subject()

    def _segment(self, found: Found) -> None:
        self.found, mask = found, self._mask()
        self._show_verdict()
        if mask is not None:
            mask.data = mask_of(found)
            known = about(mask) | {"provenance": found.provenance}
            mask.metadata = {**mask.metadata, KEY: known}

    def _parts(self, form: str, stages: bool) -> Parts:
        """Say what to save: the mask as it is shown, moved or painted on."""
        from napari_followup.plugin.results.save_layers import detection_parts, with_mask

        assert self.found is not None  # the button is hidden before
        viewer, mask, found = self._viewer(), self._mask(), self.found
        if mask is not None and viewer is not None and mask in viewer.layers:
            found = with_mask(found, np.array(mask.data))
        return detection_parts(found, form, stages=stages)

    def _on_visit(self, visit: int) -> None:
        viewer, layer = self._viewer(), self._layer()
        is_there = viewer is not None and layer is not None and layer in viewer.layers
        if is_there and self.found is not None:
            go_to_visit(viewer, layer, self.found.source.axes, visit)

    def _on_removed(self, event: Any = None) -> None:
        if is_alive(self):
            self._show_or_hide()

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
    """First line of a result, after the name of its source; see `finding`."""
    seen = [each for each in found.detections if each is not None]
    return f"{found.source.name}: {finding(seen, is_cohort=len(found.detections) > 1)}"


def _highest(found: Found) -> float:
    """Highest score of all subjects: they share one slider."""
    scores = [each.score for each in found.detections if each is not None]
    return max(float(np.nanmax(score, initial=0.0)) for score in scores)


def _floor(detection: Detection) -> tuple[str, float] | None:
    """Give what must reach the floor, a whole region or every pixel, and the floor."""
    if detection.floor is None:
        return None
    high, low = detection.flagging_thresholds
    return ("a region" if high > low else "a pixel"), detection.floor


def _flagging_score(detection: Detection) -> float | None:
    """Score that flags a visit; none where the scores were rescaled."""
    if detection.provenance.get("recipe", {}).get("rescale"):
        return None
    high, _ = detection.flagging_thresholds
    return high if math.isfinite(high) else None


def _as_layer(series: Series, values: Any) -> NDArray[Any]:
    """One value a visit, from the order of the stack into that of the layer."""
    return np.asarray(np.asarray(values)[np.argsort(series.order)])
