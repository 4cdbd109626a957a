"""The table of visits with its buttons, and the reading of what is added to it.

One thread reads: first it lists folders and tables, then it reads the images they list.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_followup.plugin.forms.forms import add_row, new_form
from napari_followup.plugin.forms.layer_choices import is_alive, unwrapped
from napari_followup.plugin.run.progress import JobPanel
from napari_followup.plugin.stack.stack_making import Checked
from napari_followup.plugin.stack.stack_rows import Found, Listed, Origin, Row, StackModel
from napari_followup.plugin.stack.stack_sources import (
    REMOVED,
    LayerOrigin,
    file_rows,
    is_file,
    layer_rows,
    list_source,
    open_all,
    read_origins,
    series_layers,
)
from napari_followup.plugin.stack.visits_table import VisitsTable

__all__ = ["ColumnsForm", "RowBar", "SourceBar", "VisitsPanel"]

NOT_READ = "not read: reading was stopped; press 'Check again'"


class VisitsPanel(QWidget):
    """Rows of visits, which are read when they are added.

    Attributes
    ----------
    model, table
        The rows; the table that shows them.
    sources, bar, columns, reading
        Buttons above and below the table; the form for a table's columns; progress.
    """

    changed = Signal()  # rows were added, read, edited, moved or removed
    sort_wanted = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrapped(viewer))
        self.model, self.table = StackModel(), VisitsTable()
        self.sources, self.bar, self.columns = SourceBar(), RowBar(), ColumnsForm()
        self.reading = JobPanel()
        self._to_list: list[tuple[Path, Mapping[str, str] | None]] = []
        self._being_read: list[Origin] = []
        self._wrong: list[str] = []  # errors of folders and tables that could not be listed
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.sources, self.table, self.bar, self.reading, self.columns):
            layout.addWidget(part)
        self._connect()
        unwrapped(viewer).layers.events.removed.connect(self._on_layer_removed)

    @property
    def is_busy(self) -> bool:
        """Whether something must still be read."""
        return self.reading.is_running or bool(self._to_list or self.model.pending)

    def add_paths(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        """Add files, folders and tables of visits."""
        given = [Path(path) for path in paths]
        self._wrong = []
        self.model.add(file_rows([path for path in given if is_file(path)]))
        self._to_list += [(path, None) for path in given if not is_file(path)]
        self.read()

    def add_layers(self, layers: Sequence[Any] | None = None) -> None:
        """Add layers; by default all image layers except our results."""
        viewer = self._viewer()
        if viewer is None:
            return
        origins = [row.origin for row in self.model.rows]
        there = [origin.layer() for origin in origins if isinstance(origin, LayerOrigin)]
        wanted = series_layers(viewer) if layers is None else [unwrapped(each) for each in layers]
        new = [layer for layer in wanted if layer not in there]
        self.model.add(layer_rows(new))
        self.reading.show_text("" if new else "There is no image layer to add.")
        self.read()

    def set_axes(self, axes: str) -> None:
        """Set the axes of all files and layers with the same choices."""
        doubtful = self.model.doubtful
        alike = [each for each in doubtful if each.choices == doubtful[0].choices]
        if axes in doubtful[0].choices:
            self.model.set_axes(alike, axes)
        self.read()

    def read(self) -> None:
        """Read what must still be read, unless a thread is reading."""
        if not self.reading.is_running:
            if self._to_list:
                path, columns = self._to_list.pop(0)
                self.reading.start("List visits", lambda rep: list_source(path, columns, rep))
            elif pending := self.model.pending:
                openers = open_all(pending)
                self._being_read = pending
                self.reading.start(
                    "Read visits", lambda report: read_origins(openers, report), keeps_partial=True
                )
        self.changed.emit()

    def show_checked(self, checked: Checked) -> None:
        """Show the rows and their status."""
        self.table.show_rows(self.model.shown, checked.verdicts, checked.numbers)
        self._on_selection()

    def chosen(self) -> list[Row]:
        """Rows that are selected."""
        shown = self.model.shown
        return [shown[place] for place in self.table.chosen if place < len(shown)]

    def _connect(self) -> None:
        self.sources.chosen.connect(self.add_paths)
        self.sources.layers_wanted.connect(self._on_layers_wanted)
        self.table.dropped.connect(self.add_paths)
        self.table.edited.connect(self._on_edited)
        self.table.itemSelectionChanged.connect(self._on_selection)
        self.columns.chosen.connect(self._on_columns)
        self.bar.up_button.clicked.connect(lambda: self._move(-1))
        self.bar.down_button.clicked.connect(lambda: self._move(1))
        self.bar.sort_button.clicked.connect(self.sort_wanted)
        self.bar.missing_button.clicked.connect(self._on_missing)
        self.bar.remove_button.clicked.connect(self._on_remove)
        self.bar.again_button.clicked.connect(self._on_again)
        self.reading.returned.connect(self._on_returned)
        self.reading.ended.connect(self._on_ended)

    def _on_returned(self, found: Listed | list[tuple[Origin, Found]]) -> None:
        if not isinstance(found, Listed):
            for origin, visits in found:
                self.model.take(origin, visits)
            return
        self.model.add(found.rows)
        if found.is_unclear:
            self.columns.ask(found)

    def _on_ended(self) -> None:
        """Continue with the next; rows that a stop left unread get an error."""
        being_read, self._being_read = self._being_read, []
        if self.reading.error and not being_read:
            self._wrong.append(self.reading.error)
        for origin in being_read:
            if origin in self.model.pending:
                self.model.take(origin, Found(error=NOT_READ))
        self.read()
        if not self.reading.is_running:
            self.reading.show_text("\n".join(self._wrong), is_error=bool(self._wrong))

    def _on_columns(self, path: Path, columns: Mapping[str, str]) -> None:
        self.model.remove_table(path)
        self._to_list.append((path, columns))
        self.read()

    def _on_layers_wanted(self, alone: bool) -> None:
        viewer = self._viewer()
        if viewer is not None:
            images = series_layers(viewer)
            picked = [layer for layer in images if layer in viewer.layers.selection]
            self.add_layers(picked if alone else images)

    def _on_edited(self, place: int, field: str, value: Any) -> None:
        setattr(self.model.shown[place], field, value)
        self.read()

    def _on_missing(self) -> None:
        self.model.add_missing()
        self.changed.emit()
        self.table.choose([self.table.rowCount() - 1])

    def _on_remove(self) -> None:
        self.model.remove(self.chosen())
        self.table.clearSelection()
        self.changed.emit()

    def _on_again(self) -> None:
        self.model.reset()
        self.read()

    def _move(self, by: int) -> None:
        rows = self.chosen()
        self.model.move(rows, by)
        self.changed.emit()
        shown = self.model.shown
        self.table.choose([shown.index(row) for row in rows])

    def _on_selection(self) -> None:
        self.bar.enable(self.table.rowCount(), len(self.table.chosen))

    def _on_layer_removed(self, event: Any) -> None:
        if not is_alive(self):
            return
        for row in self.model.rows:
            if isinstance(row.origin, LayerOrigin) and row.origin.layer() in (event.value, None):
                row.origin.drop()
                row.error = REMOVED
        self.changed.emit()


FILES = "Images (*.nii *.nii.gz *.tif *.tiff *.npz *.png *.jpg *.jpeg *.bmp);;All files (*)"
TABLES = "Tables (*.csv *.tsv)"


class SourceBar(QWidget):
    """Buttons that add files, a folder, a table of visits, or layers."""

    chosen = Signal(object)  # list of paths
    layers_wanted = Signal(bool)  # whether only the selected ones

    def __init__(self) -> None:
        super().__init__()
        self.files_button, self.folder_button, self.table_button, self.layers_button = _buttons(
            self,
            {
                "Add files…": "Images: one visit a file, or several",
                "Add folder…": "BIDS, DICOM or OME-Zarr, or a folder with one image a visit",
                "Add table…": "CSV or TSV with one row an image: path, age or date, …",
                "Add layers": "Open layers: one visit a layer, or several",
            },
        )
        menu = QMenu(self.layers_button)
        for text, is_selected in (("all image layers", False), ("selected layers", True)):
            action = menu.addAction(text)
            assert action is not None  # a text always makes one
            action.triggered.connect(
                lambda _=False, selected=is_selected: self.layers_wanted.emit(selected)
            )
        self.layers_button.setMenu(menu)
        self.files_button.clicked.connect(self._ask_files)
        self.folder_button.clicked.connect(self._ask_folder)
        self.table_button.clicked.connect(self._ask_table)

    def _ask_files(self) -> None:
        paths, _ = QFileDialog.getOpenFileNames(self, "Add files", "", FILES)
        self._emit(paths)

    def _ask_folder(self) -> None:
        self._emit([QFileDialog.getExistingDirectory(self, "Add folder")])

    def _ask_table(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Add table of visits", "", TABLES)
        self._emit([path])

    def _emit(self, paths: list[str]) -> None:
        if given := [path for path in paths if path]:
            self.chosen.emit(given)


class RowBar(QWidget):
    """Buttons that sort, add and remove rows."""

    def __init__(self) -> None:
        super().__init__()
        buttons = _buttons(
            self,
            {
                "Up": "",
                "Down": "",
                "Sort by age": "",
                "Add missing visit": "A visit that took place, or was planned, without an image",
                "Remove": "",
                "Check again": "Read again the files that could not be read",
            },
        )
        self.up_button, self.down_button, self.sort_button, *others = buttons
        self.missing_button, self.remove_button, self.again_button = others

    def enable(self, rows: int, selected: int) -> None:
        """Enable the buttons that apply, by the numbers of rows and of selected rows."""
        for button in (self.up_button, self.down_button, self.remove_button):
            button.setEnabled(selected > 0)
        for button in (self.sort_button, self.again_button):
            button.setEnabled(rows > 0)


def _buttons(bar: QWidget, tips: Mapping[str, str]) -> list[QPushButton]:
    """Make the buttons of a bar, side by side."""
    row = QHBoxLayout(bar)
    row.setContentsMargins(0, 0, 0, 0)
    buttons = [QPushButton(text) for text in tips]
    for button in buttons:
        button.setToolTip(tips[button.text()])
        row.addWidget(button)
    return buttons


ASKED = {
    "path": ("image file", "Path of each image, relative to the table's folder"),
    "subject": ("subject", "Name of the subject; without it, the table has one subject"),
    "visit": ("visit", "Name of the visit, shared by its rows"),
    "age": ("age", "Age at the visit, in years"),
    "date": ("date", "Date of the visit"),
    "birth": ("date of birth", "Ages are computed from it and the dates"),
    "modality": ("modality", "Kind of image, such as FLAIR"),
}


class ColumnsForm(QWidget):
    """Asks for the columns of a table whose column names are not known."""

    chosen = Signal(object, object)  # path, columns by their meaning

    def __init__(self) -> None:
        super().__init__()
        self._path: Path | None = None
        self.title = QLabel()
        self.title.setWordWrap(True)
        self.boxes = {what: QComboBox() for what in ASKED}
        self.use_button, self.leave_button = (
            QPushButton("Use these columns"),
            QPushButton("Leave out"),
        )
        form = new_form(self)
        form.addRow(self.title)
        for what, (label, tip) in ASKED.items():
            self.boxes[what].setToolTip(tip)
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
        """Show the columns of a table; the known ones are chosen."""
        self._path = found.path
        self.title.setText(f"Choose the columns of {found.path.name!r}:")
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
        """The chosen columns by their meaning."""
        return {what: box.currentData() for what, box in self.boxes.items() if box.currentData()}

    def _on_path(self, _: int = 0) -> None:
        self.use_button.setEnabled(self.boxes["path"].currentData() is not None)
        self.use_button.setToolTip("" if self.use_button.isEnabled() else "Choose the image file")

    def _on_use(self) -> None:
        self.hide()
        self.chosen.emit(self._path, self.columns)
