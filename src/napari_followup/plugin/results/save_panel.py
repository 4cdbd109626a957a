"""The button *Save results…*: choose a format and a folder; a thread writes the files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QMessageBox,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from napari_followup.io.replacing import Parts, new_folder, with_notes, write_parts
from napari_followup.plugin.forms.forms import column_of, row_of
from napari_followup.plugin.run.progress import JobPanel
from napari_followup.plugin.run.report import Report

__all__ = ["SavePanel"]

NAMES = {"nifti": "NIfTI", "ome-tiff": "OME-TIFF", "ome-zarr": "OME-Zarr", "npz": "npz"}
REPLACE, NEW = "replace", "new"


class SavePanel(QWidget):
    """Write the files that `prepare` lists.

    Attributes
    ----------
    format
        One of `napari_followup.io.save_results.FORMATS`.
    stages
        Whether every stage of the score is written.
    ask_folder, ask_replacing
        The dialogs, as functions: the folder or nothing; "replace", "new" or nothing.
    """

    finished = Signal()  # after every attempt, good, failed or stopped

    def __init__(self, prepare: Callable[[str, bool], Parts], *, has_stages: bool = False) -> None:
        super().__init__()
        self._prepare = prepare
        self._folder = Path.home()
        self.ask_folder: Callable[[Path], str] = self._choose_folder
        self.ask_replacing: Callable[[Path, list[str]], str] = self._choose_replacing
        self.button = QPushButton("Save results…")
        maps = "mask, score and healthy images, a table of visits" if has_stages else "the layers"
        self.button.setToolTip(f"Write {maps} and how they were made into a folder")
        self.formats = QComboBox()
        self.formats.setToolTip("Format of the maps")
        for form, name in NAMES.items():
            if form != "ome-zarr" or find_spec("zarr"):
                self.formats.addItem(name, form)
        self.stages_box = QCheckBox("stages")
        self.stages_box.setToolTip("Write every stage of the score, too")
        self.stages_box.setVisible(has_stages)
        self.job = JobPanel()
        self.formats.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        row = row_of(self.button, self.formats, self.stages_box)
        column_of(self, row, self.job, inner=True)
        self.button.clicked.connect(self._on_clicked)
        self.job.started.connect(lambda: self.button.setEnabled(False))
        self.job.returned.connect(self._on_returned)
        self.job.ended.connect(self._on_ended)

    @property
    def format(self) -> str:
        """Format of the maps."""
        return str(self.formats.currentData())

    @format.setter
    def format(self, form: str) -> None:
        self.formats.setCurrentIndex(self.formats.findData(form))

    @property
    def stages(self) -> bool:
        """Whether every stage of the score is written."""
        return self.stages_box.isChecked()

    def start_beside(self, layer: Any) -> None:
        """Let the first dialog open in the folder of a layer's file."""
        path = getattr(layer.source, "path", None)
        if path and self._folder == Path.home():
            self._folder = Path(path).parent

    def save(self, folder: Path) -> None:
        """Start to write into a folder; `finished` says when it is over."""
        self.job.show_text("")
        try:
            parts = self._prepare(self.format, self.stages)
        except (TypeError, ValueError) as error:
            self.job.show_text(str(error), is_error=True)
            self.finished.emit()
            return
        there = [name for name in parts if (folder / name).exists()]
        answer = self.ask_replacing(folder, there) if there else NEW
        if not answer:
            return
        target = new_folder(folder) if there and answer == NEW else folder
        overwrite = answer == REPLACE

        def work(report: Report) -> str:
            written = write_parts(target, parts, overwrite=overwrite, on_step=report)
            return f"Saved {len(with_notes(written))} files in {target}{_planes_in(written)}"

        self._folder = folder
        self.job.start("Save results", work)

    def _on_clicked(self) -> None:
        if self.job.is_running:
            return
        self.job.show_text("")  # it was about the previous attempt
        folder = self.ask_folder(self._folder)
        if folder:
            self.save(Path(folder))

    def _on_returned(self, text: str) -> None:
        self.job.show_text(text)

    def _on_ended(self) -> None:
        self.button.setEnabled(True)
        self.finished.emit()

    def _choose_folder(self, start: Path) -> str:
        return str(QFileDialog.getExistingDirectory(self, "Save results into", str(start)))

    def _choose_replacing(self, folder: Path, there: list[str]) -> str:
        box = QMessageBox(self)
        box.setWindowTitle("Save results")
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        box.setText(f"{folder} holds {there[0]}{more} already.")
        buttons: dict[Any, str] = {
            box.addButton("Replace", QMessageBox.ButtonRole.DestructiveRole): REPLACE,
            box.addButton("New folder", QMessageBox.ButtonRole.AcceptRole): NEW,
            box.addButton(QMessageBox.StandardButton.Cancel): "",
        }
        box.exec()
        return buttons.get(box.clickedButton(), "")


def _planes_in(written: Sequence[Path]) -> str:
    """Name the planes that were examined, from the provenance; nothing for all planes."""
    made = [path for path in written if path.name.endswith("_provenance.json")]
    said = [json.loads(path.read_text(encoding="utf-8")).get("planes") for path in made]
    texts = dict.fromkeys(_text_of(planes) for planes in said if planes)
    return "".join(f"; {text}" for text in texts)


def _text_of(planes: Mapping[str, Any]) -> str:
    taken = range(planes["first"], planes["last"], planes["step"])
    every = f", every {taken.step} planes" if taken.step > 1 else ""
    return f"planes {taken[0]} to {taken[-1]} across {planes['axis']}{every}"
