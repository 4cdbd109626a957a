"""Steps and settings of *Align visits*, as a form."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QSpinBox, QWidget
from superqt import QCollapsible

from napari_followup.plugin.align.align_actions import AlignPlan
from napari_followup.plugin.align.gathered import Gathered
from napari_followup.plugin.forms.forms import ElidingCombo, NumberBox, add_row, column_of, new_form
from napari_followup.plugin.forms.mask_combo import MaskCombo
from napari_followup.plugin.run.run_form import MODES
from napari_followup.series.grid import ORDERS

__all__ = ["AlignForm", "has_simpleitk"]

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
