"""Series and cohorts in numpy's ``.npz`` files, read and written.

Keys: ``images``, and if need be ``age`` or ``ages``, ``axes``, ``subject``, ``is_observed``,
``spacing``, ``affine``, ``unit``, ``modalities``, ``split``; as JSON ``provenance``, what made the
images. With one row of ages, one subject or one split an entry of the first axis, or an s in
``axes``, the file is a cohort.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.io.errors import ReadError
from napari_followup.io.replacing import replacing
from napari_followup.series.stack import VisitStack

__all__ = [
    "holds",
    "holds_truth",
    "is_result",
    "marked_sick",
    "read_npz",
    "read_npz_truth",
    "write_npz",
    "write_npz_cohort",
]

GEOMETRY = ("axes", "spacing", "affine", "unit")
KEYS = ("images", "age", "ages", "is_observed", "subject", "split", "modalities", *GEOMETRY)
RESULT = {"mask", "score", "provenance"}  # what every result of ours holds, and no series
STARTS = (b"PK", b"\x93NUMPY")  # of .npz and .npy files
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError)


def read_npz(path: Path, *, axes: str | None = None, split: str | None = None) -> list[VisitStack]:
    """Read the subject, or all subjects, of an ``.npz`` file.

    Parameters
    ----------
    path
        The file.
    axes
        Letters of the axes of ``images``, s for subject; stands above what the file says.
    split
        Keep the subjects marked with this word under the key ``split``.

    Returns
    -------
    list of VisitStack
        One a subject, in the order of the file.

    Raises
    ------
    ReadError
        If the file is damaged, holds no ``images``, or lacks the split.
    """
    return _stacks(path, _load(path), axes, split)


def read_npz_truth(path: Path, *, split: str | None = None) -> list[VisitStack]:
    """Read what an ``.npz`` file holds as ``truth``: masks that lie on its images.

    Parameters
    ----------
    path
        The file.
    split
        As for `read_npz`.

    Returns
    -------
    list of VisitStack
        One a subject, its visits in the order of those of `read_npz`.

    Raises
    ------
    ReadError
        As `read_npz`, and if there is no ``truth``.
    """
    data = _load(path, "truth")
    letters = _word(data, "axes") or ""
    for axis in "mz":  # a mask is that of all modalities, and may leave the axis of one plane out
        if len(letters) > data["images"].ndim:
            letters = letters.replace(axis, "")
    data |= {"axes": np.asarray(letters)} if letters else {}
    data.pop("modalities", None)
    return _stacks(path, data, None, split)


def _stacks(
    path: Path, data: dict[str, NDArray[Any]], axes: str | None, split: str | None
) -> list[VisitStack]:
    images = data["images"]
    ages = data.get("ages", data.get("age"))
    names = data.get("subject")
    letters = axes or _word(data, "axes")
    shared: dict[str, Any] = {
        "spacing": _listed(data.get("spacing")),
        "affine": data.get("affine"),
        "unit": _word(data, "unit"),
        "modalities": _listed(data.get("modalities")),
        "provenance": _said(data),
    }
    per_visit: dict[str, Any] = {"ages": ages, "is_observed": data.get("is_observed")}
    is_cohort = "s" in letters if letters else _has_subject_axis(data)
    if not is_cohort:
        if split is not None:
            raise ReadError("holds one subject and no splits; leave split out")
        name = path.stem if names is None else str(names.ravel()[0])
        return [VisitStack.from_array(images, axes=letters, subject=name, **per_visit, **shared)]
    subjects = None if names is None else [str(name) for name in names.ravel()]
    stacks = VisitStack.from_cohort(images, axes=letters, subjects=subjects, **per_visit, **shared)
    return stacks if split is None else _select_split(stacks, data.get("split"), split)


def write_npz(
    path: str | os.PathLike[str],
    stack: VisitStack,
    more: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write one subject's series, so that `read_npz` gives it back.

    A file of that name is replaced only once the new one is complete. Lazy images are loaded.

    Parameters
    ----------
    path
        Where to; must end in ``.npz``.
    stack
        What to write.
    more
        Further arrays by name, which `read_npz` passes over.

    Raises
    ------
    ValueError
        If `path` has another suffix.
    OSError
        If nothing can be written there.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise ValueError(f"write_npz: got {path.name!r}; end the name in .npz")
    data = {
        "images": np.asarray(stack.images),
        "axes": np.asarray("vmzyx"),
        "is_observed": stack.is_observed,
        "subject": np.asarray(stack.subject),
        **_shared(stack),
    }
    if stack.ages_known:
        data["ages"] = stack.ages
    _write(path, data | dict(more or {}))


def write_npz_cohort(path: str | os.PathLike[str], stacks: Sequence[VisitStack]) -> None:
    """Write series of one shape and grid into one file, so that `read_npz` gives them back.

    Parameters
    ----------
    path
        Where to; must end in ``.npz``.
    stacks
        One a subject; the first one's provenance stands for all.

    Raises
    ------
    ValueError
        If `path` has another suffix, or the shapes differ.
    OSError
        If nothing can be written there.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz" or len({stack.shape for stack in stacks}) != 1:
        raise ValueError(
            f"write_npz_cohort: got {path.name!r} and {len(stacks)} series; end the name in .npz, "
            "and give series of one shape"
        )
    data = {
        "images": np.stack([np.asarray(stack.images) for stack in stacks]),
        "axes": np.asarray("svmzyx"),
        "is_observed": np.stack([stack.is_observed for stack in stacks]),
        "subject": np.array([stack.subject for stack in stacks]),
        **_shared(stacks[0]),
    }
    if all(stack.ages_known for stack in stacks):
        data["ages"] = np.stack([stack.ages for stack in stacks])
    _write(path, data)


