"""The widget *Compare visits*: map what changed from one visit to another.

In a script::

    dock, widget = viewer.window.add_plugin_dock_widget("napari-followup", "Compare visits")
    widget.chosen = (0, 2)
    widget.step.finished.connect(lambda: print(widget.step.error or widget.step.layers))
    widget.step.run()
"""

from __future__ import annotations

from typing import Any

from qtpy.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent
from qtpy.QtWidgets import QComboBox, QLabel, QVBoxLayout, QWidget

from napari_followup.plugin.compare.compare_visits import (
    COLORS,
    STOPS,
    compare_visits,
    full_scale,
    is_of_change,
)
from napari_followup.plugin.forms.fields import Hint, controls_of
from napari_followup.plugin.forms.forms import add_row, new_form, scrolled_column_of
from napari_followup.plugin.forms.layer_choices import MaskCombo
from napari_followup.plugin.forms.preferences import MODES
from napari_followup.plugin.forms.series_input import SeriesInput
from napari_followup.plugin.layers.layers import Source
from napari_followup.plugin.layers.visit_text import VisitText
from napari_followup.plugin.results.step_panel import StepPanel, Work

__all__ = ["CompareWidget"]

MASKS = {"none: the foreground": "foreground", "brain (simple)": "brain"}
# Settings of `compare_visits`; `_offer` fills the choices.
ROWS = {
    "first": Hint(label="from", choices=[("visit 1", 0)]),
    "second": Hint(label="to", choices=[("visit 2", 1)]),
    "modality": Hint(choices=[("modality 1", 0)]),
    "smoothing": Hint(between=(0.01, 100)),
    "threshold": Hint(between=(0.1, 1000)),
    "smallest": Hint(label="smallest size", between=(0, 1e6)),
    "regions": Hint(label="also show", text="regions as labels"),
}
MEANING = (
    "Change in units of noise, the spread of what did not change. "
    "Positive: brighter at the later visit; negative: darker. Transparent below half the threshold."
)
HEIGHT = 12  # pixels


class CompareWidget(QWidget):
    """Compare two visits; `step` has `run`, `stop`, `finished`, `layers` and `error`.

    Attributes
    ----------
    series, controls, mask_combo
        The parts: layer, axes and ages; one control a setting, as ``controls["threshold"].value``;
        where to look.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.series = SeriesInput(napari_viewer, results=("aligned", ""), leave_out=is_of_change)
        self.controls = controls_of(compare_visits, ROWS)
        self.mask_combo = MaskCombo(napari_viewer, *MASKS, leave_out=is_of_change)
        self.mask_combo.setToolTip("Where to look")
        self.mode, self.rows, self.legend = QComboBox(), new_form(), ChangeLegend()
        self.mode.addItems(list(MODES))
        self.step = StepPanel(
            napari_viewer, "Compare visits", self._work, uses=lambda: [self.series.layers.layer]
        )
        self._names: list[str] | None = None  # of the visits to choose from
        self._visit_text = VisitText(napari_viewer)
        for name, hint in ROWS.items():
            add_row(self.rows, hint.label or name, self.controls[name].native)
        self.rows.insertRow(3, QLabel("mask"), self.mask_combo)
        add_row(self.rows, "then", self.mode)
        scrolled_column_of(self, self.series, self.rows, self.step, self.legend)
        self.series.changed.connect(self._on_series)
        self.series.layer_removed.connect(self.step.stop_without)
        self.controls["threshold"].changed.connect(self.legend.show_threshold)
        self.legend.show_threshold(self.controls["threshold"].value)
        self._visit_text.follow(self)
        self._on_series()

    @property
    def chosen(self) -> tuple[int, int]:
        """Positions of the two visits in the layer, from 0."""
        return self.controls["first"].value, self.controls["second"].value

    @chosen.setter
    def chosen(self, visits: tuple[int, int]) -> None:
        count = len(self._names or ())
        for name, visit in zip(("first", "second"), visits, strict=True):
            if not 0 <= visit < count:
                raise ValueError(f"visit {visit}: the layer has {count}, counted from 0")
            self.controls[name].value = visit

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments of `compare_visits`."""
        mask = MASKS.get(self.mask_combo.chosen, self.mask_combo.given)
        return {**{name: each.value for name, each in self.controls.items()}, "mask": mask}

    def _work(self) -> Work:
        source = self.series.source()
        if _count(source, "v") < 2:
            raise ValueError(
                f"{source.name!r} holds one visit; run Align visits on the layers of several, "
                "and compare in its result"
            )
        settings = self.settings
        self.step.update_existing = MODES[self.mode.currentText()]
        return lambda report: compare_visits(source, report=report, **settings)

    def _on_series(self) -> None:
        if not self.step.job.is_running:
            self.step.job.show_text("")  # it was about the previous choice
        try:
            self._offer(self.series.source())
        except ValueError:
            self._offer(None)
        self._visit_text.know(self.series.layers.layer, self.series.visits)

    def _offer(self, source: Source | None) -> None:
        """Offer the visits and modalities of a layer."""
        names = [] if source is None else _visit_names(source)
        if names != self._names:
            self._names = names
            for name, visit in (("first", 0), ("second", len(names) - 1)):
                self.controls[name].choices = [(text, place) for place, text in enumerate(names)]
                if names:
                    self.controls[name].value = visit
        modalities = 1 if source is None or "m" not in source.axes else _count(source, "m")
        self.controls["modality"].choices = [(f"modality {n + 1}", n) for n in range(modalities)]
        self.rows.setRowVisible(self.controls["modality"].native, modalities > 1)


class _Bar(QWidget):
    """The colours from darker to brighter, on black."""

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
    """The colour bar of a change map, with numbers and a sentence."""

    def __init__(self) -> None:
        super().__init__()
        self.bar, self.numbers, self.meaning = _Bar(), QLabel(), QLabel(MEANING)
        self.meaning.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.bar, self.numbers, self.meaning):
            layout.addWidget(part)

    def show_threshold(self, threshold: float) -> None:
        """Write the numbers for a threshold."""
        top = full_scale(threshold)
        self.numbers.setText(
            '<table width="100%"><tr>'
            f'<td>−{top:g}</td><td align="center">0</td><td align="right">+{top:g}</td>'
            "</tr></table>"
        )


def _count(source: Source, axis: str) -> int:
    return int(source.data.shape[source.axes.index(axis)])


def _visit_names(source: Source) -> list[str]:
    """Visits of a layer of one subject, as the combo boxes show them."""
    if "s" in source.axes:
        return []
    numbers = range(_count(source, "v"))
    ages = ["" if source.ages is None else f", age {source.ages[visit]:.1f}" for visit in numbers]
    return [f"visit {number}{age}" for number, age in enumerate(ages, start=1)]
