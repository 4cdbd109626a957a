"""Ask which column of a table of visits holds what, where their names do not tell."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QWidget

from napari_followup.plugin.forms.forms import add_row, new_form
from napari_followup.plugin.stack.stack_rows import Listed

__all__ = ["ColumnsForm"]

ASKED = {
    "path": ("image file", "Path of each image, from the table's own folder"),
    "subject": ("subject", "Name of the subject; without it, the table is about one"),
    "visit": ("visit", "Name of the visit; rows of one visit share it"),
    "age": ("age", "Age at the visit, in years"),
    "date": ("date", "Date of the visit"),
    "birth": ("date of birth", "Ages at dates count from it"),
    "modality": ("modality", "Kind of image, such as FLAIR"),
}


class ColumnsForm(QWidget):
    """One box a meaning, with the table's columns; hidden until a table is unclear."""

    chosen = Signal(object, object)  # path, columns by what they hold

    def __init__(self) -> None:
        super().__init__()
        self._path: Path | None = None
        self.title = QLabel()
        self.title.setWordWrap(True)
        self.boxes = {what: QComboBox() for what in ASKED}
        self.use_button, self.leave_button = QPushButton("use these columns"), QPushButton("leave")
        form = new_form(self)
        form.addRow(self.title)
        for what, (label, about) in ASKED.items():
            self.boxes[what].setToolTip(about)
            add_row(form, label, self.boxes[what])
        buttons = QHBoxLayout()
        buttons.addWidget(self.use_button)
        buttons.addWidget(self.leave_button)
        add_row(form, "", buttons)
        self.boxes["path"].currentIndexChanged.connect(self._on_path)
        self.use_button.clicked.connect(self._on_use)
        self.leave_button.clicked.connect(self.hide)
        self.hide()

    def ask(self, found: Listed) -> None:
        """Show the columns of a table, those that are known chosen."""
        self._path = found.path
        self.title.setText(f"Which column of {found.path.name!r} holds what?")
        for what, box in self.boxes.items():
            box.clear()
            box.addItem("—", None)
            for name in found.names:
                box.addItem(name, name)
            box.setCurrentIndex(max(box.findData(found.columns.get(what)), 0))
        self._on_path()
        self.show()

    @property
    def columns(self) -> dict[str, str]:
        """Columns that were chosen, by what they hold."""
        return {what: box.currentData() for what, box in self.boxes.items() if box.currentData()}

    def _on_path(self, _: int = 0) -> None:
        self.use_button.setEnabled(self.boxes["path"].currentData() is not None)
        self.use_button.setToolTip("" if self.use_button.isEnabled() else "Choose the image file")

    def _on_use(self) -> None:
        self.hide()
        self.chosen.emit(self._path, self.columns)