def _shared(stack: VisitStack) -> dict[str, NDArray[Any]]:
    """Collect what the series of one file have in common."""
    data = {
        "spacing": np.asarray(stack.spacing),
        "affine": stack.affine,
        "unit": np.asarray(stack.unit),
        "modalities": np.asarray(stack.modalities),
    }
    if stack.provenance:
        data["provenance"] = np.asarray(json.dumps(dict(stack.provenance)))
    return data


def _write(path: Path, data: dict[str, Any]) -> None:
    with replacing(path) as draft, draft.open("xb") as file:
        np.savez_compressed(file, **data)


def is_result(path: Path) -> bool:
    """Whether an ``.npz`` file is a result of ours, by its table of contents alone."""
    return holds(path, *RESULT)


def holds_truth(path: Path) -> bool:
    """Whether an ``.npz`` file holds masks as ``truth``, by its table of contents alone."""
    return holds(path, "truth")


def holds(path: Path, *names: str) -> bool:
    """Whether a file is an ``.npz`` with all these arrays, by its table of contents alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {f"{name}.npy" for name in names} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def marked_sick(path: Path) -> bool:
    """Whether an ``.npz`` file says that its series are not healthy: by a truth, or a kind."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            kind = str(archive["kind"]) if "kind" in archive.files else "healthy"
            return "truth" in archive.files or kind != "healthy"
    except (*DAMAGE, AttributeError):
        return False  # reading it says what is wrong


def _load(path: Path, images: str = "images") -> dict[str, NDArray[Any]]:
    """Arrays of the file under the keys we know; `images` names those that are the images."""
    with path.open("rb") as file:
        start = file.read(8)
        file.seek(0)
        if not start.startswith(STARTS):
            what = "is no readable .npz file, whatever its name" if start else "is an empty file"
            raise ReadError(
                f"{what}; copy it again, or save one with numpy.savez(path, images=..., ages=...)"
            )
        try:
            archive = np.load(file, allow_pickle=False)
            found = list(getattr(archive, "files", []))
            keys = KEYS if set(found) >= RESULT else (*KEYS, "provenance")  # a result's is its own
            names = {key: images if key == "images" else key for key in keys}
            data = {key: archive[name] for key, name in names.items() if name in found}
        except DAMAGE as error:
            if "pickle" in str(error):
                raise ReadError(
                    "is no readable .npz file: it holds Python objects, which are never loaded; "
                    "save plain arrays"
                ) from error
            raise ReadError(
                f"is no readable .npz file ({error}); it may be cut short: copy it again"
            ) from error
    if "images" not in data and set(found) >= RESULT:
        raise ReadError(
            "is a result of napari-followup, not a series; open the series it was made from, and "
            f"its maps ({', '.join(found)}) with numpy.load(path)"
        )
    if "images" not in data:
        raise ReadError(
            f"has no array {images!r} (it has: {', '.join(found) or 'no names at all'}); save one "
            f"with numpy.savez(path, {images}=..., ages=...)"
        )
    return data


def _has_subject_axis(data: dict[str, NDArray[Any]]) -> bool:
    """Whether the other arrays have one entry, or row, for each entry of the images' first axis."""
    count = len(data["images"])
    rows = [data[key] for key in ("age", "ages", "is_observed") if key in data]
    names = [data[key] for key in ("subject", "split") if key in data]
    return any(a.ndim == 2 for a in rows) or any(a.shape == (count,) for a in names)


def _said(data: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Provenance of the images; none where it is missing or no JSON object."""
    try:
        said = json.loads(str(data["provenance"]))
    except (KeyError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _word(data: dict[str, NDArray[Any]], key: str) -> str | None:
    return str(data[key]) if key in data else None


def _listed(values: NDArray[Any] | None) -> list[Any] | None:
    return None if values is None else np.atleast_1d(values).tolist()


def _select_split(
    stacks: list[VisitStack], words: NDArray[Any] | None, split: str
) -> list[VisitStack]:
    if words is None or words.shape != (len(stacks),):
        raise ReadError("has no 'split' with a word for each subject; leave split out")
    kept = [stack for stack, word in zip(stacks, words, strict=True) if word == split]
    if not kept:
        raise ReadError(f"split: got {split!r}; the file has {', '.join(np.unique(words))}")
    return kept
