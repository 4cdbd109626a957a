"""Sets of files that appear whole or not at all.

Each file is written beside its place, and all are moved into it once the last one is complete.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from napari_followup.io.kinds import suffix_of
from napari_followup.io.nifti import nifti_stem
from napari_followup.io.replacing import cannot_write, replacing
from napari_followup.series.results import Cancelled

__all__ = [
    "Parts",
    "file_stem",
    "new_folder",
    "plain",
    "with_notes",
    "write_json",
    "write_parts",
]

Parts = Mapping[str, Callable[[Path], Any]]  # how each file is written, by its name


def write_parts(
    folder: str | os.PathLike[str],
    parts: Parts,
    *,
    overwrite: bool = False,
    on_step: Callable[[int, int], bool | None] = lambda done, total: None,
) -> list[Path]:
    """Write files into a folder, all of them or none.

    Parameters
    ----------
    folder
        Made if need be.
    parts
        How each file is written, by its name or path in the folder.
    overwrite
        Whether files of these names are replaced.
    on_step
        Called with files done and to do; False stops.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    FileExistsError
        If a file is there and `overwrite` is not set.
    OSError
        If nothing can be written there; nothing is left of this call then.
    Cancelled
        If `on_step` stopped it; nothing is left of this call then.
    """
    folder = Path(folder)
    there = [name for name in parts if (folder / name).exists()]
    if there and not overwrite:
        raise FileExistsError(
            f"{str(folder)!r} holds {there[0]!r} already; give another folder, or say that files "
            "there may be replaced (overwrite)"
        )
    with _all_or_none(folder, parts) as draft:
        for done, (name, write) in enumerate(parts.items(), start=1):
            try:
                (draft / name).parent.mkdir(parents=True, exist_ok=True)
                write(draft / name)
            except OSError as error:
                raise cannot_write(error, folder / name) from error
            if on_step(done, len(parts)) is False:
                raise Cancelled("stopped before all files were written; nothing was kept")
    return [folder / name for name in parts]


def file_stem(name: str, taken: set[str] | None = None) -> str:
    """Make a name the beginning of a file name that is not `taken`, and remember it there."""
    start = re.sub(r"[^\w.-]+", "_", name).strip("._") or "subject"
    taken = set() if taken is None else taken
    stems = (f"{start}-{number}" if number > 1 else start for number in count(1))
    stem = next(stem for stem in stems if stem.lower() not in taken)
    taken.add(stem.lower())
    return stem


def new_folder(folder: Path) -> Path:
    """Name a folder inside that is not there yet: ``results-2`` and so on."""
    return next(path for n in count(2) if not (path := folder / f"results-{n}").exists())


def with_notes(written: Sequence[Path]) -> list[Path]:
    """Name what lies there once files were written: beside each NIfTI file its ``.json``, too."""
    found: list[Path] = []
    for path in written:
        found.append(path)
        notes = path.with_name(f"{nifti_stem(path)}.json")
        if suffix_of(path) in (".nii", ".nii.gz") and notes.is_file():
            found.append(notes)
    return found


def write_json(path: Path, values: Mapping[str, Any]) -> Path:
    """Write values as JSON; what is no finite number becomes null."""
    with replacing(path) as draft:
        draft.write_text(json.dumps(plain(values), indent=1) + "\n", encoding="utf-8")
    return path


def plain(value: Any) -> Any:
    """Make values fit for JSON, which knows no NaN, no infinity and no type of numpy's."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def _all_or_none(folder: Path, parts: Parts) -> Iterator[Path]:
    """Give a folder to write to; what is in it when all went well is moved into `folder`."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{str(folder)!r} is a file; give a folder to save results into")
    made, draft = not folder.exists(), folder / f".{uuid.uuid4().hex}.results"
    try:
        draft.mkdir(parents=True)
    except OSError as error:
        raise cannot_write(error, folder / next(iter(parts))) from error
    try:
        yield draft
        _move_all(draft, folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        if made:
            with suppress(OSError):  # what others have put there meanwhile stays
                folder.rmdir()
        raise
    shutil.rmtree(draft, ignore_errors=True)


def _move_all(draft: Path, folder: Path) -> None:
    """Move files, and OME-Zarr folders as a whole, to the same places in `folder`."""
    for written in sorted(draft.iterdir()):
        target = folder / written.name
        if written.is_dir() and written.suffix != ".zarr":
            target.mkdir(exist_ok=True)
            _move_all(written, target)
            continue
        with replacing(target) as place:
            written.rename(place)
