"""The widget *Align visits*: bring the visits of a subject onto one grid, ready to compare.

In a script::

    dock, widget = viewer.window.add_plugin_dock_widget("napari-followup", "Align visits")
    widget.step.finished.connect(lambda: print(widget.step.error or widget.step.layers))
    widget.step.run()
"""

from __future__ import annotations

import weakref
from importlib.util import find_spec
from itertools import combinations
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_followup.plugin.align.align_visits import AlignPlan, align_layers
from napari_followup.plugin.align.gathered import (
    Gathered,
    gathered,
    holds_one_visit,
    visit_source,
    with_ages,
)
from napari_followup.plugin.forms.forms import (
    ElidingCombo,
    NumberBox,
    add_row,
    column_of,
    new_form,
    scrolled_column_of,
)
from napari_followup.plugin.forms.layer_list import LayerList
from napari_followup.plugin.forms.mask_combo import MaskCombo
from napari_followup.plugin.forms.series_input import SeriesInput, age_range, counted, unwrapped
from napari_followup.plugin.layers.layers import LayerTuple, about, parse_ages, source_of
from napari_followup.plugin.layers.visit_text import VisitText
from napari_followup.plugin.results.step_panel import StepPanel, Work
from napari_followup.plugin.run.report import Report
from napari_followup.plugin.run.run_form import MODES
from napari_followup.series.grid import ORDERS

__all__ = [
    "AlignForm",
    "AlignWidget",
    "VisitsInput",
    "has_simpleitk",
]


