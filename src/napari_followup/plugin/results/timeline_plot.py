"""Plot of the visits against age, with a score each where there is one; a click goes to a visit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

__all__ = ["Points", "TimelinePlot"]

LEFT, RIGHT, TOP, BOTTOM = 66, 14, 12, 34  # margins in pixels
MARGIN = 24  # on both sides where there is no axis of numbers
ROOM = 38  # pixels that an age takes below its visit
REACH = 14.0  # pixels from a point that still hit it
DOT = 4.5  # largest radius of a point
STEPS = {int(Qt.Key.Key_Left): -1, int(Qt.Key.Key_Right): 1}
ACCENT = QColor("#ff9f0a")  # the visit that the viewer shows
FLAGGED = QColor("#ff2d55")  # the color of the mask


@dataclass(frozen=True, eq=False, kw_only=True)
class Points:
    """What is drawn: one point a visit, in the order of the layer's visits."""

    ages: NDArray[np.float64]
    values: NDArray[np.floating[Any]] | None  # NaN for a missing visit; None: no axis of values
    is_observed: NDArray[np.bool_]
    is_missing: NDArray[np.bool_] | None = None  # where there are no values to tell
    ages_known: bool = True  # False: `ages` are visit numbers
    is_flagged: NDArray[np.bool_] | None = None
    threshold: float | None = None  # value from which a visit is flagged

    def place(self, width: float, height: float) -> NDArray[np.float64]:
        """Pixel (x, y) of each visit; a missing one lies on the axis."""
        low, high = float(self.ages.min()), float(self.ages.max())
        x = np.full(len(self.ages), 0.5) if low == high else (self.ages - low) / (high - low)
        left, right = self.margins
        across, down = width - left - right, height - TOP - BOTTOM
        if self.values is None:
            y = np.full(len(self.ages), 0.3)
        else:
            y = np.nan_to_num(self.values / self.top, nan=0.0)
        return np.stack([left + x * across, TOP + (1 - y) * down], axis=1)

    @property
    def margins(self) -> tuple[int, int]:
        """Pixels left and right of the axis."""
        return (MARGIN, MARGIN) if self.values is None else (LEFT, RIGHT)

    @property
    def top(self) -> float:
        """Value at the upper end of the axis."""
        values = np.zeros(1) if self.values is None else self.values
        highest = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
        highest = max(highest, self.threshold or 0.0)
        return 1.1 * highest if highest > 0 else 1.0

    def radius(self, width: float) -> float:
        """Size of a point, smaller where many share the width."""
        return float(np.clip(0.35 * (width - LEFT - RIGHT) / len(self.ages), 1.2, DOT))

    @property
    def without_value(self) -> NDArray[np.bool_]:
        """``(visit,)``: which visits are missing."""
        if self.values is not None:
            return np.asarray(np.isnan(self.values))
        return np.zeros(len(self.ages), bool) if self.is_missing is None else self.is_missing

    def kind(self, visit: int) -> str:
        """Whether a visit is observed, imputed or missing."""
        if self.without_value[visit]:
            return "missing"
        return "observed" if self.is_observed[visit] else "imputed"

    def beside(self, visit: int, step: int) -> int | None:
        """Visit that is `step` places further on the axis; none beyond its ends."""
        order = np.argsort(self.ages, kind="stable").tolist()
        place = order.index(visit) + step
        return int(order[place]) if 0 <= place < len(order) else None

    def flags(self, visit: int) -> bool:
        """Whether a visit is flagged."""
        return self.is_flagged is not None and bool(self.is_flagged[visit])

    def nearest(self, x: float, width: float, height: float) -> int | None:
        """Find the visit that is hit at a pixel column, if any."""
        gaps = np.abs(self.place(width, height)[:, 0] - x)
        return int(gaps.argmin()) if len(gaps) and gaps.min() <= REACH else None

    def describe(self, visit: int) -> str:
        """One visit in words."""
        if self.values is None:
            age = f", age {self.ages[visit]:.1f}" if self.ages_known else ""
            kind = "" if self.is_observed[visit] else f", {self.kind(visit)}"
            return f"visit {visit + 1} of {len(self.ages)}{age}{kind}"
        value = self.values[visit]
        shown = "missing" if np.isnan(value) else f"image score {value:.3g}"
        kind = "" if self.is_observed[visit] or np.isnan(value) else ", imputed"
        found = ", flagged" if self.flags(visit) else ""
        return f"visit {visit + 1}, age {self.ages[visit]:.1f}: {shown}{kind}{found}"


