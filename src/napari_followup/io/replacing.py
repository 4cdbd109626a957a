"""Files, folders and sets of files that are written completely or not at all.

Each file is written beside its place. It is moved there once it, and its set, are complete.
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

from napari_followup.io.kinds import stem_of, suffix_of

__all__ = [
    "Parts",
    "cannot_write",
    "file_stem",
    "new_folder",
    "plain",
    "replacing",
    "with_notes",
    "write_json",
    "write_parts",
]

Parts = Mapping[str, Callable[[Path], Any]]  # how each file is written, by its name
CANNOT = "cannot write"


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path to write to; it takes the place of `path` once all is written.

    Parameters
    ----------
    path
        A file, or a folder if a folder is written.

    Yields
    ------
    Path
        Beside `path`, ending like it; nothing of it is left if anything fails.

    Raises
    ------
    OSError
        If nothing can be written there; the message names `path` and says what to do.
    """
    path = Path(path)
    draft = path.with_name(f".{uuid.uuid4().hex}.{path.name}")
    try:
        yield draft
        _move(draft, path)
    except OSError as error:
        if str(error).startswith(CANNOT):
            raise  # a file that is written together with this one has told
        raise cannot_write(error, path) from error
    finally:
        _remove(draft)


def cannot_write(error: OSError, path: Path) -> OSError:
    """Make of a system's error one that names `path` and says what to do."""
    while str(error).startswith(CANNOT) and isinstance(error.__cause__, OSError):
        error = error.__cause__  # told before, of a temporary path
    told = type(error)(
        f"{CANNOT} {str(path)!r} ({error.strerror or error}); check that its folder exists, "
        "may be written into and has room, or give another"
    )
    told.errno = error.errno  # as an argument it would stand in the message
    return told


def _move(draft: Path, path: Path) -> None:
    """Rename; a folder takes a folder's place in two steps, for systems do not do it in one."""
    if not (draft.is_dir() and path.exists()):
        draft.replace(path)
        return
    old = draft.with_name(f"{draft.name}.old")
    path.replace(old)
    try:
        draft.replace(path)
    except OSError:
        old.replace(path)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists():
        path.unlink()


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
    from napari_followup.series.results import Cancelled

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
        notes = path.with_name(f"{stem_of(path)}.json")
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
