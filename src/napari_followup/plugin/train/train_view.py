"""What is shown during a training: the losses, and an example of a held-out subject."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from napari_followup.plugin.forms.layer_choices import unwrapped
from napari_followup.plugin.layers.layers import KEY, about
from napari_followup.plugin.train.train_actions import STAGES

__all__ = ["NAME", "Curves", "ExampleLayer", "LossPanel", "LossPlot", "side_by_side"]

LEFT, RIGHT, TOP, BOTTOM = 52, 12, 24, 22  # margins in pixels
SHARE = 40  # one of so many points is averaged on either side
TICKS = 4  # on either axis, about
TRAINING, VALIDATION = QColor("#4aa8ff"), QColor("#ff9f0a")
Points = Sequence[tuple[int, float]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Curves:
    """The losses that are drawn, and their pixels."""

    losses: Points = ()
    validations: Points = ()
    is_log: bool = False

    @property
    def course(self) -> list[tuple[int, float]]:
        """Smoothed losses: the mean of each and its neighbours."""
        count = len(self.losses)
        half = -(-count // SHARE)
        sums = np.cumsum([0.0, *(loss for _, loss in self.losses)])
        ends = [(max(0, n - half), min(count, n + half + 1)) for n in range(count)]
        means = [float(sums[stop] - sums[start]) / (stop - start) for start, stop in ends]
        return [(batch, mean) for (batch, _), mean in zip(self.losses, means, strict=True)]

    @property
    def last_batch(self) -> int:
        """Right end of the axis."""
        return max([1, *(batch for batch, _ in (*self.losses, *self.validations))])

    @property
    def span(self) -> tuple[float, float]:
        """Ends of the axis of losses; a few high losses at the start are clipped."""
        course = [loss for _, loss in self.course] or [1.0]
        values = np.array([*course, *(loss for _, loss in self.validations)])
        top = 1.05 * max([float(np.quantile(values, 0.98)), *self._last()])
        if not self.is_log:
            return 0.0, top if top > 0 else 1.0
        low = float(values[values > 0].min()) if (values > 0).any() else 0.1
        return (0.9 * low, top) if top > low else (0.5 * low, 2 * low)

    def place(self, points: Points, width: float, height: float) -> NDArray[np.float64]:
        """Pixel (x, y) of each point; points outside the span are drawn at its end."""
        low, high = self.span
        batches = np.array([batch for batch, _ in points], float)
        values = np.clip(np.array([loss for _, loss in points], float), low, high)
        if self.is_log:
            share = (np.log(values) - np.log(low)) / (np.log(high) - np.log(low))
        else:
            share = (values - low) / (high - low)
        x = LEFT + batches / self.last_batch * (width - LEFT - RIGHT)
        return np.stack([x, TOP + (1 - share) * (height - TOP - BOTTOM)], axis=1)

    def heights(self) -> list[float]:
        """Round losses to label the axis with."""
        low, high = self.span
        if self.is_log:
            marks = [m * 10.0**e for e in range(-12, 7) for m in (1, 2, 5)]
            found = [mark for mark in marks if low <= mark <= high]
            decades = [mark for mark in found if f"{mark:e}".startswith("1")]
            return decades if len(decades) > 2 else found
        return _round_steps(high)

    def batches(self) -> list[int]:
        """Round batches to label the axis with."""
        return [round(step) for step in _round_steps(self.last_batch) if step == round(step)]

    def _last(self) -> list[float]:
        """Give the newest losses, which are never clipped."""
        return [points[-1][1] for points in (self.course, self.validations) if points]


class LossPlot(QWidget):
    """Blue: training loss; orange: loss of held-out subjects with the averaged weights."""

    def __init__(self, height: int = 190) -> None:
        super().__init__()
        self._height = height
        self.curves = Curves()
        self.setMinimumHeight(height)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        """Size that the layout starts from."""
        return QSize(280, self._height)

    def show_losses(self, losses: Points, validations: Points) -> None:
        """Draw other losses."""
        self.curves = replace(self.curves, losses=losses, validations=validations)
        self.update()

    def set_log(self, is_log: bool) -> None:
        """Choose the scale of the losses."""
        self.curves = replace(self.curves, is_log=is_log)
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw axes and curves."""
        if not self.curves.losses:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._draw_axes(painter)
        self._draw(painter, self.curves.losses, _pen(TRAINING, 1.0, 70))
        self._draw(painter, self.curves.course, _pen(TRAINING, 2.0))
        self._draw(painter, self.curves.validations, _pen(VALIDATION, 2.0))
        painter.setBrush(VALIDATION)
        for x, y in self.curves.place(self.curves.validations, self.width(), self.height()):
            painter.drawEllipse(QPointF(x, y), 2.5, 2.5)
        self._draw_legend(painter)
        painter.end()

    def _draw(self, painter: QPainter, points: Points, pen: QPen) -> None:
        painter.setPen(pen)
        places = self.curves.place(points, self.width(), self.height())
        painter.drawPolyline(QPolygonF([QPointF(x, y) for x, y in places]))

    def _draw_axes(self, painter: QPainter) -> None:
        width, height = self.width(), self.height()
        text, faint = self._color(190), self._color(45)
        for value in self.curves.heights():
            y = float(self.curves.place([(0, value)], width, height)[0, 1])
            painter.setPen(faint)
            painter.drawLine(QPointF(LEFT, y), QPointF(width - RIGHT, y))
            painter.setPen(text)
            right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(QRectF(0, y - 9, LEFT - 6, 18), right, f"{value:.3g}")
        for batch in self.curves.batches():
            x = float(self.curves.place([(batch, 1.0)], width, height)[0, 0])
            middle = Qt.AlignmentFlag.AlignCenter
            painter.drawText(QRectF(x - 40, height - BOTTOM + 3, 80, 18), middle, f"{batch}")

    def _draw_legend(self, painter: QPainter) -> None:
        x = float(LEFT)
        for name, points, color in (
            ("training", self.curves.course, TRAINING),
            ("held out", self.curves.validations, VALIDATION),
        ):
            if not points:
                continue
            text = f"{name} {points[-1][1]:.4g}"
            painter.setPen(QPen(color, 3))
            painter.drawLine(QPointF(x, 11), QPointF(x + 14, 11))
            painter.setPen(self._color(220))
            painter.drawText(QPointF(x + 19, 15), text)
            x += 40 + painter.fontMetrics().horizontalAdvance(text)

    def _color(self, alpha: int) -> QColor:
        color = QColor(self.palette().color(self.foregroundRole()))
        color.setAlpha(alpha)
        return color


