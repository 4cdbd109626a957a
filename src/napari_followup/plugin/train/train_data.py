"""Choose whom a training learns from: open layers, or a table, folder or file; says what is there.

Every change is looked at in a thread, so that the user knows of mixed sizes or too few subjects
before hours of training.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QSignalBlocker, Qt, QTimer, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_followup.methods.given import LABELS
from napari_followup.plugin.forms.forms import add_row, new_form
from napari_followup.plugin.forms.layer_list import LayerList
from napari_followup.plugin.forms.series_input import MEANINGS, MaskCombo, is_alive, unwrapped
from napari_followup.plugin.layers.layers import GivenMask, about, axes_choices, source_of
from napari_followup.plugin.run.progress import JobPanel
from napari_followup.plugin.run.report import Report
from napari_followup.plugin.train.train_subjects import (
    Facts,
    Reader,
    Subjects,
    examined,
    layer_subjects,
)

__all__ = [
    "HEALTHY",
    "LAYERS",
    "MASKS",
    "PATH",
    "TRUTH",
    "LayerLabels",
    "PathLabels",
    "TrainData",
    "has_truth",
    "truth_of",
]

LAYERS, PATH = "open layers", "a table, folder or file"
WAIT = 250  # ms after the last change
WARNING = "color: #ff9f0a;"
TABLES = "Series (*.csv *.tsv *.npz *.nii *.nii.gz *.tif *.tiff);;All files (*)"


class TrainData(QWidget):
    """Series to learn from: healthy ones, and others where a method takes labels.

    Attributes
    ----------
    layers
        The open layers, checked where they are used; a subject or a cohort each.
    path
        Of the table, folder or file.
    labels, path_labels
        What is abnormal in the layers, or in the files; shown where the method can learn from it.
    facts
        What was found when the choice was last looked at; none until then.
    """

    looked = Signal()  # `facts` are there

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrapped(viewer))
        self._plan: dict[str, Any] = {"method": "sdm", "held_out": 0.1, "seed": 0, "makes": True}
        self.facts: Facts | None = None
        self.mode, self.layers = QComboBox(), LayerList(viewer)
        self.labels, self.path_labels = LayerLabels(viewer), PathLabels()
        self.asked = QLabel("where the labels of a layer are not 0")
        self.axes_combo, self.path = QComboBox(), QLineEdit()
        self.table_button, self.folder_button = QPushButton("File…"), QPushButton("Folder…")
        self.found, self.notes, self.look = QLabel(), QLabel(), JobPanel()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(WAIT)
        self.form, self.below = new_form(), new_form()
        _lay_out(self)
        self._connect()
        self.layers.offer(_fits, self._is_wanted)
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
            files = self.path_labels.paths if self._takes_labels else None
            return partial(_read, Path(text).expanduser(), files)
        chosen = self.layers.layers
        if not chosen:
            raise ValueError(
                "no healthy subjects are chosen: check the layers to learn from, a subject or a "
                "cohort each, or choose a table or folder"
            )
        axes = self.axes_combo.currentData()
        sources = [source_of(each, axes=_axes(each, axes)) for each in chosen]
        masks = [self._mask_of(each) for each in chosen]
        return partial(layer_subjects, sources, masks if any(masks) else None)

    def plan_for(self, method: str, held_out: float, seed: int, *, makes: bool = True) -> None:
        """Say what the series are for; it is looked at anew where that matters."""
        plan = {"method": method, "held_out": held_out, "seed": seed, "makes": makes}
        if plan != self._plan:
            self._plan = plan
            self.layers.reset_choices()  # layers with a truth are healthy for no other method
            self._show_labels()
            self._timer.start()

    def refresh(self) -> None:
        """Look at what is chosen."""
        self._timer.stop()
        self.facts = None
        self._show_axes()
        self._show_labels()
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
        layers = self.layers.layers
        sick = [each.name for each in layers if self._is_sick(each) and not self._mask_of(each)]
        warned = [f"{name!r} has a truth beside it: is it healthy?" for name in sick]
        notes = [facts.problem, *warned, *facts.notes]
        self.found.setText(facts.text)
        self.notes.setText("\n".join(f"⚠ {note}" for note in notes if note))
        for label in (self.found, self.notes):
            label.setVisible(bool(label.text()))
        self.looked.emit()

    def _is_sick(self, layer: Any) -> bool:
        viewer = self._viewer()
        return viewer is not None and has_truth(viewer, layer)

    def _is_wanted(self, layer: Any) -> bool:
        """Whether a layer is checked at first: a healthy one, or with a truth that can be used."""
        if not self._is_sick(layer):
            return True
        return self._takes_labels and truth_of(self._viewer(), layer) is not None

    @property
    def _takes_labels(self) -> bool:
        return self._plan["method"] in LABELS

    def _mask_of(self, layer: Any) -> GivenMask | None:
        return self.labels.given(layer) if self._takes_labels else None

    def _show_labels(self) -> None:
        """Ask for labels where the method can learn from them."""
        by_path, layers = self.mode.currentText() == PATH, self.layers.layers
        by_layer = self._takes_labels and not by_path and bool(layers)
        if by_layer:
            self.labels.show_layers(layers)
        for part in (self.asked, self.labels):
            self.form.setRowVisible(part, by_layer)
        self.below.setRowVisible(self.path_labels, self._takes_labels and by_path)

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
        self._show_labels()
        self._timer.start()

    def _on_layers(self) -> None:
        self._show_labels()
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
        self.layers.changed.connect(self._on_layers)
        for part in (self.labels, self.path_labels):
            part.changed.connect(self._timer.start)
        self.axes_combo.currentIndexChanged.connect(self._timer.start)
        self.path.textChanged.connect(self._timer.start)
        self.table_button.clicked.connect(self._on_file)
        self.folder_button.clicked.connect(self._on_folder)
        self._timer.timeout.connect(self.refresh)
        self.look.returned.connect(self._on_found)


def _lay_out(data: TrainData) -> None:
    data.mode.addItems([LAYERS, PATH])
    data.path.setPlaceholderText("table of visits (CSV), folder or file")
    data.layers.setToolTip(
        "A layer a subject, or layers of many: healthy ones, unless it can be said what is not"
    )
    data.axes_combo.setToolTip("A checked layer does not say what its axes are")
    data.notes.setStyleSheet(WARNING)
    for label in (data.found, data.notes):
        label.setWordWrap(True)
        label.hide()
    data.asked.setWordWrap(True)
    row = QHBoxLayout()
    row.addWidget(data.table_button)
    row.addWidget(data.folder_button)
    add_row(data.form, "learn from", data.mode)
    add_row(data.form, "layers", data.layers)
    add_row(data.form, "axes", data.axes_combo)
    add_row(data.form, "abnormal", data.asked)
    data.form.addRow(data.labels)
    add_row(data.below, "abnormal", data.path_labels)
    layout = QVBoxLayout(data)
    layout.setContentsMargins(0, 0, 0, 0)
    for lines in (data.layers, data.labels):  # else they make what is around them grow
        lines.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
    layout.addLayout(data.form)
    layout.addWidget(data.path)
    layout.addLayout(row)
    layout.addLayout(data.below)
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


def _read(path: Path, masks: Sequence[Path] | None) -> Subjects:
    """Read healthy series; or others, too, with their masks, or their truth where none is named."""
    if masks is None:
        from napari_followup.io import read_healthy

        return Subjects(stacks=read_healthy(path))
    from napari_followup.io.labels import read_labelled

    found = read_labelled([path], masks)
    return Subjects(stacks=found.stacks, labels=found.labels)


def _look(read: Reader, plan: dict[str, Any], report: Report) -> Facts:
    return examined(read, report=report, **plan)


HEALTHY, TRUTH, MASKS = "none: healthy", "the truth in the files", "masks in other files"
LINES = 5  # rows shown at once


@dataclass(eq=False)
class _Row:
    """A layer, and the choice of its labels; `is_own` once it was chosen by hand."""

    layer: Any  # a weak reference
    name: QElidingLabel
    combo: MaskCombo
    is_own: bool = False


class LayerLabels(QScrollArea):
    """Which Labels layer marks what is abnormal in each layer; holds none of them alive."""

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrapped(viewer))
        self._rows: list[_Row] = []
        self._painted: list[Any] = []  # weak references to the chosen layers
        inner = QWidget()
        self._grid = QGridLayout(inner)
        self._grid.setContentsMargins(0, 0, 0, 0)
        for column, share in enumerate((2, 3)):
            self._grid.setColumnStretch(column, share)
        self.setWidget(inner)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        events = unwrapped(viewer).layers.events
        for event in (events.inserted, events.removed, events.renamed):
            event.connect(self._on_layers)

    def show_layers(self, layers: Sequence[Any]) -> None:
        """Show a row each layer, those with labels first; what was chosen stays."""
        if {id(layer) for layer in layers} == {id(row.layer()) for row in self._rows}:
            self._suggest()
        else:
            known = {id(row.layer()): row for row in self._rows if row.layer() is not None}
            rows = [known.get(id(layer)) or self._new_row(layer) for layer in layers]
            for row in self._rows:
                if row not in rows:
                    for part in (row.name, row.combo):
                        part.setParent(None)
                        part.deleteLater()
            self._rows = rows
            self._on_layers()
            self._fit()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Take the height of the rows, which hangs on the theme."""
        super().showEvent(event)
        self._fit()

    def _fit(self) -> None:
        lines = min(len(self._rows), LINES)
        if lines:
            line = self._rows[0].combo.sizeHint().height() + self._grid.verticalSpacing()
            self.setFixedHeight(lines * line + 2)

    def choose(self, layer: Any, labels: Any) -> None:
        """Choose the Labels layer of a layer that is shown, or none, as the user does."""
        row = next((row for row in self._rows if row.layer() is unwrapped(layer)), None)
        if row is None:
            raise ValueError(f"{layer!r} is not learned from; check it in the list first")
        row.is_own = True
        if labels is None:
            row.combo.setCurrentIndex(0)
        else:
            row.combo.layer = labels

    def given(self, layer: Any) -> GivenMask | None:
        """Give what a run needs of the labels of a layer, if any are chosen."""
        row = next((row for row in self._rows if row.layer() is unwrapped(layer)), None)
        return None if row is None else row.combo.given

    def _new_row(self, layer: Any) -> _Row:
        viewer = self._viewer()
        row = _Row(weakref.ref(layer), QElidingLabel(layer.name), MaskCombo(viewer, HEALTHY))
        row.name.setElideMode(Qt.TextElideMode.ElideMiddle)
        row.combo.setToolTip("Labels painted on this layer, nonzero where abnormal")
        row.combo.activated.connect(lambda index: setattr(row, "is_own", True))
        row.combo.currentIndexChanged.connect(self._on_chosen)
        return row

    def _on_layers(self, event: Any = None) -> None:
        self._suggest()
        if is_alive(self):
            # not at every choice: the row would go from under the cursor
            self._rows.sort(key=lambda row: row.combo.layer is None)
            for number, row in enumerate(self._rows):
                self._grid.addWidget(row.name, number, 0)
                self._grid.addWidget(row.combo, number, 1)

    def _suggest(self) -> None:
        """Take the truths of layers whose labels nobody has chosen."""
        viewer = self._viewer()
        if viewer is None or not is_alive(self):
            return
        for row in self._rows:
            layer = row.layer()
            if layer is None:
                continue
            row.name.setText(layer.name)
            row.name.setToolTip(layer.name)
            if not row.is_own:
                row.combo.reset_choices()  # whose turn to hear of a new layer may come later
                with QSignalBlocker(row.combo):
                    truth = truth_of(viewer, layer)
                    row.combo.setCurrentIndex(0)
                    if truth is not None:
                        row.combo.layer = truth
        self._on_chosen()

    def _on_chosen(self, _: object = None) -> None:
        """Tell of another choice, and hear of what is painted from now on."""
        chosen = [row.combo.layer for row in self._rows]
        before = [reference() for reference in self._painted]
        now = [layer for layer in chosen if layer is not None]
        if [id(layer) for layer in now] == [id(layer) for layer in before]:
            return
        for layer in before:
            if layer is not None:
                layer.events.paint.disconnect(self._on_painted)
        for layer in now:
            layer.events.paint.connect(self._on_painted)
        self._painted = [weakref.ref(layer) for layer in now]
        self.changed.emit()

    def _on_painted(self, event: Any = None) -> None:
        if is_alive(self):
            self.changed.emit()


