"""Buttons above and below the table of visits."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QPushButton, QWidget

__all__ = ["RowBar", "SourceBar"]

FILES = "Images (*.nii *.nii.gz *.tif *.tiff *.npz *.png *.jpg *.jpeg *.bmp);;All files (*)"
TABLES = "Tables (*.csv *.tsv)"


class SourceBar(QWidget):
    """Ask for files, a folder, a table of visits, or layers."""

    chosen = Signal(object)  # list of paths
    layers_wanted = Signal(bool)  # whether those that are selected alone

    def __init__(self) -> None:
        super().__init__()
        self.files_button = QPushButton("Add files…")
        self.folder_button = QPushButton("Add folder…")
        self.table_button = QPushButton("Add table…")
        self.layers_button = QPushButton("Add layers")
        self.files_button.setToolTip("Images, one visit a file or several in one")
        self.folder_button.setToolTip("BIDS, DICOM or OME-Zarr, or a folder with an image a visit")
        self.table_button.setToolTip("CSV or TSV with a row an image: path, age or date, …")
        self.layers_button.setToolTip("Layers that are open: one a visit, or one with several")
        menu = QMenu(self.layers_button)
        for text, is_selected in (("all image layers", False), ("selected layers", True)):
            action = menu.addAction(text)
            assert action is not None  # a text always makes one
            action.triggered.connect(
                lambda _=False, alone=is_selected: self.layers_wanted.emit(alone)
            )
        self.layers_button.setMenu(menu)
        self.files_button.clicked.connect(self._ask_files)
        self.folder_button.clicked.connect(self._ask_folder)
        self.table_button.clicked.connect(self._ask_table)
        _in_a_row(
            self, self.files_button, self.folder_button, self.table_button, self.layers_button
        )

    def _ask_files(self) -> None:
        paths, _ = QFileDialog.getOpenFileNames(self, "Add files", "", FILES)
        self._tell(paths)

    def _ask_folder(self) -> None:
        self._tell([QFileDialog.getExistingDirectory(self, "Add folder")])

    def _ask_table(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Add table of visits", "", TABLES)
        self._tell([path])

    def _tell(self, paths: list[str]) -> None:
        if given := [path for path in paths if path]:
            self.chosen.emit(given)


class RowBar(QWidget):
    """Order, add and take out rows."""

    def __init__(self) -> None:
        super().__init__()
        self.up_button, self.down_button = QPushButton("Up"), QPushButton("Down")
        self.sort_button = QPushButton("Sort by age")
        self.missing_button = QPushButton("Add missing visit")
        self.remove_button = QPushButton("Remove")
        self.again_button = QPushButton("Check again")
        self.missing_button.setToolTip("A visit that took place, or was planned, without an image")
        self.again_button.setToolTip("Read again what could not be read")
        _in_a_row(
            self,
            self.up_button,
            self.down_button,
            self.sort_button,
            self.missing_button,
            self.remove_button,
            self.again_button,
        )

    def know(self, rows: int, chosen: int) -> None:
        """Offer what can be done to so many rows, of which so many are chosen."""
        for button in (self.up_button, self.down_button, self.remove_button):
            button.setEnabled(chosen > 0)
        for button in (self.sort_button, self.again_button):
            button.setEnabled(rows > 0)


def _in_a_row(widget: QWidget, *buttons: QPushButton) -> None:
    row = QHBoxLayout(widget)
    row.setContentsMargins(0, 0, 0, 0)
    for button in buttons:
        row.addWidget(button)
