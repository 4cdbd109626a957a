"""Choose whom a training learns from: open layers, or a table, folder or file; says what is there.

Every change is looked at in a thread, so that the user knows of mixed sizes or too few subjects
before hours of training.
"""

from __future__ import annotations

import weakref
from functools import partial
from pathlib import Path
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_followup.plugin.forms import add_row, new_form
from napari_followup.plugin.layer_list import LayerList
from napari_followup.plugin.layers import about, axes_choices, source_of
from napari_followup.plugin.progress import JobPanel
from napari_followup.plugin.report import Report
from napari_followup.plugin.series_input import MEANINGS, unwrapped
from napari_followup.plugin.train_subjects import Facts, Reader, examined, layer_stacks

__all__ = ["LAYERS", "PATH", "TrainData"]

LAYERS, PATH = "open layers", "a table, folder or file"
WAIT = 250  # ms after the last change
WARNING = "color: #ff9f0a;"
TABLES = "Series (*.csv *.tsv *.npz *.nii *.nii.gz *.tif *.tiff);;All files (*)"


class TrainData(QWidget):
    """Healthy series to learn from.

    Attributes
    ----------
    layers
        The open layers, checked where they are used; a subject or a cohort each.
    path
        Of the table, folder or file.
    facts
        What was found when the choice was last looked at; none until then.
    """

    looked = Signal()  # `facts` are there

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrapped(viewer))
        self._plan: dict[str, Any] = {"method": "sdm", "held_out": 0.1, "seed": 0}
        self.facts: Facts | None = None
        self.mode, self.layers = QComboBox(), LayerList(viewer)
        self.axes_combo, self.path = QComboBox(), QLineEdit()
        self.table_button, self.folder_button = QPushButton("File…"), QPushButton("Folder…")
        self.found, self.notes, self.look = QLabel(), QLabel(), JobPanel()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(WAIT)
        self.form = new_form()
        _lay_out(self)
        self._connect()
        self.layers.offer(_fits, lambda layer: not self._is_sick(layer))
        self._on_mode()

    def reader(self) -> Reader:
        """Give what reads the series, in a thread; the layers may go away meanwhile.

        Raises
        ------
        ValueError
            If nothing is chosen, or what the axes of a layer are.
        """
        if self.mode.currentText() == PATH:
            text = self.path.text().strip()
            if not text:
                raise ValueError(
                    "no healthy subjects are chosen: give a table, folder or file of them"
                )
            return partial(_read, Path(text).expanduser())
        chosen = self.layers.layers
        if not chosen:
            raise ValueError(
                "no healthy subjects are chosen: check the layers to learn from, a subject or a "
                "cohort each, or choose a table or folder"
            )
        axes = self.axes_combo.currentData()
        sources = [source_of(each, axes=_axes(each, axes)) for each in chosen]
        return partial(layer_stacks, sources)

    def plan_for(self, method: str, held_out: float, seed: int) -> None:
        """Say what the series are for; it is looked at anew where that matters."""
        plan = {"method": method, "held_out": held_out, "seed": seed}
        if plan != self._plan:
            self._plan = plan
            self._timer.start()

    def refresh(self) -> None:
        """Look at what is chosen."""
        self._timer.stop()
        self.facts = None
        self._show_axes()
        try:
            read = self.reader()
        except ValueError as error:
            self.look.stop()
            self._on_found(Facts(text=str(error)))
            return
        self.look.start("Look at the subjects", partial(_look, read, self._plan))

    def _on_found(self, facts: Facts) -> None:
        self.facts = facts
        self.look.say("")
        sick = [layer.name for layer in self.layers.layers if self._is_sick(layer)]
        warned = [f"{name!r} has a truth beside it: is it healthy?" for name in sick]
        notes = [facts.problem, *warned, *facts.notes]
        self.found.setText(facts.text)
        self.notes.setText("\n".join(f"⚠ {note}" for note in notes if note))
        for label in (self.found, self.notes):
            label.setVisible(bool(label.text()))
        self.looked.emit()

    def _is_sick(self, layer: Any) -> bool:
        """Whether anomalies of a layer are known, as those of the samples are."""
        viewer = self._viewer()
        truths = [each.name for each in viewer.layers if isinstance(each, Labels)] if viewer else []
        return f"{layer.name} truth" in truths

    def _show_axes(self) -> None:
        """Ask what the axes are where a checked layer does not say."""
        chosen = self.axes_combo.currentData()
        unclear = [each for each in self.layers.layers if len(_choices(each)) > 1]
        choices = _choices(unclear[0]) if unclear else ()
        self.axes_combo.blockSignals(True)
        self.axes_combo.clear()
        self.axes_combo.addItem("choose …", None)
        for axes in choices:
            self.axes_combo.addItem(MEANINGS.get(axes, ", ".join(axes)), axes)
        self.axes_combo.setCurrentIndex(max(self.axes_combo.findData(chosen), 0))
        self.axes_combo.blockSignals(False)
        is_asked = bool(choices) and self.mode.currentText() == LAYERS
        self.form.setRowVisible(self.axes_combo, is_asked)

    def _on_mode(self, _: object = None) -> None:
        by_path = self.mode.currentText() == PATH
        self.form.setRowVisible(self.layers, not by_path)
        for part in (self.path, self.table_button, self.folder_button):
            part.setVisible(by_path)
        self._show_axes()
        self._timer.start()

    def _on_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Healthy subjects", self.path.text(), TABLES)
        self._take(path)

    def _on_folder(self) -> None:
        self._take(
            QFileDialog.getExistingDirectory(self, "Folder of healthy subjects", self.path.text())
        )

    def _take(self, path: str) -> None:
        if path:
            self.path.setText(path)

    def _connect(self) -> None:
        self.mode.currentIndexChanged.connect(self._on_mode)
        self.layers.changed.connect(self._timer.start)
        self.axes_combo.currentIndexChanged.connect(self._timer.start)
        self.path.textChanged.connect(self._timer.start)
        self.table_button.clicked.connect(self._on_file)
        self.folder_button.clicked.connect(self._on_folder)
        self._timer.timeout.connect(self.refresh)
        self.look.returned.connect(self._on_found)


