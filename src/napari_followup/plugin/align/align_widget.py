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
from qtpy.QtWidgets import QComboBox, QLabel, QLineEdit, QSizePolicy, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_followup.plugin.align.align_visits import align_visits
from napari_followup.plugin.align.gathered import Gathered, gather, holds_one_visit, may_be_visit
from napari_followup.plugin.forms.fields import Hint, controls_of
from napari_followup.plugin.forms.forms import add_row, column_of, new_form, scrolled_column_of
from napari_followup.plugin.forms.layer_choices import LayerList, MaskCombo, unwrapped
from napari_followup.plugin.forms.preferences import MODES
from napari_followup.plugin.forms.series_input import SeriesInput, age_range
from napari_followup.plugin.layers.layers import about, parse_ages
from napari_followup.plugin.layers.visit_text import VisitText
from napari_followup.plugin.results.step_panel import StepPanel, Work
from napari_followup.series.results import counted

__all__ = ["AlignWidget"]

MASKS = {"none": "none", "brain (simple)": "brain"}
FIRST = ("the first visit", None)
ONE, SEVERAL = "one layer", "several layers, one a visit"
MISSING = (
    "Registration and the correction of shading need SimpleITK, which is not installed: "
    'pip install "napari-followup[mri]", then start napari again.'
)
CONTROLS = {  # of the settings of `align_visits`
    "register": Hint(text="register the visits"),
    "reference": Hint(choices=[FIRST]),
    "modality": Hint(choices=[("modality 1", 0)]),
    "spacing": Hint(text="isotropic", start=1.0, between=(0.01, 1000)),
    "even_shading": Hint(text="correct the shading (N4)"),
    "blank_outside": Hint(text="set the rest to 0"),
    "percentile": Hint(text="percentile to 1", start=99.0, between=(1, 100)),
    "margin": Hint(text="crop, margin", start=5.0, between=(0, 1000)),
    "interpolation": Hint(),
    "seed": Hint(between=(0, 2**31 - 2)),
}
ROWS = {  # label and control; the mask stands before `blank_outside`
    "registration": "register",
    "reference": "reference",
    "modality": "modality",
    "voxels": "spacing",
    "shading": "even_shading",
    "mask": "mask",
    "": "blank_outside",
    "intensities": "percentile",
    "field of view": "margin",
}


