"""The result of a training: its figures, *Save model*, *Save as…*."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMessageBox,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_followup.models.catalogue import model_folder
from napari_followup.models.header import SUFFIX
from napari_followup.plugin.models.model_choice import ModelCombo
from napari_followup.plugin.run.progress import JobPanel
from napari_followup.plugin.run.report import Report
from napari_followup.plugin.train.train_actions import Trained, figures

__all__ = ["TrainedPanel"]


class TrainedPanel(QWidget):
    """A trained model, ready to be saved under a name.

    Attributes
    ----------
    trained
        The model, or None.
    saved
        Path of the last save.
    ask_replacing, ask_file
        The dialogs, as functions: whether to replace a model of that name; a file or nothing.
    """

    finished = Signal()  # after every save, also a failed one

    def __init__(self) -> None:
        super().__init__()
        self.trained: Trained | None = None
        self.saved: Path | None = None
        self.ask_replacing: Callable[[str], bool] = self._choose_replacing
        self.ask_file: Callable[[str], str] = self._choose_file
        self.text, self.name = QLabel(), QLineEdit()
        self.text.setWordWrap(True)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.name.setToolTip("Name of the model in the lists of models")
        self.save_button = QPushButton("Save model")
        self.save_button.setToolTip("Save it to the model folder, for Detect anomalies and others")
        self.file_button = QPushButton("Save as…")
        self.job = JobPanel()
        self._lay_out()
        self.save_button.clicked.connect(self.save)
        self.file_button.clicked.connect(self._on_file)
        self.job.started.connect(lambda: self._enable(False))
        self.job.returned.connect(self._on_saved)
        self.job.ended.connect(self._on_ended)
        self.show_trained(None)

    def show_trained(self, trained: Trained | None) -> None:
        """Show a model, or hide."""
        self.trained, self.saved = trained, None
        self.setVisible(trained is not None)
        self.job.show_text("")
        if trained is not None:
            self.text.setText(f"{trained.name} is trained.\n{figures(trained.card)}")
            self.name.setText(trained.name)

    def save(self) -> None:
        """Save the model under its name to the model folder; `finished` is emitted at the end."""
        trained, name = self.trained, self.name.text().strip()
        if trained is None or self.job.is_running:
            return
        replace = (model_folder() / f"{name}{SUFFIX}").exists()
        if replace and not self.ask_replacing(name):
            return
        path = trained.path

        def work(report: Report) -> Path:
            from napari_followup.models.folder import install_model

            report.phase("Saving")
            return install_model(str(path), name=name or None, replace=replace)

        self.job.start("Save model", work)

    def save_as(self, file: Path) -> None:
        """Copy the model to a file; `finished` is emitted at the end."""
        trained = self.trained
        if trained is None or self.job.is_running:
            return
        path = trained.path

        def work(report: Report) -> Path:
            from napari_followup.models.folder import export_model

            report.phase("Saving")
            return export_model(str(path), file, replace=True)[0]  # the dialog has asked

        self.job.start("Save model", work)

    def _on_file(self) -> None:
        start = f"{self.name.text().strip() or 'model'}{SUFFIX}"
        if file := self.ask_file(start):
            self.save_as(Path(file) if file.endswith(SUFFIX) else Path(file + SUFFIX))

    def _on_saved(self, path: Path) -> None:
        self.saved = path
        is_installed = path.parent == model_folder()
        where = "; Detect anomalies and the other widgets list it now" if is_installed else ""
        self.job.show_text(f"Saved {path}{where}")
        for widget in QApplication.allWidgets() if is_installed else []:
            if isinstance(widget, ModelCombo):
                widget.refresh()

    def _on_ended(self) -> None:
        self._enable(True)
        self.finished.emit()

    def _enable(self, is_on: bool) -> None:
        for button in (self.save_button, self.file_button):
            button.setEnabled(is_on)

    def _choose_replacing(self, name: str) -> bool:
        yes, no = QMessageBox.StandardButton.Yes, QMessageBox.StandardButton.No
        text = f"A model {name!r} exists already. Replace it?"
        return bool(QMessageBox.question(self, "Save model", text, yes | no, no) == yes)

    def _choose_file(self, start: str) -> str:
        file, _ = QFileDialog.getSaveFileName(
            self, "Save the model as", str(Path.home() / start), f"Models (*{SUFFIX})"
        )
        return str(file)

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.name, stretch=1)
        row.addWidget(self.save_button)
        row.addWidget(self.file_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text)
        layout.addLayout(row)
        layout.addWidget(self.job)