def _pen(color: QColor, width: float, alpha: int = 255) -> QPen:
    shown = QColor(color)
    shown.setAlpha(alpha)
    return QPen(shown, width)


def _round_steps(high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from 0 up to `high`, about `TICKS`."""
    size = 10.0 ** np.floor(np.log10(high / TICKS))
    step = next(m * size for m in (1, 2, 5, 10) if high / (m * size) <= TICKS + 1)
    return [float(f"{number * step:.6g}") for number in range(int(high / step + 1e-9) + 1)]


class LossPanel(QWidget):
    """The plot of one phase; the user can choose from several."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, tuple[Points, Points]] = {}
        self.plot, self.log_box, self.stage = LossPlot(), QCheckBox("log scale"), QComboBox()
        self.stage.setToolTip("Phase whose losses are shown")
        self.stage.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.stage.setMinimumContentsLength(8)  # long names in a narrow dock
        row = QHBoxLayout()
        row.addWidget(self.log_box)
        row.addWidget(self.stage, stretch=1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.plot)
        layout.addLayout(row)
        self.log_box.toggled.connect(self.plot.set_log)
        self.stage.currentIndexChanged.connect(self._draw)
        self.clear()

    def clear(self) -> None:
        """Remove the losses of another run."""
        self._known = {}
        self.stage.clear()
        self.stage.hide()
        self.plot.show_losses((), ())

    def show_losses(self, stage: str, losses: Points, validations: Points) -> None:
        """Show the losses of a phase; a new phase is selected."""
        self._known[stage] = losses, validations
        if self.stage.findData(stage) < 0:
            self.stage.addItem(STAGES.get(stage, stage), stage)
            self.stage.setCurrentIndex(self.stage.count() - 1)
            self.stage.setVisible(self.stage.count() > 1)
        self._draw()

    def _draw(self, _: object = None) -> None:
        if self.stage.currentData() in self._known:
            self.plot.show_losses(*self._known[self.stage.currentData()])


NAME = "given | healthy (training)"
RESULT = "training example"
GAP = 0.05  # of the width, between the layers that are there and this one
Images = NDArray[np.float32]


def side_by_side(given: Images, healthy: Images) -> Images:
    """Put given images to the left of the healthy images that the model made.

    Parameters
    ----------
    given, healthy
        ``(plane, modality, y, x)``.

    Returns
    -------
    ndarray
        ``(plane, y, x)``, modalities one below the other.
    """
    pair = np.concatenate([given, healthy], axis=3)
    planes, modalities, y, x = pair.shape
    return pair.reshape(planes, modalities * y, x)


class ExampleLayer:
    """Adds a layer with the first example of a run, and updates it with the next ones.

    It lies to the right of the other layers. If the user removes it, it does not return until the
    next run.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = weakref.ref(unwrapped(viewer))
        self._layer: Any = None  # a weak reference, once there is a layer in this run

    def begin(self) -> None:
        """Begin a run; the layer of an earlier run is used again."""
        self._layer = None

    @property
    def layer(self) -> Any:
        """The layer, if it is in the viewer."""
        layer, viewer = None if self._layer is None else self._layer(), self._viewer()
        return layer if viewer is not None and layer in viewer.layers else None

    def show(self, given: Images, healthy: Images) -> None:
        """Show an example."""
        viewer = self._viewer()
        if viewer is None or (self._layer is not None and self.layer is None):
            return
        data = side_by_side(given, healthy)
        layer = self.layer or _earlier(viewer, data.ndim)
        if layer is None:
            layer = self._added(viewer, data, (float(given.min()), float(given.max())))
        else:
            layer.data = data
        self._layer = weakref.ref(layer)

    def _added(self, viewer: Any, data: Images, limits: tuple[float, float]) -> Any:
        low, high = limits
        active = viewer.layers.selection.active
        layer = viewer.add_image(
            data,
            name=NAME,
            colormap="gray",
            contrast_limits=(low, high if high > low else low + 1.0),
            axis_labels=("visit", "y", "x"),
            metadata={KEY: {"axes": "vyx", "result": RESULT}},
            **_place(viewer, data.shape),
        )
        if active is not None:
            viewer.layers.selection.active = active
            viewer.reset_view()
        visits = viewer.dims.ndim - data.ndim
        if viewer.dims.current_step[visits] >= len(data):  # it would not be seen
            viewer.dims.set_current_step(visits, 0)
        return layer


def _earlier(viewer: Any, ndim: int) -> Any:
    found = [each for each in viewer.layers if about(each).get("result") == RESULT]
    return next((each for each in found if each.ndim == ndim), None)


def _place(viewer: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    """Scale, translation and units: right of all layers, with their height."""
    if not len(viewer.layers):
        return {}
    (top, left), (bottom, right) = np.asarray(viewer.layers.extent.world)[:, -2:]
    pixel = float(bottom - top) / shape[1] or 1.0
    start = float(right) + GAP * float(right - left)
    units = [layer.units for layer in viewer.layers if layer.ndim >= 3]
    known = {"units": units[0][-3:]} if units else {}
    return {"scale": (1.0, pixel, pixel), "translate": (0.0, float(top), start), **known}