class AlignWidget(QWidget):
    """Align visits; `step` has `run`, `stop`, `finished`, `layers` and `error`.

    Attributes
    ----------
    visits, form
        The parts: the layers, and the settings.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrapped(napari_viewer))
        self.visits, self.form = VisitsInput(napari_viewer), AlignForm(napari_viewer)
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
        visits, settings = self.visits.gathered(), self.form.settings
        if (settings["register"] or settings["even_shading"]) and not has_simpleitk():
            raise ValueError(MISSING)
        self.step.update_existing = MODES[self.form.mode.currentText()]
        return lambda report: align_visits(visits, report=report, **settings)

    def _on_visits(self) -> None:
        if not self.step.job.is_running:
            self.step.job.show_text("")  # it was about the previous choice
        try:
            self.form.show_visits(self.visits.gathered())
        except ValueError:
            self.form.show_visits(None)
        self._visit_text.know(self.visits.series.layers.layer, self.visits.series.visits)

    def _on_finished(self) -> None:
        """Show the result alone: the layers it was made of lie elsewhere."""
        viewer = self._viewer()
        if viewer is None or not self.step.layers:
            return
        for layer in self.step.used:
            if layer in viewer.layers:
                layer.visible = False
        viewer.layers.selection.active = self.step.layers[0]


def has_simpleitk() -> bool:
    """Whether SimpleITK is installed; it is not imported."""
    try:
        return find_spec("SimpleITK") is not None
    except ValueError:  # put out of the way in sys.modules
        return False


class AlignForm(QWidget):
    """Settings of `align_visits`.

    Attributes
    ----------
    controls
        One a setting, by its name: ``controls["spacing"].value``.
    mask_combo, mode
        The mask; whether the layers of an earlier run are updated.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.missing = QLabel("" if has_simpleitk() else MISSING)
        self.missing.setWordWrap(True)
        self.missing.setStyleSheet("color: #e5533d;")
        self.missing.setVisible(not has_simpleitk())
        self.controls = controls_of(align_visits, CONTROLS)
        self.mask_combo, self.mode = MaskCombo(viewer, *MASKS), QComboBox()
        self.mask_combo.setToolTip("Region to keep: a rough brain mask, or labels you painted")
        self.mode.addItems(list(MODES))
        for control in (self.controls["register"], self.controls["even_shading"]):
            control.enabled = has_simpleitk()
        self.controls["register"].value = has_simpleitk()
        self.rows = new_form()
        self._lay_out()
        self.mask_combo.currentIndexChanged.connect(self._on_mask)
        self._on_mask()

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments of `align_visits`."""
        mask = MASKS.get(self.mask_combo.chosen, self.mask_combo.given)
        return {**{name: each.value for name, each in self.controls.items()}, "mask": mask}

    def show_visits(self, visits: Gathered | None) -> None:
        """Offer these visits as reference, and their modalities."""
        places, names = ([], []) if visits is None else (visits.places, visits.names)
        ages = ["" if age is None else f", age {age:.4g}" for *_, age in places]
        found = [(f"visit {number + 1}{age}", number) for number, age in enumerate(ages)]
        self.controls["reference"].choices = [FIRST, *found]
        self.controls["modality"].choices = [
            (name, number) for number, name in enumerate(names or ["modality 1"])
        ]
        self.rows.setRowVisible(self.controls["modality"].native, len(names) > 1)
        spacing = self.controls["spacing"]
        if visits is not None and spacing.value is None:
            spacing.number.value = round(min(visits.groups[0][0].spacing), 3)

    def _on_mask(self, _: object = None) -> None:
        self.controls["blank_outside"].enabled = self.mask_combo.chosen != "none"

    def _lay_out(self) -> None:
        for label, name in ROWS.items():
            field = self.mask_combo if name == "mask" else self.controls[name].native
            add_row(self.rows, label, field)
        more, advanced = QWidget(), QCollapsible("advanced", expandedIcon="▾", collapsedIcon="▸")
        rows = new_form(more)
        for name in ("interpolation", "seed"):
            add_row(rows, name, self.controls[name].native)
        add_row(rows, "then", self.mode)
        advanced.addWidget(more)
        column_of(self, self.missing, self.rows, advanced)
        layout = self.layout()
        assert layout is not None  # it has just got one
        layout.setContentsMargins(0, 0, 0, 0)


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
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        layout.addLayout(top)
        layout.addWidget(self.series)
        layout.addLayout(self._form)
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
        """Sort the chosen layers into visits.

        Raises
        ------
        ValueError
            If no layer is chosen, or they do not fit together.
        """
        if not self.in_one_layer:
            ages = parse_ages(self.ages_edit.text())
            ages = None if ages is None else ages.ravel()
            return gather(self.others.layers, ages=ages, one_stack=False)
        first = self.series.source()
        return gather(self.layers, axes=first.axes, ages=first.ages, one_stack=True)

    def _are_apart(self) -> bool:
        """Whether several layers hold one visit each of a subject, and no layer holds all."""
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
        """List the layers that can be used with the chosen one."""
        layer = self.series.layers.layer
        if self.in_one_layer:
            self.others.offer(
                lambda each: each is not layer and _is_modality_of(each, layer),
                lambda each: about(each).get("ages") == about(layer).get("ages"),
            )
        else:
            first = next((each for each in self._all() if holds_one_visit(each)), None)
            self.others.offer(
                may_be_visit,
                lambda each: holds_one_visit(each) and _same_subject(each, first or each),
            )
        self._show_found()

    def _all(self) -> list[Any]:
        viewer = self._viewer()
        return [] if viewer is None else list(viewer.layers)

    def _on_inserted(self, event: Any = None) -> None:
        """Switch the mode if a reader opened one layer a visit."""
        if self.in_one_layer and self._are_apart():
            self.mode.setCurrentText(SEVERAL)

    def _show_found(self, _: object = None) -> None:
        text = ""
        if not self.in_one_layer:
            try:
                text = _summary(self.gathered())
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


def _same_subject(one: Any, other: Any) -> bool:
    subject = about(one).get("subject")
    return subject is not None and subject == about(other).get("subject")


def _is_modality_of(layer: Any, first: Any) -> bool:
    """Whether a layer shows the same visits in another modality, by its metadata."""
    if first is None or "result" in about(layer):
        return False
    kinds = {about(each).get("modality") for each in (layer, first)}
    return _same_subject(layer, first) and len(kinds) == 2 and layer.data.shape == first.data.shape


def _summary(found: Gathered) -> str:
    """Write which visits the checked layers are."""
    count, ages = len(found.places), [age for *_, age in found.places]
    known = [age for age in ages if age is not None]
    start = counted(count, "visit")
    if len(found.names) > 1:
        start += f" of {len(found.names)} modalities"
    if len(known) < count:
        return f"{start}, ages not known: in the order of the list"
    return f"{start}, {age_range(known)}"
