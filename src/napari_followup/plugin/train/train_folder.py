"""The folder of a training: what it contains, and the controls to choose it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_followup.models.catalogue import model_folder
from napari_followup.plugin.forms.forms import add_row, new_form
from napari_followup.plugin.train.train_actions import TrainChoice

__all__ = ["TrainOut", "free_folder", "run_folder", "trainings_folder", "unlike"]

NOT_OURS = ("device", "log", "devices", "checkpoint_minutes")  # may change when a run resumes


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """A folder, and the training in it."""

    path: Path
    noted: Mapping[str, Any] = field(default_factory=dict)  # method, preset, config, plan
    finished: tuple[str, ...] = ()  # stages
    begun: tuple[str, ...] = ()  # stages with a checkpoint
    models: tuple[Path, ...] = ()

    @property
    def is_used(self) -> bool:
        """Whether there is a training."""
        return bool(self.noted)

    @property
    def can_resume(self) -> bool:
        """Whether the training can be resumed."""
        return self.is_used and bool(self.begun or self.finished) and not self.models

    @property
    def summary(self) -> str:
        """The state of the training in one sentence; empty without one."""
        what = f"a training of {self.noted.get('method')} ({self.noted.get('preset')})"
        if self.models:
            return f"Contains {what} that is finished; take a new folder to train again."
        if self.begun or self.finished:
            return f"Contains {what} that can be resumed: {self._stages()}."
        if self.is_used:
            return f"Contains {what} that stopped before its first checkpoint."
        return ""

    def _stages(self) -> str:
        done = [f"{stage} is finished" for stage in self.finished]
        left = [stage for stage in self.begun if stage not in self.finished]
        return ", ".join([*done, *(f"{stage} has a checkpoint" for stage in left)])


def trainings_folder() -> Path:
    """Give the default folder of all trainings, beside the folder of the models."""
    return model_folder().parent / "trainings"


def free_folder(name: str, *, unused: bool = False) -> Path:
    """Suggest a folder: the first with a model's name whose training is not finished.

    With `unused`, also one with an unfinished training is left out. The folder may not exist yet.
    """
    stem = "".join(c if c.isalnum() or c in "._+-" else "-" for c in name).strip(".") or "model"
    number = 1
    while True:
        path = trainings_folder() / (stem if number == 1 else f"{stem}-{number}")
        found = run_folder(path)
        if not (found.models or (unused and path.exists())):
            return path
        number += 1


def run_folder(path: Path) -> RunFolder:
    """Read the state of a folder, without loading a model; a folder may be missing or empty."""
    try:
        noted = json.loads((path / "training.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return RunFolder(path=path)
    if not (isinstance(noted, dict) and isinstance(noted.get("plan"), dict)):
        return RunFolder(path=path)
    return RunFolder(
        path=path,
        noted=noted,
        finished=_holders(path, "finished.safetensors"),
        begun=_holders(path, "last.ckpt"),
        models=tuple(sorted(each for each in path.glob("*.safetensors") if each.name[0] != ".")),
    )


def unlike(noted: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """List the settings in which a training in a folder differs from the chosen one.

    Parameters
    ----------
    noted
        As in `RunFolder`.
    given
        Method, preset, image size or None, and the plan as a dict.

    Returns
    -------
    list of str
        Such as ``"batch 32 there, 16 here"``.
    """
    there = {"method": noted.get("method"), "preset": noted.get("preset")}
    here = {"method": given["method"], "preset": given["preset"]}
    if given.get("image_size"):
        there["image size"] = noted.get("config", {}).get("image_size")
        here["image size"] = given["image_size"]
    plan = {name: value for name, value in given["plan"].items() if name not in NOT_OURS}
    before = {name: value for name, value in noted["plan"].items() if name in plan}
    pairs = [*_pairs(there, here), *_pairs(before, json.loads(json.dumps(plan)))]
    return [f"{name} {_shown(was)} there, {_shown(now)} here" for name, was, now in pairs]


def _pairs(there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name, now in here.items():
        was = there.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            yield from _pairs(was, now)
        elif json.dumps(was) != json.dumps(now):
            yield name.replace("_", " "), was, now


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " x ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _holders(path: Path, name: str) -> tuple[str, ...]:
    """Folders with a file of this name, the oldest file first."""
    files = sorted(path.glob(f"*/{name}"), key=lambda file: file.stat().st_mtime)
    return tuple(file.parent.name for file in files)


class TrainOut(QWidget):
    """Controls to choose the folder of a training; `run` is the state of the folder."""

    changed = Signal()
    settings_wanted = Signal(object)  # those of the training in the folder

    def __init__(self) -> None:
        super().__init__()
        self._name, self._is_own = "", False
        self._choice: TrainChoice | None = None
        self.run = RunFolder(path=Path())
        self.edit, self.button, self.state = QLineEdit(), QPushButton("…"), QLabel()
        self.take_button = QPushButton("Use its settings")
        self.new_button = QPushButton("New folder")
        self.state.setWordWrap(True)
        _lay_out(self)
        self.edit.textEdited.connect(self._on_edited)
        self.button.clicked.connect(self._on_clicked)
        self.take_button.clicked.connect(lambda: self.settings_wanted.emit(self.run.noted))
        self.new_button.clicked.connect(self._on_new)

    @property
    def folder(self) -> Path:
        """The chosen folder."""
        return Path(self.edit.text().strip()).expanduser()

    @folder.setter
    def folder(self, folder: Path) -> None:
        self._is_own = True
        self._show(folder)
        self.refresh()

    def follow(self, choice: TrainChoice) -> None:
        """Suggest a folder for a model, unless the user chose one; compare the settings."""
        self._choice = choice
        if not self._is_own and choice.name != self._name:
            self._name = choice.name
            self._show(free_folder(choice.name))
        self.refresh()

    def _show(self, folder: Path) -> None:
        home = Path.home()
        inside = folder.is_relative_to(home) and home != Path(home.root)
        # the cursor is at the end, so a long path shows its end
        self.edit.setText(str(Path("~") / folder.relative_to(home)) if inside else str(folder))

    def refresh(self) -> None:
        """Read the state of the folder."""
        self.run = run_folder(self.folder)
        self.edit.setToolTip(f"{self.folder}\nFolder of checkpoints, losses and the finished model")
        others = self._others()
        lines = [self.run.summary]
        if others and not self.run.models:
            lines.append(f"Its settings differ: {'; '.join(others)}.")
        self.state.setText("\n".join(filter(None, lines)))
        self.state.setVisible(bool(self.state.text()))
        self.take_button.setVisible(bool(others) and not self.run.models)
        self.new_button.setVisible(self.run.is_used)
        self.changed.emit()

    def _others(self) -> list[str]:
        """Differences between the settings and those of the folder."""
        choice = self._choice
        if choice is None or not self.run.is_used:
            return []
        given = {
            "method": choice.method,
            "preset": choice.preset,
            "image_size": choice.image_size,
            "plan": asdict(choice.plan),
        }
        return unlike(self.run.noted, given)

    def _on_edited(self, text: str) -> None:
        self._is_own = bool(text.strip())
        self.refresh()

    def _on_clicked(self) -> None:
        start = self.folder if self.folder.is_dir() else self.folder.parent
        with QSignalBlocker(self.edit):
            found = QFileDialog.getExistingDirectory(self, "Folder of the training", str(start))
        if found:
            self.folder = Path(found)

    def _on_new(self) -> None:
        self._is_own = False
        self.edit.setText(str(free_folder(self._name or "model", unused=True)))
        self.refresh()


def _lay_out(out: TrainOut) -> None:
    row, below, form = QHBoxLayout(), QHBoxLayout(), new_form()
    row.addWidget(out.edit, stretch=1)
    row.addWidget(out.button)
    below.addWidget(out.take_button)
    below.addWidget(out.new_button)
    add_row(form, "run folder", row)
    form.addRow(out.state)
    form.addRow(below)
    layout = QVBoxLayout(out)
    layout.addLayout(form)
    layout.setContentsMargins(0, 0, 0, 0)
    out.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
