"""A training goes on with the settings it began with, or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from napari_followup.io.replacing import replacing

__all__ = ["RUN", "check_out", "go_on"]

RUN = "training.json"


def check_out(out: Path) -> None:
    """Make the folder of a training, and see whether it can be written into.

    Raises
    ------
    OSError
        If it cannot; the message says why.
    """
    probe = out / ".writable"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"1")
        probe.unlink()
    except OSError as error:
        raise type(error)(
            error.errno,
            f"out: nothing can be written into {str(out)!r} ({error.strerror or error}); give "
            "another folder, or make room",
        ) from error


def go_on(out: Path, settings: Mapping[str, Any]) -> bool:
    """Note the settings of a training, or see that they are those noted.

    Parameters
    ----------
    out
        Folder of the training.
    settings
        All that decides what is learned, plain values for JSON.

    Returns
    -------
    bool
        Whether a training was begun there before.

    Raises
    ------
    ValueError
        If one was begun with other settings; the message names them.
    """
    file = out / RUN
    given = json.loads(json.dumps(settings))
    if not file.exists():
        with replacing(file) as draft:
            draft.write_text(json.dumps(given, indent=1), encoding="utf-8")
        return False
    try:
        noted = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: cannot be read; delete the folder to begin anew") from error
    others = [
        f"{name} was {before!r} and is now {now!r}" for name, before, now in _unlike(noted, given)
    ]
    if others:
        raise ValueError(
            f"out: {str(out)!r} holds a training with other settings: {'; '.join(others)}; give "
            "the same to go on, or another folder"
        )
    return True


def _unlike(noted: Any, given: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Names of values that differ, and both values."""
    if not (isinstance(noted, dict) and isinstance(given, dict)):
        if noted != given:
            yield name, noted, given
        return
    for key in dict.fromkeys([*noted, *given]):
        inner = f"{name} {key}".strip()
        yield from _unlike(noted.get(key), given.get(key), inner)
