"""The widget *Compare visits*: map what changed from one visit to another.

In a script::

    dock, widget = viewer.window.add_plugin_dock_widget("napari-followup", "Compare visits")
    widget.chosen = (0, 2)
    widget.step.finished.connect(lambda: print(widget.step.error or widget.step.layers))
    widget.step.run()
"""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSignalBlocker
from qtpy.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QVBoxLayout, QWidget

from napari_followup.plugin.compare.compare_visits import (
    COLORS,
    STOPS,
    ComparePlan,
    compare_layers,
    full_scale,
    is_of_change,
)
from napari_followup.plugin.forms.forms import NumberBox, add_row, new_form, scrolled_column_of
from napari_followup.plugin.forms.mask_combo import MaskCombo
from napari_followup.plugin.forms.series_input import SeriesInput
from napari_followup.plugin.layers.layers import LayerTuple, Source
from napari_followup.plugin.layers.visit_text import VisitText
from napari_followup.plugin.results.step_panel import StepPanel, Work
from napari_followup.plugin.run.report import Report
from napari_followup.plugin.run.run_form import MODES

__all__ = [
    "ChangeLegend",
    "CompareWidget",
]

FOREGROUND, BRAIN = "none: the foreground", "brain (simple)"
MASKS = {FOREGROUND: "foreground", BRAIN: "brain"}