def _lay_out(data: TrainData) -> None:
    data.mode.addItems([LAYERS, PATH])
    data.path.setPlaceholderText("table of visits (CSV), folder or file")
    data.layers.setToolTip("Healthy subjects only: a layer a subject, or layers of many subjects")
    data.axes_combo.setToolTip("A checked layer does not say what its axes are")
    data.notes.setStyleSheet(WARNING)
    for label in (data.found, data.notes):
        label.setWordWrap(True)
        label.hide()
    row = QHBoxLayout()
    row.addWidget(data.table_button)
    row.addWidget(data.folder_button)
    add_row(data.form, "learn from", data.mode)
    add_row(data.form, "layers", data.layers)
    add_row(data.form, "axes", data.axes_combo)
    layout = QVBoxLayout(data)
    layout.setContentsMargins(0, 0, 0, 0)
    data.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
    layout.addLayout(data.form)
    layout.addWidget(data.path)
    layout.addLayout(row)
    for part in (data.look, data.found, data.notes):
        layout.addWidget(part)


def _fits(layer: Any) -> bool:
    """Whether a layer may hold series: an image that is none of our results."""
    return about(layer).get("result") is None and not layer.rgb and layer.ndim >= 3


def _choices(layer: Any) -> tuple[str, ...]:
    try:
        return axes_choices(layer)
    except ValueError:
        return ()


def _axes(layer: Any, chosen: Any) -> str | None:
    """Take the chosen axes for a layer that leaves the choice."""
    return str(chosen) if chosen in _choices(layer) else None


def _read(path: Path) -> list[Any]:
    from napari_followup.reading import read_healthy

    return read_healthy(path)


def _look(read: Reader, plan: dict[str, Any], report: Report) -> Facts:
    return examined(read, report=report, **plan)
