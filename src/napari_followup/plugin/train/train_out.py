"""Where a training goes: its folder, and whether there is one in it to go on with."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_followup.plugin.forms.forms import add_row, new_form
from napari_followup.plugin.train.train_actions import TrainChoice
from napari_followup.plugin.train.train_folder import RunFolder, free_folder, run_folder, unlike

__all__ = ["TrainOut"]


class TrainOut(QWidget):
    """The folder of a training.

    Attributes
    ----------
    run
        What the folder holds.
    """

    changed = Signal()
    settings_wanted = Signal(object)  # those noted in the folder

    def __init__(self) -> None:
        super().__init__()
        self._name, self._is_own = "", False
        self._choice: TrainChoice | None = None
        self.run = RunFolder(path=Path())
        self.edit, self.button, self.said = QLineEdit(), QPushButton("…"), QLabel()
        self.take_button = QPushButton("Use its settings")
        self.new_button = QPushButton("New folder")
        self.said.setWordWrap(True)
        _lay_out(self)
        self.edit.textEdited.connect(self._on_edited)
        self.button.clicked.connect(self._on_clicked)
        self.take_button.clicked.connect(lambda: self.settings_wanted.emit(self.run.noted))
        self.new_button.clicked.connect(self._on_new)

    @property
    def folder(self) -> Path:
        """The chosen folder."""
        return Path(self.edit.text().strip()).expanduser()

    @folder.setter
    def folder(self, folder: Path) -> None:
        self._is_own = True
        self._show(folder)
        self.refresh()

    def follow(self, choice: TrainChoice) -> None:
        """Suggest a folder for a model, unless the user chose one, and compare settings."""
        self._choice = choice
        if not self._is_own and choice.name != self._name:
            self._name = choice.name
            self._show(free_folder(choice.name))
        self.refresh()

    def _show(self, folder: Path) -> None:
        home = Path.home()
        inside = folder.is_relative_to(home) and home != Path(home.root)
        # the cursor stands behind it, so a long one shows how it ends
        self.edit.setText(str(Path("~") / folder.relative_to(home)) if inside else str(folder))

    def refresh(self) -> None:
        """Look into the folder."""
        self.run = run_folder(self.folder)
        self.edit.setToolTip(f"{self.folder}\nCheckpoints, losses and the finished model go here")
        others = self._others()
        lines = [self.run.said]
        if others and not self.run.models:
            lines.append(f"Its settings are others: {'; '.join(others)}.")
        self.said.setText("\n".join(filter(None, lines)))
        self.said.setVisible(bool(self.said.text()))
        self.take_button.setVisible(bool(others) and not self.run.models)
        self.new_button.setVisible(self.run.is_used)
        self.changed.emit()

    def _others(self) -> list[str]:
        """In what the settings differ from those of the folder."""
        choice = self._choice
        if choice is None or not self.run.is_used:
            return []
        given = {
            "method": choice.method,
            "preset": choice.preset,
            "image_size": choice.image_size,
            "plan": asdict(choice.plan),
        }
        return unlike(self.run.noted, given)

    def _on_edited(self, text: str) -> None:
        self._is_own = bool(text.strip())
        self.refresh()

    def _on_clicked(self) -> None:
        start = self.folder if self.folder.is_dir() else self.folder.parent
        with QSignalBlocker(self.edit):
            found = QFileDialog.getExistingDirectory(self, "Folder of the training", str(start))
        if found:
            self.folder = Path(found)

    def _on_new(self) -> None:
        self._is_own = False
        self.edit.setText(str(free_folder(self._name or "model", unused=True)))
        self.refresh()


def _lay_out(out: TrainOut) -> None:
    row, below, form = QHBoxLayout(), QHBoxLayout(), new_form()
    row.addWidget(out.edit, stretch=1)
    row.addWidget(out.button)
    below.addWidget(out.take_button)
    below.addWidget(out.new_button)
    add_row(form, "run folder", row)
    form.addRow(out.said)
    form.addRow(below)
    layout = QVBoxLayout(out)
    layout.addLayout(form)
    layout.setContentsMargins(0, 0, 0, 0)
    out.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
