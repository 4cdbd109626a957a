"""Table of visits with its buttons, and the reading of what is added to it.

One thing is read at a time, in a thread: folders and tables first, then the images they list.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_followup.plugin.forms.series_input import is_alive, unwrapped
from napari_followup.plugin.run.progress import JobPanel
from napari_followup.plugin.stack.columns_form import ColumnsForm
from napari_followup.plugin.stack.stack_bars import RowBar, SourceBar
from napari_followup.plugin.stack.stack_checks import Checked
from napari_followup.plugin.stack.stack_layer_sources import LayerOrigin, layer_rows, series_layers
from napari_followup.plugin.stack.stack_model import Found, StackModel
from napari_followup.plugin.stack.stack_reading import list_source, open_all, read_origins
from napari_followup.plugin.stack.stack_rows import Listed, Origin, Row
from napari_followup.plugin.stack.stack_sources import file_rows, is_file
from napari_followup.plugin.stack.visits_table import VisitsTable

__all__ = ["VisitsPanel"]

NOT_READ = "not read, because reading was stopped; press 'Check again'"
REMOVED = "the layer was removed; take the row out, or add the layer again"


class VisitsPanel(QWidget):
    """Rows of visits, which are read as they are added.

    Attributes
    ----------
    model, table
        The rows as they are, and as they are shown.
    sources, bar, columns, reading
        Buttons above and below; the question which column holds what; progress.
    """

    changed = Signal()  # rows were added, read, edited, moved or taken out
    sort_wanted = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrapped(viewer))
        self.model, self.table = StackModel(), VisitsTable()
        self.sources, self.bar, self.columns = SourceBar(), RowBar(), ColumnsForm()
        self.reading = JobPanel()
        self._to_list: list[tuple[Path, Mapping[str, str] | None]] = []
        self._being_read: list[Origin] = []
        self._wrong: list[str] = []  # about folders and tables that could not be listed
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.sources, self.table, self.bar, self.reading, self.columns):
            layout.addWidget(part)
        self._connect()
        unwrapped(viewer).layers.events.removed.connect(self._on_layer_removed)

    @property
    def is_busy(self) -> bool:
        """Whether something has yet to be read."""
        return self.reading.is_running or bool(self._to_list or self.model.pending)

    def add_paths(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        """Add files, folders and tables of visits."""
        given = [Path(path) for path in paths]
        self._wrong = []
        self.model.add(file_rows([path for path in given if is_file(path)]))
        self._to_list += [(path, None) for path in given if not is_file(path)]
        self.read()

    def add_layers(self, layers: Sequence[Any] | None = None) -> None:
        """Add layers; without any named, all image layers that are no results."""
        viewer = self._viewer()
        if viewer is None:
            return
        origins = [row.origin for row in self.model.rows]
        there = [origin.layer() for origin in origins if isinstance(origin, LayerOrigin)]
        wanted = series_layers(viewer) if layers is None else [unwrapped(each) for each in layers]
        new = [layer for layer in wanted if layer not in there]
        self.model.add(layer_rows(new))
        self.reading.say("" if new else "There is no image layer that is not in the table.")
        self.read()

    def set_axes(self, axes: str) -> None:
        """Say what the axes are of all that is in doubt in the same way."""
        doubtful = self.model.doubtful
        alike = [each for each in doubtful if each.choices == doubtful[0].choices]
        if axes in doubtful[0].choices:
            self.model.set_axes(alike, axes)
        self.read()

    def read(self) -> None:
        """Read what has yet to be read, unless that goes on already."""
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
        """Show the rows, and what is said of them."""
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
        """Go on with the next; what a stop left unread says so at its row."""
        being_read, self._being_read = self._being_read, []
        if self.reading.error and not being_read:
            self._wrong.append(self.reading.error)
        for origin in being_read:
            if origin in self.model.pending:
                self.model.take(origin, Found(error=NOT_READ))
        self.read()
        if not self.reading.is_running:
            self.reading.say("\n".join(self._wrong), is_error=bool(self._wrong))

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
        self.bar.know(self.table.rowCount(), len(self.table.chosen))

    def _on_layer_removed(self, event: Any) -> None:
        if not is_alive(self):
            return
        for row in self.model.rows:
            if isinstance(row.origin, LayerOrigin) and row.origin.layer() in (event.value, None):
                row.origin.drop()
                row.error = REMOVED
        self.changed.emit()
