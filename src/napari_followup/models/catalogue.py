"""The models on this machine, by name: embedded models and those in the model folder.

No model is loaded to list them. The model folder is the one that the environment variable
``NAPARI_FOLLOWUP_MODELS`` names, or ``models`` in the user's data folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_followup.models.header import SUFFIX, read_about

__all__ = [
    "VARIABLE",
    "Entry",
    "described",
    "embedded",
    "embedded_path",
    "entries",
    "find",
    "installed",
    "model_folder",
]

FOLDER = Path(__file__).parents[1] / "bundles"
VARIABLE = "NAPARI_FOLLOWUP_MODELS"


@dataclass(frozen=True, eq=False, kw_only=True)
class Entry:
    """A model file and its description; `problem` says why it cannot be read, if so."""

    path: Path
    about: Mapping[str, Any] = field(default_factory=dict)  # from `read_about`
    problem: str = ""

    @property
    def name(self) -> str:
        """Name for `load_bundle`: that of the file, without its ending."""
        return self.path.stem

    @property
    def is_embedded(self) -> bool:
        """Whether it is part of the package."""
        return self.path.parent == FOLDER

    @property
    def methods(self) -> tuple[str, ...]:
        """Its method and those of its parts; empty if the file cannot be read."""
        return (self.about["method"], *self.about["parts"]) if self.about else ()

    @property
    def image_size(self) -> str:
        """Size of its planes, such as 64 x 64; a question mark if unknown."""
        return " x ".join(map(str, self.about.get("config", {}).get("image_size", "?")))

    @property
    def summary(self) -> str:
        """Methods and image size, training data, licence: three lines."""
        card = self.about.get("card", {})
        trained, licence = (str(card.get(key, "not stated")) for key in ("about", "licence"))
        return "\n".join(
            [
                f"{' + '.join(self.methods)}, planes of {self.image_size} pixels",
                f"trained on: {trained}",
                f"licence: {licence}",
            ]
        )


def embedded() -> list[str]:
    """Names of the embedded models, in alphabetical order."""
    return _names(FOLDER)


def embedded_path(name: str) -> Path | None:
    """File of an embedded model; none if there is no such model."""
    path = FOLDER / f"{name}{SUFFIX}"
    return path if name in embedded() else None


def model_folder() -> Path:
    """Folder of installed models; it need not exist."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_data_path("napari-followup", appauthor=False) / "models"


def installed() -> list[str]:
    """Names of the models in the model folder, in alphabetical order, without embedded names."""
    return [name for name in _names(model_folder()) if name not in embedded()]


def find(model: str | os.PathLike[str]) -> Path:
    """File of a model.

    Parameters
    ----------
    model
        Name of an embedded model, of one in the model folder, or a file, tried in this order.

    Returns
    -------
    Path
        A file that exists; it is not read.

    Raises
    ------
    FileNotFoundError
        If there is no model and no file of that name.
    """
    name = str(model)
    path = embedded_path(name) or Path(model)
    if name in installed():
        path = model_folder() / f"{name}{SUFFIX}"
    if not path.is_file():
        raise FileNotFoundError(
            f"no model {name!r}: give a {SUFFIX} file, or one of "
            f"{', '.join(embedded() + installed()) or 'none'} (embedded, or in {model_folder()})"
        )
    return path


def entries(*folders: str | os.PathLike[str]) -> list[Entry]:
    """List embedded models, those of the model folder, then those of further folders.

    Parameters
    ----------
    *folders
        Need not exist.

    Returns
    -------
    list of Entry
        Each file once, in alphabetical order in its folder.
    """
    places = dict.fromkeys([FOLDER, model_folder(), *(Path(f).expanduser() for f in folders)])
    return [described(place / f"{name}{SUFFIX}") for place in places for name in _names(place)]


def described(path: Path) -> Entry:
    """Read the description of a model file, or the reason why it cannot be read."""
    try:
        return Entry(path=path, about=read_about(path))
    except (OSError, ValueError) as error:
        return Entry(path=path, problem=str(error))


def _names(folder: Path) -> list[str]:
    """Model names in a folder; files that begin with a dot are being written."""
    return sorted(path.stem for path in folder.glob(f"*{SUFFIX}") if path.name[0] != ".")
