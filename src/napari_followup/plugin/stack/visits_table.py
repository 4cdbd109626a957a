"""The table of visits of a stack: one row an image, with its status.

The table shows rows and emits edits; it checks nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QColor, QDropEvent, QIcon, QImage, QPainter, QPaintEvent, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_followup.io.kinds import IMAGES, suffix_of
from napari_followup.plugin.stack.stack_making import Verdict
from napari_followup.plugin.stack.stack_rows import Facts, Row

__all__ = ["VisitsTable"]

ROW, THUMBNAIL, HEIGHT = 52, 44, 340  # pixels: row, thumbnail, least of the table
HINT = "Drop files, folders or a table of visits here"
COLUMNS = {  # width in pixels
    "visit": 34,
    "image": 140,
    "age or date": 92,
    "modality": 60,
    "missing": 52,
    "status": 150,
    "grid": 146,
}
NAMES = list(COLUMNS)
ENDINGS = (*IMAGES, ".nii", ".nii.gz", ".npz", ".tif", ".tiff", ".zarr")
FIELDS = {"age or date": "when", "modality": "modality"}
COLORS = {"error": "#e5533d", "warning": "#e0a030", "note": "#5aa0e0", "good": "#4fae6a"}
TIPS = {
    "visit": "Number of the visit in the stack, by age",
    "image": "File or layer, with its middle plane",
    "age or date": "Age in years (61.5) or date (2020-01-31); double click to edit",
    "modality": "Kind of image, such as FLAIR; double click to edit",
    "missing": "The visit took place, or was planned, but there is no image",
    "grid": "Voxels (z, y, x) and their size",
    "status": "Problems to solve before a stack can be made",
}


class VisitsTable(QTableWidget):
    """Rows with thumbnails; age, modality and missing can be edited."""

    edited = Signal(int, str, object)  # row, field, value
    dropped = Signal(object)  # list of paths

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS))
        self.setHorizontalHeaderLabels(NAMES)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setIconSize(QSize(THUMBNAIL, THUMBNAIL))
        self.setMinimumHeight(HEIGHT)
        self.setWordWrap(True)
        # The height of a row depends on the width of its status, which a scroll bar would change.
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setAcceptDrops(True)
        self._set_up_headers()
        self.itemChanged.connect(self._on_item)

    @property
    def chosen(self) -> list[int]:
        """The selected rows."""
        return sorted({index.row() for index in self.selectedIndexes()})

    def choose(self, rows: Sequence[int]) -> None:
        """Select rows."""
        self.clearSelection()
        model, chosen = self.model(), self.selectionModel()
        assert model is not None  # every table has them
        assert chosen is not None
        for row in rows:
            flags = chosen.SelectionFlag.Select | chosen.SelectionFlag.Rows
            chosen.select(model.index(row, 0), flags)

    def show_rows(
        self, rows: Sequence[Row], verdicts: Sequence[Verdict], numbers: Mapping[int, int]
    ) -> None:
        """Show the rows; selection and scroll position stay."""
        with QSignalBlocker(self):
            self.setRowCount(len(rows))
            for place, (row, verdict) in enumerate(zip(rows, verdicts, strict=True)):
                self._show_row(place, row, verdict, str(numbers.get(place, "")))
        view = self.viewport()
        assert view is not None  # every table has one
        view.update()

    def dragEnterEvent(self, event: Any) -> None:
        """Accept files, so that napari does not open them."""
        self._take(event)

    def dragMoveEvent(self, event: Any) -> None:
        """Accept files anywhere in the table."""
        self._take(event)

    def dropEvent(self, event: QDropEvent | None) -> None:
        """Emit the dropped files."""
        paths = self._take(event)
        if paths:
            self.dropped.emit(paths)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw a hint if the table is empty."""
        super().paintEvent(event)
        view = self.viewport()
        if self.rowCount() == 0 and view is not None:
            painter = QPainter(view)
            painter.setPen(QColor("gray"))
            painter.drawText(view.rect(), Qt.AlignmentFlag.AlignCenter, HINT)
            painter.end()

    def _take(self, event: Any) -> list[Path]:
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if paths:
            event.acceptProposedAction()
        else:
            event.ignore()
        return paths

    def _on_item(self, item: QTableWidgetItem) -> None:
        name = NAMES[item.column()]
        if name == "missing":
            is_missing = item.checkState() == Qt.CheckState.Checked
            self.edited.emit(item.row(), "is_missing", is_missing)
        elif name in FIELDS:
            self.edited.emit(item.row(), FIELDS[name], item.text().strip())

    def _show_row(self, place: int, row: Row, verdict: Verdict, number: str) -> None:
        many = row.facts is not None and len(row.facts.modalities) > 1
        self._text(place, "visit", number, is_centred=True)
        image = self._text(place, "image", _short(row.name), tip=_whole(row))
        image.setIcon(_icon(None if row.is_missing else row.facts))
        self._text(place, "age or date", row.when, is_edited=True)
        self._text(place, "modality", row.modality, is_edited=not many)
        self._check(place, row)
        self._text(place, "grid", "" if row.facts is None else row.facts.grid)
        status = self._text(place, "status", verdict.text or "Ready", tip=verdict.text)
        status.setForeground(QColor(COLORS.get(verdict.level, "gray")))

    def _text(
        self,
        place: int,
        name: str,
        text: str,
        *,
        tip: str = "",
        is_edited: bool = False,
        is_centred: bool = False,
    ) -> QTableWidgetItem:
        item = self._item(place, name)
        item.setText(text)
        item.setToolTip(tip or TIPS[name])
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        item.setFlags(flags | Qt.ItemFlag.ItemIsEditable if is_edited else flags)
        if is_centred:
            item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
        return item

    def _check(self, place: int, row: Row) -> None:
        item = self._item(place, "missing")
        item.setToolTip(TIPS["missing"])
        free = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable
        fixed = Qt.ItemFlag.ItemIsSelectable
        item.setFlags(fixed if row.origin is None else free | fixed)
        is_on = row.is_missing or row.origin is None
        item.setCheckState(Qt.CheckState.Checked if is_on else Qt.CheckState.Unchecked)

    def _item(self, place: int, name: str) -> QTableWidgetItem:
        column = NAMES.index(name)
        item = self.item(place, column)
        if item is None:
            item = QTableWidgetItem()
            self.setItem(place, column, item)
        return item

    def _set_up_headers(self) -> None:
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None  # every table has them
        assert columns is not None
        rows.setMinimumSectionSize(ROW)
        rows.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        columns.setMinimumSectionSize(min(COLUMNS.values()))
        for column, (name, width) in enumerate(COLUMNS.items()):
            self.setColumnWidth(column, width)
            head = self.horizontalHeaderItem(column)
            assert head is not None  # it was named
            head.setToolTip(TIPS[name])
        columns.setSectionResizeMode(NAMES.index("status"), QHeaderView.ResizeMode.Stretch)


def _short(name: str) -> str:
    """Name without the ending of an image file."""
    suffix = suffix_of(Path(name))
    return name[: -len(suffix)] if suffix in ENDINGS else name


def _whole(row: Row) -> str:
    return row.name if row.origin is None else row.origin.description()


def _icon(facts: Facts | None) -> QIcon:
    """Thumbnail on a square, so that the names are aligned."""
    square = QPixmap(THUMBNAIL, THUMBNAIL)
    square.fill(QColor("transparent"))
    if facts is None:
        return QIcon(square)
    height, width = facts.thumbnail.shape
    data = facts.thumbnail.tobytes()
    plane = QPixmap.fromImage(
        QImage(data, width, height, width, QImage.Format.Format_Grayscale8).copy()
    )
    _, y, x = facts.spacing
    scale = THUMBNAIL / max(height * y, width * x)
    size = QSize(max(1, round(width * x * scale)), max(1, round(height * y * scale)))
    painter = QPainter(square)
    left, top = (THUMBNAIL - size.width()) // 2, (THUMBNAIL - size.height()) // 2
    painter.drawPixmap(left, top, plane.scaled(size))
    painter.end()
    return QIcon(square)
