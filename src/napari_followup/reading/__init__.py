"""Files to stacks: one door for every format, chosen by the file's suffix.

A reader is one module with one function ``(path, axes) -> list of VisitStack`` and one line in
`READERS`. Nothing is ever unpickled; a damaged or foreign file is a ValueError that names it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from napari_followup.reading.npz import is_result, marked_sick, read_npz, write_npz
from napari_followup.reading.tiff import read_tiff
from napari_followup.stack import VisitStack

__all__ = ["files_in", "read_healthy", "read_stack", "read_stacks", "write_npz"]

READERS: dict[str, Callable[..., list[VisitStack]]] = {
    ".npz": read_npz,
    ".tif": read_tiff,
    ".tiff": read_tiff,
}


def read_stack(path: str | os.PathLike[str], *, axes: str | None = None) -> VisitStack:
    """Read one subject's series.

    Parameters
    ----------
    path
        A file, or a folder that holds one.
    axes
        One letter an axis, v(isit) m(odality) z y x, where the file does not say or is wrong.

    Returns
    -------
    VisitStack
        Sorted by age.

    Raises
    ------
    FileNotFoundError
        If nothing is there.
    ValueError
        If it cannot be read, or holds several subjects.
    """
    stacks = read_stacks(path, axes=axes)
    if len(stacks) != 1:
        raise ValueError(
            f"{Path(path).name!r} holds {len(stacks)} subjects; read_stacks reads them all"
        )
    return stacks[0]


def read_stacks(
    path: str | os.PathLike[str], *, split: str | None = None, axes: str | None = None
) -> list[VisitStack]:
    """Read many subjects' series.

    Parameters
    ----------
    path
        A file, which may hold a cohort, or a folder of them.
    split
        Keep the subjects that a cohort file marks with this word, such as "train".
    axes
        As for `read_stack`, with an s for the subject in a cohort.

    Returns
    -------
    list of VisitStack
        In the file's order; a folder's files in the order of their names, subfolders and results
        of `detect` left out.

    Raises
    ------
    FileNotFoundError
        If nothing is there.
    ValueError
        If a file cannot be read, or has no such split.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {str(path)!r}; check its name")
    files = files_in(path) if path.is_dir() else [path]
    return [stack for file in files for stack in _read(file, axes, split)]


def read_healthy(
    path: str | os.PathLike[str], *, split: str | None = None, axes: str | None = None
) -> list[VisitStack]:
    """Read series to learn from or to measure with: `read_stacks`, but for files marked as sick.

    Parameters
    ----------
    path, split, axes
        As for `read_stacks`.

    Returns
    -------
    list of VisitStack
        As from `read_stacks`.

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_stacks`, and if a file holds a truth, has one beside it, or names an anomaly.
    """
    stacks = read_stacks(path, split=split, axes=axes)
    path = Path(path)
    for file in files_in(path) if path.is_dir() else [path]:
        beside = file.with_name(f"{file.stem}_truth{file.suffix}")
        if beside.exists() or (file.suffix.lower() == ".npz" and marked_sick(file)):
            raise ValueError(
                f"{file.name!r}: these series are marked as sick (the file holds, or has beside "
                "it, a truth or the name of an anomaly); give healthy series"
            )
    return stacks


def _read(file: Path, axes: str | None, split: str | None) -> list[VisitStack]:
    """Read one file; whatever is wrong with it, the error begins with its name."""
    reader = READERS.get(file.suffix.lower())
    try:
        if reader is None:
            raise ValueError(f"is of an unknown format; give a {_known_suffixes()} file")
        return reader(file, axes=axes, split=split)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file.name!r}: {error}") from error


def files_in(folder: Path) -> list[Path]:
    """Files of a folder that may be series, in the order of their names.

    Raises
    ------
    ValueError
        If there is none.
    """
    files = sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in READERS and not file.name.startswith(".") and not is_result(file)
    )
    if not files:
        raise ValueError(
            f"the folder {folder.name!r} holds no series; put {_known_suffixes()} files into it"
        )
    return files


def _known_suffixes() -> str:
    *others, last = sorted(READERS)
    return f"{', '.join(others)} or {last}"
