"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["cannot_write", "replacing"]

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