class CompareWidget(QWidget):
    """Compare two visits; `step` has `run`, `stop`, `finished`, `layers` and `error`.

    Attributes
    ----------
    series, earlier, later, mask_combo
        The parts: layer, axes and ages; the two visits; where to look.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.series = SeriesInput(napari_viewer, results=("aligned", ""), leave_out=is_of_change)
        self.earlier, self.later, self.modality = QComboBox(), QComboBox(), QComboBox()
        self.mask_combo = MaskCombo(napari_viewer, *MASKS, leave_out=is_of_change)
        self.smoothing, self.threshold = NumberBox(0.01, 100), NumberBox(0.1, 1000)
        self.smallest, self.regions = NumberBox(0, 1e6), QCheckBox("regions as labels")
        self.mode, self.rows = QComboBox(), new_form()
        self.legend = ChangeLegend()
        self.step = StepPanel(
            napari_viewer,
            "Compare visits",
            self._work,
            uses=lambda: [self.series.layers.layer],
        )
        self._visit_text = VisitText(napari_viewer)
        _set_defaults(self)
        _lay_out(self)
        self._connect()

    @property
    def chosen(self) -> tuple[int, int]:
        """Positions of the two visits in the layer, from 0."""
        return self.earlier.currentIndex(), self.later.currentIndex()

    @chosen.setter
    def chosen(self, visits: tuple[int, int]) -> None:
        for combo, visit in zip((self.earlier, self.later), visits, strict=True):
            if not 0 <= visit < combo.count():
                raise ValueError(f"visit {visit}: the layer has {combo.count()}, counted from 0")
            combo.setCurrentIndex(visit)

    @property
    def plan(self) -> ComparePlan:
        """What is chosen."""
        return ComparePlan(
            visits=self.chosen,
            modality=max(self.modality.currentIndex(), 0),
            smoothing=self.smoothing.value(),
            mask=MASKS.get(self.mask_combo.chosen, "given"),
            threshold=self.threshold.value(),
            smallest=self.smallest.value(),
            regions=self.regions.isChecked(),
        )

    def _work(self) -> Work:
        source, plan, given = self.series.source(), self.plan, self.mask_combo.given
        if _visits(source) < 2:
            raise ValueError(
                f"{source.name!r} holds one visit; run Align visits on the layers of several, "
                "and compare in its result"
            )
        self.step.update_existing = MODES[self.mode.currentText()]

        def work(report: Report) -> list[LayerTuple]:
            return compare_layers(source, plan, given, report=report)

        return work

    def _on_series(self) -> None:
        if not self.step.job.is_running:
            self.step.job.say("")  # what was said was about what was chosen before
        try:
            source = self.series.source()
        except ValueError:
            source = None
        self._fill(source)
        self._visit_text.know(self.series.layers.layer, self.series.visits)

    def _fill(self, source: Source | None) -> None:
        names = [] if source is None else _visit_names(source)
        modalities = [] if source is None or "m" not in source.axes else _modality_names(source)
        for combo, texts in (
            (self.earlier, names),
            (self.later, names),
            (self.modality, modalities),
        ):
            if [combo.itemText(index) for index in range(combo.count())] != texts:
                with QSignalBlocker(combo):
                    combo.clear()
                    combo.addItems(texts)
                    combo.setCurrentIndex(len(texts) - 1 if combo is self.later else 0)
        self.rows.setRowVisible(self.modality, len(modalities) > 1)

    def _connect(self) -> None:
        self.series.changed.connect(self._on_series)
        self.series.layer_removed.connect(self.step.stop_without)
        self.threshold.valueChanged.connect(self.legend.show_threshold)
        self._visit_text.follow(self)
        self.legend.show_threshold(self.threshold.value())
        self._on_series()


def _set_defaults(widget: CompareWidget) -> None:
    plan = ComparePlan()
    widget.smoothing.setValue(plan.smoothing)
    widget.smoothing.setToolTip("Standard deviation of the smoothing, in the layer's unit")
    widget.threshold.setValue(plan.threshold)
    widget.threshold.setToolTip("Change from which a voxel counts, in units of noise")
    widget.smallest.setValue(plan.smallest)
    widget.smallest.setToolTip("Smaller regions are left out; mm³, mm² of planes, or voxels")
    widget.regions.setChecked(plan.regions)
    widget.mask_combo.setToolTip("Where to look")
    widget.mode.addItems(list(MODES))


def _lay_out(widget: CompareWidget) -> None:
    rows: list[tuple[str, QWidget]] = [
        ("from", widget.earlier),
        ("to", widget.later),
        ("modality", widget.modality),
        ("mask", widget.mask_combo),
        ("smoothing", widget.smoothing),
        ("threshold", widget.threshold),
        ("least size", widget.smallest),
        ("also show", widget.regions),
        ("then", widget.mode),
    ]
    for text, field in rows:
        add_row(widget.rows, text, field)
    scrolled_column_of(widget, widget.series, widget.rows, widget.step, widget.legend)


def _visits(source: Source) -> int:
    return int(source.data.shape[source.axes.index("v")])


def _visit_names(source: Source) -> list[str]:
    """Visits of a layer of one subject, as the combo boxes show them."""
    if "s" in source.axes:
        return []
    ages = source.ages
    told = ["" if ages is None else f", age {ages[visit]:.1f}" for visit in range(_visits(source))]
    return [f"visit {number}{age}" for number, age in enumerate(told, start=1)]


def _modality_names(source: Source) -> list[str]:
    count = source.data.shape[source.axes.index("m")]
    return [f"modality {number + 1}" for number in range(count)]


MEANING = (
    "Change in units of noise, the spread of what did not change. "
    "Positive: brighter at the later visit; negative: darker. Transparent below half the threshold."
)
HEIGHT = 12  # pixels


class _Bar(QWidget):
    """The colours from darker to brighter, on black as over an image."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(HEIGHT)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the colours along the whole width."""
        gradient = QLinearGradient(0, 0, self.width(), 0)
        for stop, text in zip(STOPS, COLORS, strict=True):
            color = QColor(text[:7])
            color.setAlpha(int(text[7:] or "ff", 16))
            gradient.setColorAt(stop, color)
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor("black"))
        painter.fillRect(self.rect(), gradient)
        painter.end()


class ChangeLegend(QWidget):
    """A bar of the colours with its numbers, and a sentence."""

    def __init__(self) -> None:
        super().__init__()
        self.bar, self.numbers, self.meaning = _Bar(), QLabel(), QLabel(MEANING)
        self.meaning.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.bar, self.numbers, self.meaning):
            layout.addWidget(part)

    def show_threshold(self, threshold: float) -> None:
        """Say where the colours end."""
        top = full_scale(threshold)
        self.numbers.setText(
            '<table width="100%"><tr>'
            f'<td>−{top:g}</td><td align="center">0</td><td align="right">+{top:g}</td>'
            "</tr></table>"
        )
