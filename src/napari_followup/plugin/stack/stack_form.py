"""What is said of a stack as a whole: whose it is, and what its files do not say."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLineEdit, QWidget

from napari_followup.plugin.forms.forms import add_row, new_form
from napari_followup.plugin.forms.series_input import MEANINGS
from napari_followup.plugin.stack.stack_rows import Options

__all__ = ["StackForm", "parse_spacing"]

SINGLE = {"zyx": "z, y, x: one visit", "yx": "y, x: one visit"}


class StackForm(QWidget):
    """Subject and axes, asked for where they are in doubt; name, modality, spacing, unit, grid."""

    changed = Signal()
    subject_chosen = Signal(str)
    axes_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.subject_combo, self.axes_combo = QComboBox(), QComboBox()
        self.name_edit, self.modality_edit = QLineEdit(), QLineEdit()
        self.spacing_edit, self.birth_edit = QLineEdit(), QLineEdit()
        self.unit_combo = QComboBox()
        self.unit_combo.addItems(["pixel", "mm"])
        self.onto_first = QCheckBox("bring visits onto the first one's grid")
        self._lay_out()
        self._connect()

    def options(self) -> Options:
        """Take what is set.

        Raises
        ------
        ValueError
            If the spacing cannot be read.
        """
        return Options(
            name=self.name_edit.text().strip() or self.name_edit.placeholderText(),
            subject=self.subject_combo.currentData() or "",
            modality=self.modality_edit.text().strip(),
            spacing=parse_spacing(self.spacing_edit.text()),
            unit=self.unit_combo.currentText(),
            birth=self.birth_edit.text().strip(),
            onto_first=self.onto_first.isChecked(),
        )

    def show_subjects(self, names: Sequence[str], chosen: str, usual: str) -> None:
        """Offer the subjects, where there are several; `usual` names the stack without a name."""
        with QSignalBlocker(self.subject_combo):
            self.subject_combo.clear()
            self.subject_combo.addItem("choose …", "")
            for name in names:
                self.subject_combo.addItem(name, name)
            self.subject_combo.setCurrentIndex(max(self.subject_combo.findData(chosen), 0))
        self._form.setRowVisible(self.subject_combo, len(names) > 1)
        self.name_edit.setPlaceholderText(usual)

    def show_axes(self, choices: Sequence[str], chosen: str | None) -> None:
        """Ask what the axes are, where that is in doubt."""
        with QSignalBlocker(self.axes_combo):
            self.axes_combo.clear()
            self.axes_combo.addItem("choose …", "")
            for axes in choices:
                text = SINGLE.get(axes) or MEANINGS.get(axes, ", ".join(axes))
                self.axes_combo.addItem(text, axes)
            self.axes_combo.setCurrentIndex(max(self.axes_combo.findData(chosen), 0))
        self._form.setRowVisible(self.axes_combo, bool(choices))

    def _connect(self) -> None:
        self.subject_combo.currentIndexChanged.connect(
            lambda _: self.subject_chosen.emit(self.subject_combo.currentData() or "")
        )
        self.axes_combo.currentIndexChanged.connect(
            lambda _: self.axes_chosen.emit(self.axes_combo.currentData() or "")
        )
        edits = (self.name_edit, self.modality_edit, self.spacing_edit, self.birth_edit)
        for edit in edits:
            edit.textChanged.connect(self.changed)
        self.unit_combo.currentIndexChanged.connect(self.changed)
        self.onto_first.toggled.connect(self.changed)

    def _lay_out(self) -> None:
        self._form = new_form(self)
        size = QHBoxLayout()
        size.addWidget(self.spacing_edit, stretch=1)
        size.addWidget(self.unit_combo)
        self.subject_combo.setToolTip("Whose visits make the stack")
        self.axes_combo.setToolTip("What the axes are of files and layers that do not say")
        self.modality_edit.setPlaceholderText("as the table and files say")
        self.modality_edit.setToolTip("Kind of image, for rows that name none, such as FLAIR")
        self.spacing_edit.setPlaceholderText("z, y, x: as the files say")
        self.spacing_edit.setToolTip("Size of a voxel, for images that do not know their own")
        self.unit_combo.setToolTip("Unit of the spacing, for images that do not know their own")
        self.birth_edit.setPlaceholderText("ages count from the first date")
        self.birth_edit.setToolTip("Date of birth, where visits have dates: 1958-12-31")
        self.onto_first.setToolTip(
            "Resample by the places that the files give; nothing is registered. "
            "Align visits does that."
        )
        add_row(self._form, "subject", self.subject_combo)
        add_row(self._form, "axes", self.axes_combo)
        add_row(self._form, "name", self.name_edit)
        add_row(self._form, "modality", self.modality_edit)
        add_row(self._form, "spacing", size)
        add_row(self._form, "date of birth", self.birth_edit)
        add_row(self._form, "", self.onto_first)
        self.show_subjects((), "", "stack")
        self.show_axes((), None)


def parse_spacing(text: str) -> tuple[float, float, float] | None:
    """Read a voxel size as typed: ``"6, 0.9, 0.9"``, or one for all; none for no text.

    Raises
    ------
    ValueError
        If it is no such thing.
    """
    words = text.replace(",", " ").replace("×", " ").replace(";", " ").split()
    if not words:
        return None
    try:
        sizes = [float(word) for word in words]
    except ValueError:
        sizes = []
    sizes = sizes * 3 if len(sizes) == 1 else sizes
    sizes = [1.0, *sizes] if len(sizes) == 2 else sizes
    if len(sizes) != 3 or not all(0 < size < float("inf") for size in sizes):
        raise ValueError(
            f"spacing: cannot read {text!r}; write the size of a voxel as in 6, 0.9, 0.9 (z, y, x)"
        )
    return sizes[0], sizes[1], sizes[2]