class AlignWidget(QWidget):
    """Align visits; `step` has `run`, `stop`, `finished`, `layers` and `error`.

    Attributes
    ----------
    visits, form
        The parts: the layers, and the steps with their settings.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrapped(napari_viewer))
        self.visits = VisitsInput(napari_viewer)
        self.form = AlignForm(napari_viewer)
        self.step = StepPanel(
            napari_viewer, "Align visits", self._work, uses=lambda: self.visits.layers
        )
        self._visit_text = VisitText(napari_viewer)
        scrolled_column_of(self, self.visits, self.form, self.step)
        self.visits.changed.connect(self._on_visits)
        self.visits.layer_removed.connect(self.step.stop_without)
        self.step.finished.connect(self._on_finished)
        self._visit_text.follow(self)
        self._on_visits()

    def _work(self) -> Work:
        visits, plan, given = self.visits.gathered(), self.form.plan, self.form.mask_combo.given
        if plan.needs_simpleitk and not has_simpleitk():
            raise ValueError(MISSING)
        self.step.update_existing = self.form.update_existing

        def work(report: Report) -> list[LayerTuple]:
            return align_layers(visits, plan, given, report=report)

        return work

    def _on_visits(self) -> None:
        if not self.step.job.is_running:
            self.step.job.say("")  # what was said was about what was chosen before
        try:
            self.form.show_visits(self.visits.gathered())
        except ValueError:
            self.form.show_visits(None)
        self._visit_text.know(self.visits.series.layers.layer, self.visits.series.visits)

    def _on_finished(self) -> None:
        """Show the result alone: the visits it came of lie elsewhere."""
        viewer = self._viewer()
        if viewer is None or not self.step.layers:
            return
        for layer in self.step.used:
            if layer in viewer.layers:
                layer.visible = False
        viewer.layers.selection.active = self.step.layers[0]


NO_MASK, BRAIN = "none", "brain (simple)"
MISSING = (
    "Registration and the correction of shading need SimpleITK, which is not installed: "
    'pip install "napari-followup[mri]", then start napari again.'
)


def has_simpleitk() -> bool:
    """Whether SimpleITK is installed; it is not imported."""
    try:
        return find_spec("SimpleITK") is not None
    except ValueError:  # put out of the way in sys.modules
        return False


class AlignForm(QWidget):
    """Which steps to take, and how."""

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.missing = QLabel("" if has_simpleitk() else MISSING)
        self.missing.setWordWrap(True)
        self.missing.setStyleSheet("color: #e5533d;")
        self.missing.setVisible(not has_simpleitk())
        self.register, self.reference = QCheckBox("onto"), ElidingCombo()
        self.modality = QComboBox()
        self.isotropic, self.spacing = QCheckBox("isotropic"), NumberBox(0.01, 1000)
        self.shading = QCheckBox("even out shading (N4)")
        self.mask_combo = MaskCombo(viewer, NO_MASK, BRAIN)
        self.blank = QCheckBox("set the rest to 0")
        self.scale, self.percentile = QCheckBox("percentile to 1"), NumberBox(1, 100)
        self.crop, self.margin = QCheckBox("cut, margin"), NumberBox(0, 1000)
        self.rows = new_form()
        self.interpolation, self.seed, self.mode = QComboBox(), QSpinBox(), QComboBox()
        _set_defaults(self)
        _lay_out(self)
        self._connect()
        self._on_steps()

    @property
    def plan(self) -> AlignPlan:
        """What is chosen."""
        mask = {NO_MASK: "none", BRAIN: "brain"}.get(self.mask_combo.chosen, "given")
        chosen = self.reference.currentIndex() - 1
        return AlignPlan(
            register=self.register.isChecked(),
            reference=None if chosen < 0 else chosen,
            modality=max(self.modality.currentIndex(), 0),
            interpolation=self.interpolation.currentText(),
            seed=self.seed.value(),
            spacing=self.spacing.value() if self.isotropic.isChecked() else None,
            even_shading=self.shading.isChecked(),
            mask=mask,
            blank_outside=self.blank.isChecked(),
            percentile=self.percentile.value() if self.scale.isChecked() else None,
            margin=self.margin.value() if self.crop.isChecked() else None,
        )

    @property
    def update_existing(self) -> bool:
        """Whether the layers of an earlier run are filled anew."""
        return MODES[self.mode.currentText()]

    def show_visits(self, visits: Gathered | None) -> None:
        """Offer these visits as reference, and their modalities."""
        places, names = ([], []) if visits is None else (visits.places, visits.names)
        ages = ["" if age is None else f", age {age:.4g}" for *_, age in places]
        _refill(
            self.reference, ["the first visit", *(f"visit {n}{a}" for n, a in enumerate(ages, 1))]
        )
        _refill(self.modality, names)
        self.rows.setRowVisible(self.modality, len(names) > 1)
        if visits is not None and not self.isotropic.isChecked():
            self.spacing.setValue(round(min(visits.groups[0][0].spacing), 3))

    def _on_steps(self, _: object = None) -> None:
        self.spacing.setEnabled(self.isotropic.isChecked())
        self.percentile.setEnabled(self.scale.isChecked())
        self.margin.setEnabled(self.crop.isChecked())
        self.blank.setEnabled(self.mask_combo.chosen != NO_MASK)
        self.changed.emit()

    def _connect(self) -> None:
        for box in (self.register, self.isotropic, self.shading, self.scale, self.crop):
            box.toggled.connect(self._on_steps)
        self.mask_combo.currentIndexChanged.connect(self._on_steps)


def _set_defaults(form: AlignForm) -> None:
    for box in (form.register, form.shading):
        box.setEnabled(has_simpleitk())
    form.register.setChecked(has_simpleitk())
    form.register.setToolTip("Turn and shift every visit onto this one, and resample it")
    form.reference.setToolTip("Stays as it is; its grid is that of the result")
    form.modality.setToolTip("Looked at for registration and for the brain; the others go along")
    form.isotropic.setToolTip("Voxels of one size in all directions, instead of the reference's")
    form.spacing.setValue(1.0)
    form.spacing.setToolTip("Size of the voxels, in the layer's unit")
    form.shading.setToolTip("Divide by the smooth shading that the scanner gave the image")
    form.mask_combo.setToolTip("Of the reference: a rough brain mask, or labels that you painted")
    form.blank.setChecked(True)
    form.blank.setToolTip("Set voxels outside the mask to 0")
    form.percentile.setValue(99.0)
    form.percentile.setToolTip("Percentile of each image's foreground, which becomes 1")
    form.margin.setValue(5.0)
    form.margin.setToolTip("Left around the mask, or the subject, in the layer's unit")
    form.interpolation.addItems(list(ORDERS))
    form.interpolation.setCurrentText("linear")
    form.seed.setRange(0, 2**31 - 2)
    form.seed.setToolTip("Chooses the voxels that registration looks at")
    form.mode.addItems(list(MODES))


def _lay_out(form: AlignForm) -> None:
    more, inner = QWidget(), QCollapsible("advanced", expandedIcon="▾")
    inner.setCollapsedIcon("▸")
    add_row(form.rows, "registration", _row(form.register, form.reference))
    add_row(form.rows, "modality", form.modality)
    add_row(form.rows, "voxels", _row(form.isotropic, form.spacing))
    add_row(form.rows, "shading", form.shading)
    add_row(form.rows, "mask", form.mask_combo)
    add_row(form.rows, "", form.blank)
    add_row(form.rows, "intensities", _row(form.scale, form.percentile))
    add_row(form.rows, "field of view", _row(form.crop, form.margin))
    rows = new_form(more)
    add_row(rows, "interpolation", form.interpolation)
    add_row(rows, "seed", form.seed)
    add_row(rows, "then", form.mode)
    inner.addWidget(more)
    column_of(form, form.missing, form.rows, inner)
    layout = form.layout()
    assert layout is not None
    layout.setContentsMargins(0, 0, 0, 0)


def _row(*parts: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for number, part in enumerate(parts):
        row.addWidget(part, stretch=1 if number == 1 or not isinstance(part, QCheckBox) else 0)
    return row


def _refill(combo: QComboBox, texts: list[str]) -> None:
    """Offer other texts; the choice stays where it still is one."""
    if [combo.itemText(index) for index in range(combo.count())] == texts:
        return
    before = combo.currentText()
    combo.clear()
    combo.addItems(texts)
    combo.setCurrentIndex(max(combo.findText(before), 0) if texts else -1)


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
        _stack_parts(self, top, self.series, self._form)
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
        return gathered(with_ages(sources, _ages(self.ages_edit.text())), one_stack=False)

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


def _stack_parts(widget: QWidget, *parts: QFormLayout | QWidget) -> None:
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


def _ages(text: str) -> Any:
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
