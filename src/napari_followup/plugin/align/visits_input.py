"""Choose the visits to align: one layer that holds them all, or a layer a visit."""

from __future__ import annotations

import weakref
from itertools import combinations
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_followup.plugin.align.gathered import (
    Gathered,
    gathered,
    holds_one_visit,
    visit_source,
    with_ages,
)
from napari_followup.plugin.forms.forms import add_row, new_form
from napari_followup.plugin.forms.layer_list import LayerList
from napari_followup.plugin.forms.series_input import SeriesInput, age_range, counted, unwrapped
from napari_followup.plugin.layers.layers import about, parse_ages, source_of

__all__ = ["VisitsInput"]

ONE, SEVERAL = "one layer", "several layers, one a visit"


class VisitsInput(QWidget):
    """Layers that together are the visits of one subject.

    Attributes
    ----------
    mode
        "one layer" or "several layers, one a visit".
    series
        The one layer, with its axes and ages.
    others
        Other modalities of the one layer; or the layers of the visits.
    """

    changed = Signal()
    layer_removed = Signal(object)

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrapped(viewer))
        self.mode = QComboBox()
        self.mode.addItems([ONE, SEVERAL])
        self.series = SeriesInput(viewer)
        self.others = LayerList(viewer)
        self.ages_edit = QLineEdit()
        self.ages_edit.setPlaceholderText("as the layers say")
        self.ages_edit.setToolTip("Age at each checked visit, in years, in the order of the list")
        self.found = QLabel()
        self.found.setWordWrap(True)
        top, self._form = new_form(), new_form()
        add_row(top, "visits in", self.mode)
        add_row(self._form, "layers", self.others)
        add_row(self._form, "ages", self.ages_edit)
        add_row(self._form, "", self.found)
        _lay_out(self, top, self.series, self._form)
        self._connect()
        if self._are_apart():
            self.mode.setCurrentText(SEVERAL)
        self._on_mode()

    @property
    def in_one_layer(self) -> bool:
        """Whether one layer holds all visits."""
        return self.mode.currentText() == ONE

    @property
    def layers(self) -> list[Any]:
        """The layers that are used."""
        first = [self.series.layers.layer] if self.in_one_layer else []
        return [layer for layer in [*first, *self.others.layers] if layer is not None]

    def gathered(self) -> Gathered:
        """Take what is chosen.

        Raises
        ------
        ValueError
            If there is nothing, or it does not fit together.
        """
        if self.in_one_layer:
            first = self.series.source()
            more = [source_of(layer, axes=first.axes) for layer in self.others.layers]
            return gathered([first, *more], one_stack=True)
        sources = [visit_source(layer) for layer in self.others.layers]
        return gathered(with_ages(sources, _row(self.ages_edit.text())), one_stack=False)

    def _are_apart(self) -> bool:
        """Whether several layers hold a visit each of one subject, and none holds all of them."""
        layer = self.series.layers.layer
        single = [each for each in self._all() if holds_one_visit(each)]
        if layer is None or ("axes" in about(layer) and layer not in single):
            return False
        return any(_same_subject(one, other) for one, other in combinations(single, 2))

    def _on_mode(self, _: object = None) -> None:
        self.series.setVisible(self.in_one_layer)
        self._form.setRowVisible(self.ages_edit, not self.in_one_layer)
        self._offer()

    def _offer(self) -> None:
        """List the layers that can go together with the chosen one."""
        layer = self.series.layers.layer
        if self.in_one_layer:
            self.others.offer(
                lambda each: each is not layer and _is_modality_of(each, layer),
                lambda each: about(each).get("ages") == about(layer).get("ages"),
            )
        else:
            first = next((each for each in self._all() if holds_one_visit(each)), None)
            self.others.offer(
                _may_be_visit,
                lambda each: holds_one_visit(each) and _same_subject(each, first or each),
            )
        self._show_found()

    def _all(self) -> list[Any]:
        viewer = self._viewer()
        return [] if viewer is None else list(viewer.layers)

    def _on_inserted(self, event: Any = None) -> None:
        """Follow a reader that opens a layer a visit."""
        if self.in_one_layer and self._are_apart():
            self.mode.setCurrentText(SEVERAL)

    def _show_found(self, _: object = None) -> None:
        text = ""
        if not self.in_one_layer:
            try:
                text = _said(self.gathered())
            except ValueError as error:
                text = str(error)
        self.found.setText(text)
        self._form.setRowVisible(self.found, bool(text))
        self._form.setRowVisible(self.others, not self.in_one_layer or self.others.count() > 0)
        label = self._form.labelForField(self.others)
        if isinstance(label, QLabel):
            label.setText("modalities" if self.in_one_layer else "layers")
        self.changed.emit()

    def _connect(self) -> None:
        self.mode.currentIndexChanged.connect(self._on_mode)
        self.series.changed.connect(self._on_series)
        self.series.layer_removed.connect(self.layer_removed)
        self.series.layers.layer_changed.connect(self._offer)
        self.others.changed.connect(self._show_found)
        self.ages_edit.textChanged.connect(self._show_found)

    def _on_series(self) -> None:
        self._on_inserted()
        self._show_found()


def _lay_out(widget: QWidget, *parts: QFormLayout | QWidget) -> None:
    """One part below the other, without a gap at the end."""
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    widget.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
    for part in parts:
        if isinstance(part, QWidget):
            layout.addWidget(part)
        else:
            layout.addLayout(part)


def _same_subject(one: Any, other: Any) -> bool:
    subject = about(one).get("subject")
    return subject is not None and subject == about(other).get("subject")


def _is_modality_of(layer: Any, first: Any) -> bool:
    """Whether a layer says that it shows the same visits in another modality."""
    if first is None or "result" in about(layer):
        return False
    kinds = {about(each).get("modality") for each in (layer, first)}
    return _same_subject(layer, first) and len(kinds) == 2 and layer.data.shape == first.data.shape


def _may_be_visit(layer: Any) -> bool:
    """Whether a layer can be a visit by itself; results of ours are none."""
    if "result" in about(layer):
        return False
    return holds_one_visit(layer) or ("axes" not in about(layer) and layer.ndim in (2, 3))


def _row(text: str) -> Any:
    ages = parse_ages(text)
    return None if ages is None else ages.ravel()


def _said(found: Gathered) -> str:
    """Say what the checked layers are taken for."""
    count, ages = len(found.places), [age for *_, age in found.places]
    known = [age for age in ages if age is not None]
    start = counted(count, "visit")
    if len(found.names) > 1:
        start += f" of {len(found.names)} modalities"
    if len(known) < count:
        return f"{start}, ages not known: in the order of the list"
    return f"{start}, {age_range(known)}"
