"""What a folder holds of a training, read without loading anything of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_followup.models.catalogue import model_folder

__all__ = ["RunFolder", "free_folder", "run_folder", "trainings_folder", "unlike"]

NOT_OURS = ("device", "log", "devices", "checkpoint_minutes")  # may change when a run goes on


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """A folder, and what was begun in it."""

    path: Path
    noted: Mapping[str, Any] = field(default_factory=dict)  # method, preset, config, plan
    finished: tuple[str, ...] = ()  # stages
    begun: tuple[str, ...] = ()  # stages with a checkpoint
    models: tuple[Path, ...] = ()

    @property
    def is_used(self) -> bool:
        """Whether a training was begun there."""
        return bool(self.noted)

    @property
    def can_resume(self) -> bool:
        """Whether there is something to go on from."""
        return self.is_used and bool(self.begun or self.finished) and not self.models

    @property
    def said(self) -> str:
        """What a person should know of it, in one sentence."""
        what = f"a training of {self.noted.get('method')} ({self.noted.get('preset')})"
        if self.models:
            return f"Holds {what} that is finished; take a new folder to train anew."
        if self.begun or self.finished:
            return f"Holds {what} that can be resumed: {self._stages()}."
        if self.is_used:
            return f"Holds {what} that stopped before its first checkpoint."
        return ""

    def _stages(self) -> str:
        done = [f"{stage} is finished" for stage in self.finished]
        left = [stage for stage in self.begun if stage not in self.finished]
        return ", ".join([*done, *(f"{stage} has a checkpoint" for stage in left)])


def trainings_folder() -> Path:
    """Where trainings go that were told no other place: beside the folder of the models."""
    return model_folder().parent / "trainings"


def free_folder(name: str, *, unused: bool = False) -> Path:
    """Suggest a folder: the first one of that name whose training is not finished.

    Parameters
    ----------
    name
        Of the model.
    unused
        Whether one that holds an unfinished training will not do either.

    Returns
    -------
    Path
        Need not exist.
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
    """Look into a folder; one that is not there, or holds other things, says nothing."""
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
    """Say in what a noted training differs from a chosen one, as far as both tell.

    Parameters
    ----------
    noted
        As `RunFolder` has it.
    given
        Method, preset, image size or none, and the plan as a dict.

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
    """Folders that hold a file of this name, the older file first."""
    files = sorted(path.glob(f"*/{name}"), key=lambda file: file.stat().st_mtime)
    return tuple(file.parent.name for file in files)