class TimelinePlot(QWidget):
    """Image score against age: a dot where observed, a ring where imputed, a cross if missing.

    Flagged visits have the color of the mask. The arrow keys go from visit to visit.
    """

    visit_clicked = Signal(int)

    def __init__(self, height: int = 170) -> None:
        super().__init__()
        self._height = height
        self.points: Points | None = None
        self.current: int | None = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumHeight(height - 20)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        """Size that the layout starts from."""
        return QSize(280, self._height)

    def show_visits(self, points: Points | None) -> None:
        """Draw other visits, or nothing."""
        self.points = points
        self.update()

    def show_visit(self, visit: int | None) -> None:
        """Mark the visit that the viewer shows."""
        if visit != self.current:
            self.current = visit
            self.update()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Go to the visit that was hit."""
        if event is not None and (visit := self._hit(event)) is not None:
            self.visit_clicked.emit(visit)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Go to the visit before or after."""
        step = 0 if event is None else STEPS.get(event.key(), 0)
        if event is None or not step or self.points is None or self.current is None:
            super().keyPressEvent(event)
            return
        visit = self.points.beside(self.current, step)
        if visit is not None:
            self.visit_clicked.emit(visit)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Say what is under the mouse."""
        if event is None or self.points is None:
            return
        visit = self._hit(event)
        self.setCursor(
            Qt.CursorShape.ArrowCursor if visit is None else Qt.CursorShape.PointingHandCursor
        )
        text = "" if visit is None else self.points.describe(visit)
        QToolTip.showText(event.globalPosition().toPoint(), text, self)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw axes, threshold and points."""
        if self.points is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        places = self.points.place(self.width(), self.height())
        self._draw_current(painter, places)
        if self.points.values is None:
            _draw_lane(self, painter, self.points, places)
        else:
            _draw_axes(self, painter, self.points)
            self._draw_threshold(painter, self.points)
            self._draw_line(painter, self.points, places)
        for visit, (x, y) in enumerate(places):
            self._draw_point(painter, self.points, visit, QPointF(x, y))
        painter.end()

    def _hit(self, event: QMouseEvent) -> int | None:
        where = event.position()
        if self.points is None:
            return None
        return self.points.nearest(where.x(), self.width(), self.height())

    def _color(self, alpha: int = 255) -> QColor:
        color = QColor(self.palette().color(self.foregroundRole()))
        color.setAlpha(alpha)
        return color

    def _draw_threshold(self, painter: QPainter, points: Points) -> None:
        if points.threshold is not None:
            y = TOP + (1 - points.threshold / points.top) * (self.height() - TOP - BOTTOM)
            painter.setPen(QPen(self._color(150), 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(LEFT, y), QPointF(self.width() - RIGHT, y))

    def _draw_current(self, painter: QPainter, places: NDArray[np.float64]) -> None:
        if self.current is not None and self.current < len(places):
            x = places[self.current, 0]
            painter.setPen(QPen(ACCENT, 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(x, TOP), QPointF(x, self.height() - BOTTOM))

    def _draw_line(self, painter: QPainter, points: Points, places: NDArray[np.float64]) -> None:
        order = [v for v in np.argsort(points.ages, kind="stable") if not points.without_value[v]]
        painter.setPen(QPen(self._color(90), 1.5))
        painter.drawPolyline(QPolygonF([QPointF(*places[visit]) for visit in order]))

    def _draw_point(self, painter: QPainter, points: Points, visit: int, where: QPointF) -> None:
        radius = points.radius(self.width())
        color = FLAGGED if points.flags(visit) else self._color()
        painter.setPen(QPen(ACCENT if visit == self.current else color, 1.5))
        if points.without_value[visit]:
            for dx in (-radius, radius):
                painter.drawLine(where + QPointF(dx, -radius), where + QPointF(-dx, radius))
            return
        background = self.palette().color(self.backgroundRole())
        painter.setBrush(color if points.is_observed[visit] else background)
        painter.drawEllipse(where, radius, radius)


def _draw_axes(plot: TimelinePlot, painter: QPainter, points: Points) -> None:
    left, bottom = LEFT, plot.height() - BOTTOM
    painter.setPen(QPen(plot._color(110), 1))
    painter.drawLine(left, TOP, left, bottom)
    painter.drawLine(left, bottom, plot.width() - RIGHT, bottom)
    painter.setPen(plot._color(200))
    align, middle = Qt.AlignmentFlag, Qt.AlignmentFlag.AlignVCenter
    painter.drawText(
        QRectF(0, TOP - 8, left - 6, 16), align.AlignRight | middle, f"{points.top / 1.1:.3g}"
    )
    painter.drawText(QRectF(0, bottom - 8, left - 6, 16), align.AlignRight | middle, "0")
    low, high = f"{points.ages.min():.1f}", f"{points.ages.max():.1f}"
    row = QRectF(left - 10, bottom + 4, plot.width() - left - RIGHT + 20, 14)
    painter.drawText(row, align.AlignLeft | middle, low)
    painter.drawText(row, align.AlignRight | middle, high if high != low else "")
    painter.drawText(row.translated(0, 13), align.AlignHCenter | middle, "age")
    painter.save()
    painter.translate(0, bottom)
    painter.rotate(-90)
    painter.drawText(QRectF(0, 0, bottom - TOP, 14), align.AlignCenter, "score")
    painter.restore()


def _draw_lane(
    plot: TimelinePlot, painter: QPainter, points: Points, places: NDArray[np.float64]
) -> None:
    """Axis through the visits, and below it as many ages as there is room for."""
    left, y = MARGIN, places[0, 1]
    painter.setPen(QPen(plot._color(90), 1.5))
    painter.drawLine(QPointF(left, y), QPointF(plot.width() - MARGIN, y))
    painter.setPen(plot._color(200))
    center = Qt.AlignmentFlag.AlignCenter
    for visit in _with_room(places[:, 0]):
        text = f"{points.ages[visit]:.1f}" if points.ages_known else f"{visit + 1}"
        painter.drawText(QRectF(places[visit, 0] - 24, y + 9, 48, 14), center, text)
    word = "age" if points.ages_known else "visit"
    painter.drawText(QRectF(0, y + 23, plot.width(), 14), center, word)


def _with_room(columns: NDArray[np.float64]) -> list[int]:
    """Visits whose ages can be written side by side: the first, the last, and some between."""
    first, *between = np.argsort(columns, kind="stable").tolist()
    last = between.pop() if between else first
    shown = [first]
    for visit in between:
        if min(columns[visit] - columns[shown[-1]], columns[last] - columns[visit]) >= ROOM:
            shown.append(visit)
    return [*shown, last] if columns[last] - columns[first] >= ROOM else shown