class PathLabels(QWidget):
    """Where the masks of files are: in or beside them, or in others."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.choice, self.path = QComboBox(), QLineEdit()
        self.file_button, self.folder_button = QPushButton("File…"), QPushButton("Folder…")
        self.choice.addItems([HEALTHY, TRUTH, MASKS])
        self.path.setToolTip("Masks named as the subjects, or one for each; 0 where healthy")
        self.choice.setToolTip(
            "truth: an array 'truth' in an .npz file, or NAME_truth.tif beside NAME.tif"
        )
        self.path.setPlaceholderText("file or folder of masks")
        row, column = QHBoxLayout(), QVBoxLayout(self)
        row.addWidget(self.file_button)
        row.addWidget(self.folder_button)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.choice)
        column.addWidget(self.path)
        column.addLayout(row)
        self.choice.currentIndexChanged.connect(self._on_choice)
        self.path.textChanged.connect(self.changed)
        self.file_button.clicked.connect(self._on_file)
        self.folder_button.clicked.connect(self._on_folder)
        self._on_choice()

    @property
    def paths(self) -> tuple[Path, ...] | None:
        """Files of masks, none of them where the truth counts; nothing where all are healthy.

        Raises
        ------
        ValueError
            If files are to be named and are not.
        """
        choice, text = self.choice.currentText(), self.path.text().strip()
        if choice == MASKS and not text:
            raise ValueError("labels: give a file or folder of masks, or take none")
        if choice == HEALTHY:
            return None
        return (Path(text).expanduser(),) if choice == MASKS else ()

    def _on_choice(self, _: object = None) -> None:
        for part in (self.path, self.file_button, self.folder_button):
            part.setVisible(self.choice.currentText() == MASKS)
        self.changed.emit()

    def _on_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Masks", self.path.text())
        self.path.setText(path or self.path.text())

    def _on_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder of masks", self.path.text())
        self.path.setText(path or self.path.text())


def has_truth(viewer: Any, layer: Any) -> bool:
    """Whether anomalies of a layer are known, as those of the samples are."""
    return any(_names(each, layer) for each in viewer.layers)


def truth_of(viewer: Any, layer: Any) -> Any:
    """Labels layer named after a layer that lies on its pixels, or none."""
    wanted = _shapes(layer)
    found = [each for each in viewer.layers if _names(each, layer)]
    return next((each for each in found if np.shape(each.data) in wanted), None)


def _names(labels: Any, layer: Any) -> bool:
    return isinstance(labels, Labels) and labels.name == f"{layer.name} truth"


def _shapes(layer: Any) -> set[tuple[int, ...]]:
    """Shapes that labels of a layer may have: one mask for all modalities."""
    try:
        choices = axes_choices(layer)
    except ValueError:
        return set()
    sizes = [zip(axes, np.shape(layer.data), strict=True) for axes in choices]
    return {tuple(size for letter, size in each if letter != "m") for each in sizes}
