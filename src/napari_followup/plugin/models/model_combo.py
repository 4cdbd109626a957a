"""Choose a model: embedded ones, those of the model folders, or a file."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QFileDialog

from napari_followup.models.catalogue import Entry, described, entries, find
from napari_followup.plugin.forms.forms import ElidingCombo
from napari_followup.plugin.forms.preferences import Preferences

__all__ = ["ModelCombo"]

CHOOSE = "choose a file …"
ABOUT = (
    "Embedded models, installed ones (napari-followup bundle install), those of the model folder "
    "in the preferences, or a file"
)
TIP = Qt.ItemDataRole.ToolTipRole


class ModelCombo(ElidingCombo):
    """Models by name or file; `chosen` is what `load_bundle` takes."""

    model_changed = Signal()  # another one is chosen, or the file of this one may be another

    def __init__(self, folder: str = "", model: str = "") -> None:
        super().__init__()
        self._before = 0
        self._folder = folder
        self._listed: list[tuple[str, str]] = []
        self.currentIndexChanged.connect(self._on_index)
        self.activated.connect(self._on_activated)
        self.fill(folder, model)

    @property
    def chosen(self) -> str:
        """Name of an embedded model or path of a file; empty where none is chosen."""
        data = self.currentData()
        return "" if data in (None, CHOOSE) else str(data)

    @chosen.setter
    def chosen(self, model: str | Path) -> None:
        model = _known_as(str(model))
        if self.findData(model) < 0:
            with QSignalBlocker(self):  # what is chosen moves down, and is not another
                self._insert(0, described(Path(model)))
        self.setCurrentIndex(self.findData(model))
        self._before = self.currentIndex()

    def fill(self, folder: str, model: str = "") -> None:
        """List the models anew; `model` is chosen if it is still there."""
        found = _entries(folder)
        self._folder, self._listed = folder, _listed(found)
        with QSignalBlocker(self):
            self.clear()
            for entry in found:
                self._insert(self.count(), entry)
            if not self.count():
                self.addItem("no model yet", "")
            self.insertSeparator(self.count())
            self.addItem(CHOOSE, CHOOSE)
            self._before = 0
            if model and (self.findData(_known_as(model)) >= 0 or Path(model).is_file()):
                self.chosen = model
        self._on_index(self.currentIndex())

    def refresh(self) -> None:
        """Look at the folders again; the choice stays."""
        folder = Preferences.load().model_folder or self._folder
        if _listed(_entries(folder)) != self._listed:
            self.fill(folder, self.chosen)
        else:
            self.model_changed.emit()

    def showPopup(self) -> None:
        """Look at the folders again before they are shown."""
        self.refresh()
        super().showPopup()

    def _insert(self, index: int, entry: Entry) -> None:
        self.insertItem(index, _label(entry), _data(entry))
        self.setItemData(index, f"{entry.path}\n{entry.problem or entry.summary}", TIP)

    def _on_index(self, index: int) -> None:
        said = self.itemData(index, TIP) or self.currentText()
        self.setToolTip(f"{said}\n{ABOUT}")
        if self.itemData(index) != CHOOSE:
            self.model_changed.emit()

    def _on_activated(self, index: int) -> None:
        if self.itemData(index) != CHOOSE:
            self._before = index
            return
        self.setCurrentIndex(self._before)
        path, _ = QFileDialog.getOpenFileName(self, "Choose a model", "", "Models (*.safetensors)")
        if path:
            self.chosen = path


def _entries(folder: str) -> list[Entry]:
    return entries(folder) if folder else entries()


def _listed(found: list[Entry]) -> list[tuple[str, str]]:
    return [(_data(entry), _label(entry)) for entry in found]


def _known_as(model: str) -> str:
    """Path of a model in the model folder that is called by its name."""
    try:
        return _data(Entry(path=find(model)))
    except FileNotFoundError:
        return model


def _data(entry: Entry) -> str:
    return entry.name if entry.is_embedded else str(entry.path)


def _label(entry: Entry) -> str:
    """Name, and what it can do: sdm detects, tdm imputes."""
    return f"{entry.name} ({'+'.join(entry.methods) or 'cannot be read'})"
