"""Choose the subjects to learn from: open layers, or a table, folder or file.

Every change is checked in a thread, so that mixed sizes or too few subjects are known before hours
of training. Methods that learn from labels ask for them: a Labels layer each, or masks in files. A
layer "NAME truth" is the default for the layer NAME.
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

from napari_followup.methods.table import TABLE
from napari_followup.plugin.forms.forms import add_row, fill_combo, new_form
from napari_followup.plugin.forms.layer_choices import LayerList, MaskCombo, is_alive, unwrapped
from napari_followup.plugin.forms.series_input import MEANINGS
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
HEALTHY, TRUTH, MASKS = "none: healthy", "the truth in the files", "masks in other files"
WAIT = 250  # ms after the last change
LINES = 5  # rows shown at once
WARNING = "color: #ff9f0a;"
TABLES = "Series (*.csv *.tsv *.npz *.nii *.nii.gz *.tif *.tiff);;All files (*)"


class TrainData(QWidget):
    """Series to learn from: healthy ones, and others if the method learns from labels.

    Attributes
    ----------
    layers
        The open layers; the checked ones are used, a subject or a cohort each.
    path
        Table, folder or file.
    labels, path_labels
        What is abnormal in the layers, or in the files; shown if the method can learn from it.
    facts
        What the last check found; None before it.
    """

    looked = Signal()  # `facts` are new

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrapped(viewer))
        self._plan: dict[str, Any] = {"method": "sdm", "held_out": 0.1, "seed": 0, "makes": True}
        self.facts: Facts | None = None
        self.mode, self.layers, self.axes_combo = QComboBox(), LayerList(viewer), QComboBox()
        self.labels, self.path_labels = LayerLabels(viewer), PathLabels()
        self.asked = QLabel("where the labels of a layer are not 0")
        self.path = PathEdit("Healthy subjects", TABLES)
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
        """Give the function that reads the series in a thread; layers may be removed meanwhile.

        Raises
        ------
        ValueError
            If no series, or no axes of a layer, are chosen.
        """
        if self._by_path:
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
        sources = [source_of(e, axes=axes if axes in _choices(e) else None) for e in chosen]
        masks = [self._mask_of(each) for each in chosen]
        return partial(layer_subjects, sources, masks if any(masks) else None)

    def plan_for(self, method: str, held_out: float, seed: int, *, makes: bool = True) -> None:
        """Set what the series are used for; they are checked again if that matters."""
        plan = {"method": method, "held_out": held_out, "seed": seed, "makes": makes}
        if plan != self._plan:
            self._plan = plan
            self.layers.reset_choices()  # layers with a truth are used by some methods only
            self._show_labels()
            self._timer.start()

    def refresh(self) -> None:
        """Check what is chosen."""
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
        self.look.start("Check the subjects", partial(_look, read, self._plan))

    def _on_found(self, facts: Facts) -> None:
        self.facts = facts
        self.look.show_text("")
        layers = self.layers.layers
        sick = [each.name for each in layers if self._is_sick(each) and not self._mask_of(each)]
        warned = [f"{name!r} has a truth beside it: is it healthy?" for name in sick]
        notes = [facts.problem, *warned, *facts.notes]
        self.found.setText(facts.text)
        self.notes.setText("\n".join(f"⚠ {note}" for note in notes if note))
        for label in (self.found, self.notes):
            label.setVisible(bool(label.text()))
        self.looked.emit()

    @property
    def _by_path(self) -> bool:
        return self.mode.currentText() == PATH

    @property
    def _takes_labels(self) -> bool:
        return TABLE[self._plan["method"]].labels is not None

    def _is_sick(self, layer: Any) -> bool:
        viewer = self._viewer()
        return viewer is not None and has_truth(viewer, layer)

    def _is_wanted(self, layer: Any) -> bool:
        """Whether a layer is checked at first: a healthy one, or one with a truth to learn from."""
        if not self._is_sick(layer):
            return True
        return self._takes_labels and truth_of(self._viewer(), layer) is not None

    def _mask_of(self, layer: Any) -> GivenMask | None:
        return self.labels.given(layer) if self._takes_labels else None

    def _show_labels(self) -> None:
        """Ask for labels if the method can learn from them."""
        layers = self.layers.layers
        by_layer = self._takes_labels and not self._by_path and bool(layers)
        if by_layer:
            self.labels.show_layers(layers)
        for part in (self.asked, self.labels):
            self.form.setRowVisible(part, by_layer)
        self.below.setRowVisible(self.path_labels, self._takes_labels and self._by_path)

    def _show_axes(self) -> None:
        """Ask for the axes if a checked layer does not tell them."""
        unclear = [each for each in self.layers.layers if len(_choices(each)) > 1]
        choices = _choices(unclear[0]) if unclear else ()
        texts = {axes: MEANINGS.get(axes, ", ".join(axes)) for axes in choices}
        fill_combo(self.axes_combo, texts, self.axes_combo.currentData())
        self.form.setRowVisible(self.axes_combo, bool(choices) and not self._by_path)

    def _on_mode(self, _: object = None) -> None:
        self.form.setRowVisible(self.layers, not self._by_path)
        self.path.setVisible(self._by_path)
        self._show_axes()
        self._on_layers()

    def _on_layers(self) -> None:
        self._show_labels()
        self._timer.start()

    def _connect(self) -> None:
        self.mode.currentIndexChanged.connect(self._on_mode)
        self.layers.changed.connect(self._on_layers)
        for part in (self.labels, self.path_labels, self.path):
            part.changed.connect(self._timer.start)
        self.axes_combo.currentIndexChanged.connect(self._timer.start)
        self._timer.timeout.connect(self.refresh)
        self.look.returned.connect(self._on_found)


def _lay_out(data: TrainData) -> None:
    data.mode.addItems([LAYERS, PATH])
    data.path.setPlaceholderText("table of visits (CSV), folder or file")
    data.layers.setToolTip(
        "One subject a layer, or several; all healthy, unless their labels can be given"
    )
    data.axes_combo.setToolTip("Axes of a checked layer that does not tell them")
    data.notes.setStyleSheet(WARNING)
    for label in (data.found, data.notes, data.asked):
        label.setWordWrap(True)
    for label in (data.found, data.notes):
        label.hide()
    add_row(data.form, "learn from", data.mode)
    add_row(data.form, "layers", data.layers)
    add_row(data.form, "axes", data.axes_combo)
    add_row(data.form, "abnormal", data.asked)
    data.form.addRow(data.labels)
    add_row(data.below, "abnormal", data.path_labels)
    for lines in (data.layers, data.labels):  # else they stretch what is around them
        lines.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
    layout = QVBoxLayout(data)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addLayout(data.form)
    layout.addWidget(data.path)
    layout.addLayout(data.below)
    for part in (data.look, data.found, data.notes):
        layout.addWidget(part)


def _fits(layer: Any) -> bool:
    """Whether a layer may hold series: a grey image, not one of our results."""
    return about(layer).get("result") is None and not layer.rgb and layer.ndim >= 3


def _choices(layer: Any) -> tuple[str, ...]:
    try:
        return axes_choices(layer)
    except ValueError:
        return ()


def _read(path: Path, masks: Sequence[Path] | None) -> Subjects:
    """Read healthy series; with `masks`, also others with these masks, or with their truth."""
    if masks is None:
        from napari_followup.io import read_healthy

        return Subjects(stacks=read_healthy(path))
    from napari_followup.io.labels import read_labelled

    found = read_labelled([path], masks)
    return Subjects(stacks=found.stacks, labels=found.labels)


def _look(read: Reader, plan: dict[str, Any], report: Report) -> Facts:
    return examined(read, report=report, **plan)


@dataclass(eq=False)
class _Row:
    """A layer and the choice of its labels; `is_own` if the user chose them."""

    layer: Any  # a weak reference
    name: QElidingLabel
    combo: MaskCombo
    is_own: bool = False


class LayerLabels(QScrollArea):
    """The Labels layer with what is abnormal in each layer; holds weak references."""

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
        """Show one row a layer, those with labels first; the choices stay."""
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
        """Set the height, which depends on the theme."""
        super().showEvent(event)
        self._fit()

    def _fit(self) -> None:
        lines = min(len(self._rows), LINES)
        if lines:
            line = self._rows[0].combo.sizeHint().height() + self._grid.verticalSpacing()
            self.setFixedHeight(lines * line + 2)

    def choose(self, layer: Any, labels: Any) -> None:
        """Choose the Labels layer of a shown layer, or None, as the user does."""
        row = next((row for row in self._rows if row.layer() is unwrapped(layer)), None)
        if row is None:
            raise ValueError(f"{layer!r} is not used; check it in the list first")
        row.is_own = True
        if labels is None:
            row.combo.setCurrentIndex(0)
        else:
            row.combo.layer = labels

    def given(self, layer: Any) -> GivenMask | None:
        """Give the chosen labels of a layer, or None."""
        row = next((row for row in self._rows if row.layer() is unwrapped(layer)), None)
        return None if row is None else row.combo.given

    def _new_row(self, layer: Any) -> _Row:
        viewer = self._viewer()
        row = _Row(weakref.ref(layer), QElidingLabel(layer.name), MaskCombo(viewer, HEALTHY))
        row.name.setElideMode(Qt.TextElideMode.ElideMiddle)
        row.combo.setToolTip("Labels on the voxels of this layer; not 0 where abnormal")
        row.combo.activated.connect(lambda index: setattr(row, "is_own", True))
        row.combo.currentIndexChanged.connect(self._on_chosen)
        return row

    def _on_layers(self, event: Any = None) -> None:
        self._suggest()
        if is_alive(self):
            # not at every choice: the row would move away from the mouse
            self._rows.sort(key=lambda row: row.combo.layer is None)
            for number, row in enumerate(self._rows):
                self._grid.addWidget(row.name, number, 0)
                self._grid.addWidget(row.combo, number, 1)

    def _suggest(self) -> None:
        """Choose the truths of layers whose labels the user has not chosen."""
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
                row.combo.reset_choices()  # it may not know a new layer yet
                with QSignalBlocker(row.combo):
                    truth = truth_of(viewer, layer)
                    row.combo.setCurrentIndex(0)
                    if truth is not None:
                        row.combo.layer = truth
        self._on_chosen()

    def _on_chosen(self, _: object = None) -> None:
        """Emit a new choice, and follow the painting in the chosen layers."""
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


class PathEdit(QWidget):
    """A line for a path, and buttons that ask for a file or a folder."""

    changed = Signal()

    def __init__(self, title: str, files: str = "") -> None:
        """Show `title` in the dialogs, and in that of files those of the kinds `files`."""
        super().__init__()
        self._title, self._files = title, files
        self.line = QLineEdit()
        self.text, self.setText = self.line.text, self.line.setText
        self.setPlaceholderText = self.line.setPlaceholderText
        self.file_button, self.folder_button = QPushButton("File…"), QPushButton("Folder…")
        row, column = QHBoxLayout(), QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.line)
        column.addLayout(row)
        for button in (self.file_button, self.folder_button):
            row.addWidget(button)
        self.line.textChanged.connect(self.changed)
        self.file_button.clicked.connect(self._on_file)
        self.folder_button.clicked.connect(self._on_folder)

    def _on_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, self._title, self.text(), self._files)
        self.setText(path or self.text())

    def _on_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, f"{self._title}: folder", self.text())
        self.setText(path or self.text())


class PathLabels(QWidget):
    """Where the masks of files are: in or beside the files, or in other files."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.choice, self.path = QComboBox(), PathEdit("Masks")
        self.choice.addItems([HEALTHY, TRUTH, MASKS])
        self.choice.setToolTip(
            "truth: an array 'truth' in an .npz file, or NAME_truth.tif beside NAME.tif"
        )
        self.path.setToolTip("Masks with the names of the subjects, or one for each; 0 is healthy")
        self.path.setPlaceholderText("file or folder of masks")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.choice, self.path):
            layout.addWidget(part)
        self.choice.currentIndexChanged.connect(self._on_choice)
        self.path.changed.connect(self.changed)
        self._on_choice()

    @property
    def paths(self) -> tuple[Path, ...] | None:
        """Files of masks, empty to use the truth in the files; None if all are healthy.

        Raises
        ------
        ValueError
            If files are needed and not given.
        """
        choice, text = self.choice.currentText(), self.path.text().strip()
        if choice == MASKS and not text:
            raise ValueError("labels: give a file or folder of masks, or take none")
        if choice == HEALTHY:
            return None
        return (Path(text).expanduser(),) if choice == MASKS else ()

    def _on_choice(self, _: object = None) -> None:
        self.path.setVisible(self.choice.currentText() == MASKS)
        self.changed.emit()


def has_truth(viewer: Any, layer: Any) -> bool:
    """Whether there is a truth of a layer, as for the samples."""
    return any(_names(each, layer) for each in viewer.layers)


def truth_of(viewer: Any, layer: Any) -> Any:
    """Give the truth of a layer that lies on its voxels, or None."""
    wanted = _shapes(layer)
    found = [each for each in viewer.layers if _names(each, layer)]
    return next((each for each in found if np.shape(each.data) in wanted), None)


def _names(labels: Any, layer: Any) -> bool:
    return isinstance(labels, Labels) and labels.name == f"{layer.name} truth"


def _shapes(layer: Any) -> set[tuple[int, ...]]:
    """Possible shapes of a layer's labels: one mask for all modalities."""
    try:
        choices = axes_choices(layer)
    except ValueError:
        return set()
    sizes = [zip(axes, np.shape(layer.data), strict=True) for axes in choices]
    return {tuple(size for letter, size in each if letter != "m") for each in sizes}
