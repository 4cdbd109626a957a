"""Choose a model: embedded ones, those of the model folder, or a file."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog

from napari_followup.catalogue import embedded
from napari_followup.plugin.forms import ElidingCombo

__all__ = ["ModelCombo"]

CHOOSE = "choose a file …"
ABOUT = "Embedded models, those of the model folder in the preferences, or a file"


class ModelCombo(ElidingCombo):
    """Models by name or file; `chosen` is what `load_bundle` takes."""

    def __init__(self, folder: str = "", model: str = "") -> None:
        super().__init__()
        self._before = 0
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
        model = str(model)
        if self.findData(model) < 0:
            self.insertItem(0, Path(model).stem, model)
            self.setItemData(0, model, 3)  # the tool tip says the whole path
        self.setCurrentIndex(self.findData(model))
        self._before = self.currentIndex()

    def fill(self, folder: str, model: str = "") -> None:
        """List the models anew; `model` is chosen if it is still there."""
        self.clear()
        for name in embedded():
            self.addItem(name, name)
        for path in sorted(Path(folder).expanduser().glob("*.safetensors")) if folder else ():
            self.addItem(path.stem, str(path))
        if not self.count():
            self.addItem("no model yet", "")
        self.insertSeparator(self.count())
        self.addItem(CHOOSE, CHOOSE)
        self._before = 0
        if model and (self.findData(model) >= 0 or Path(model).is_file()):
            self.chosen = model

    def _on_index(self, _: int) -> None:
        name = self.chosen or self.currentText()
        self.setToolTip(f"{name}\n{ABOUT}")

    def _on_activated(self, index: int) -> None:
        if self.itemData(index) != CHOOSE:
            self._before = index
            return
        self.setCurrentIndex(self._before)
        path, _ = QFileDialog.getOpenFileName(self, "Choose a model", "", "Models (*.safetensors)")
        if path:
            self.chosen = path
