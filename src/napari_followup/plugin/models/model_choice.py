"""Choose a model, and read from the header of its file what it can do; no weights are loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QFileDialog

from napari_followup.methods.table import LACKS, NEEDS, TABLE, given_by, lack_of, possible_scores
from napari_followup.models.catalogue import Entry, described, entries, find
from napari_followup.models.header import read_about
from napari_followup.plugin.forms.fields import label_of
from napari_followup.plugin.forms.forms import ElidingCombo
from napari_followup.plugin.forms.preferences import Preferences
from napari_followup.recipe.recipe import Recipe, Temporal

if TYPE_CHECKING:
    from napari_followup.plugin.layers.layers import Source

__all__ = ["ModelCombo", "ModelFacts", "facts_of"]

CHOOSE = "choose a file …"
ABOUT = (
    "Embedded models, installed ones (napari-followup bundle install), those of the model folder "
    "in the preferences, or a file"
)
TIP = Qt.ItemDataRole.ToolTipRole


class ModelCombo(ElidingCombo):
    """Models by name or file; `chosen` is what `load_bundle` takes."""

    model_changed = Signal()  # another model is chosen, or the file of this one may have changed

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
            with QSignalBlocker(self):  # the choice moves down and stays the same
                self._insert(0, described(Path(model)))
        self.setCurrentIndex(self.findData(model))
        self._before = self.currentIndex()

    def fill(self, folder: str, model: str = "") -> None:
        """List the models of a folder; choose `model` if it is there."""
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
        """Read the folders again; the choice stays."""
        folder = Preferences.load().model_folder or self._folder
        if _listed(_entries(folder)) != self._listed:
            self.fill(folder, self.chosen)
        else:
            self.model_changed.emit()

    def showPopup(self) -> None:
        """Read the folders again before the list opens."""
        self.refresh()
        super().showPopup()

    def _insert(self, index: int, entry: Entry) -> None:
        self.insertItem(index, _label(entry), _data(entry))
        self.setItemData(index, f"{entry.path}\n{entry.problem or entry.summary}", TIP)

    def _on_index(self, index: int) -> None:
        about = self.itemData(index, TIP) or self.currentText()
        self.setToolTip(f"{about}\n{ABOUT}")
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
    """Path of a model of the model folder that is given by its name."""
    try:
        return _data(Entry(path=find(model)))
    except FileNotFoundError:
        return model


def _data(entry: Entry) -> str:
    return entry.name if entry.is_embedded else str(entry.path)


def _label(entry: Entry) -> str:
    """Name, and what it can do: sdm detects, tdm imputes."""
    return f"{entry.name} ({'+'.join(entry.methods) or 'cannot be read'})"


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """Method of a model, its recipes by name, and the results it gives to a score.

    Without arguments, those of an SDM: they stand for a file that cannot be read.
    """

    method: str = "sdm"
    recipes: Mapping[str, Recipe] = field(default_factory=lambda: TABLE["sdm"].recipes)
    gives: frozenset[str] = frozenset(LACKS)
    modalities: int | None = None  # of the images it takes, if known
    image_size: tuple[int, int] | None = None  # (y, x) that planes are resampled to, if known

    @property
    def title(self) -> str:
        """Name of the method, as its authors write it."""
        return TABLE[self.method].title.partition(",")[0]

    @property
    def option_type(self) -> type:
        """Dataclass of the method's options."""
        return TABLE[self.method].options

    @property
    def options(self) -> dict[str, Any]:
        """Defaults of the method's options, by name."""
        return dict(vars(self.option_type()))

    @property
    def obstacles(self) -> dict[type, str]:
        """Scores that the model cannot give, and why not."""
        lacks = {kind: lack_of(kind, self.gives) for kind in NEEDS}
        return {kind: f"{self.title} {lack}" for kind, lack in lacks.items() if lack}

    def problem(self, recipe: Recipe) -> str:
        """Say why the model cannot follow a recipe; empty where it can."""
        if why := self.obstacles.get(type(recipe.score)):
            able = ", ".join(label_of(kind) for kind in possible_scores(self.gives))
            return f"score: {why}; choose another score ({able}) or another model"
        if isinstance(recipe.score, Temporal):
            return ""
        known = list(self.options)
        others = sorted(set(recipe.options) - set(known))
        if not others:
            return self._too_large(recipe.options.get("patch"))
        return (
            f"options: {self.title} has no {', '.join(others)}, it has {', '.join(known)}; "
            "choose another recipe or another model"
        )

    def _too_large(self, patch: Sequence[int] | None) -> str:
        size = self.image_size
        if patch is None or size is None or all(np.less_equal(patch, size)):
            return ""
        return (
            f"patch: got {' x '.join(map(str, np.ravel(patch)))} pixels, larger than the model's "
            f"images of {size[0]} x {size[1]}; choose a smaller one"
        )

    def mismatch(self, source: Source) -> str:
        """Say why the model cannot take these images; empty where it can, as far as is known."""
        axes = source.axes
        count = source.data.shape[axes.index("m")] if "m" in axes else 1
        if self.modalities in (None, count):
            return ""
        return (
            f"modalities: {source.name!r} has {count}, the model was trained on "
            f"{self.modalities}; choose a layer of that many, or another model"
        )

    def name_of(self, recipe: Recipe, recipes: Mapping[str, Recipe]) -> str:
        """Name among `recipes` of one that does the same; empty where none does."""
        wanted = self._complete(recipe)
        return next((name for name, own in recipes.items() if self._complete(own) == wanted), "")

    def _complete(self, recipe: Recipe) -> Recipe:
        """Recipe with all options; without any for a score that does not use them."""
        if isinstance(recipe.score, Temporal):
            return replace(recipe, options={})
        return replace(recipe, options=self.options | dict(recipe.options))


def facts_of(model: str) -> ModelFacts:
    """Read what a model can do from the header of its file.

    Parameters
    ----------
    model
        Name of an embedded model, or a file.

    Returns
    -------
    ModelFacts
        Those of an SDM where there is no such file, or it cannot be read.
    """
    try:
        about = read_about(find(model))
        own = {"default": Recipe.from_dict(about["recipe"])} if "recipe" in about else {}
    except (OSError, ValueError, TypeError, KeyError):
        return ModelFacts()
    method, parts = about["method"], about["parts"]
    if method not in TABLE:
        return ModelFacts()
    is_temporal = "tdm" in (method, *parts)
    recipes = TABLE[method].recipes | ({"temporal": Recipe.temporal()} if is_temporal else {}) | own
    gives = given_by(method, about["config"], parts)
    sizes = {name: about["config"].get(name) for name in ("modalities", "image_size")}
    return ModelFacts(method=method, recipes=recipes, gives=gives, **sizes)
