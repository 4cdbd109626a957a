"""Series with what is abnormal in them: the truth that files hold, or masks in files of their own.

A truth is an array ``truth`` in an ``.npz`` file, or ``NAME_truth`` beside another file. Masks are
read as images are, nonzero where abnormal; they go to the subject of their name, else in order.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_followup.io.errors import ReadError
from napari_followup.io.kinds import truth_beside
from napari_followup.io.npz import holds_truth, is_result, marked_sick, read_npz_truth
from napari_followup.series.grid import SAME_PLACE, apart
from napari_followup.series.stack import VisitStack

__all__ = ["Labelled", "read_labelled"]

WORDS = re.compile(r"[_-](?:truth|masks?|labels?|seg)(?=-\d+$|$)")  # after the subject's name
SHOWN = 4  # names in a message


@dataclass(frozen=True, eq=False, kw_only=True)
class Labelled:
    """Series, and one entry each for ``nf.train(..., labels=...)``: a mask, or 0 for healthy.

    `by` says how masks went to series: "truth", "name" or "order".
    """

    stacks: list[VisitStack]
    labels: list[Any]  # (visit, z, y, x) each, perhaps lazy, or 0
    by: str

    @property
    def marked(self) -> int:
        """How many series have a mask; it may be empty."""
        return sum(np.ndim(entry) > 0 for entry in self.labels)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Given:
    """A series as it was read, and whether its file says that it is not healthy."""

    stack: VisitStack
    file: Path
    truth: VisitStack | None = None
    is_sick: bool = False


def read_labelled(
    data: Sequence[str | os.PathLike[str]],
    masks: Sequence[str | os.PathLike[str]] = (),
    *,
    split: str | None = None,
) -> Labelled:
    """Read series, healthy and other ones, with what is abnormal in them.

    Parameters
    ----------
    data
        Files and folders, as `read_stacks` takes them.
    masks
        Files and folders of masks, nonzero where abnormal. Those that bear the name of a subject
        of `data`, with ``_mask``, ``_truth``, ``_labels`` or ``_seg`` after it or not, are that
        subject's, and subjects without one are healthy; else there is one for each, in order.
        Without any, the truth counts that `data` holds itself.
    split
        Keep the subjects that a cohort file marks with this word.

    Returns
    -------
    Labelled
        Masks with their visits in the order of the series, which is that of the ages.

    Raises
    ------
    FileNotFoundError
        If nothing is there.
    ReadError
        If something cannot be read, masks fit no series, a series is marked as sick and has no
        mask, or there is no truth.
    """
    given = list(_read_data([Path(path) for path in data], split))
    if masks:
        found = [mask for path in masks for mask in _read_masks(Path(path))]
        pairs, by = _paired(given, found, may_leave_out=split is not None)
    else:
        pairs, by = [each.truth for each in given], "truth"
        if not any(pairs):
            raise ReadError(
                "labels: no file of the data holds a truth (an array 'truth' in an .npz file, or "
                "NAME_truth.tif beside NAME.tif); name the files of the masks"
            )
    labels = [_entry(each, mask) for each, mask in zip(given, pairs, strict=True)]
    return Labelled(stacks=[each.stack for each in given], labels=labels, by=by)


def _read_data(paths: Sequence[Path], split: str | None) -> Iterator[_Given]:
    from napari_followup.io import files_in, read_stacks

    files = [file for path in paths for file in (files_in(path) if path.is_dir() else [path])]
    truths = {truth_beside(file) for file in files}
    for file in files:
        if file not in truths:
            stacks = read_stacks(file, split=split)
            found = _truths(file, split)
            if found is not None and len(found) != len(stacks):
                raise ReadError(
                    f"{file.name!r}: holds {len(stacks)} subjects, its truth {len(found)}; give "
                    "one mask a subject"
                )
            is_sick = found is not None or (file.suffix.lower() == ".npz" and marked_sick(file))
            for number, stack in enumerate(stacks):
                truth = None if found is None else found[number]
                yield _Given(stack=stack, file=file, truth=truth, is_sick=is_sick)


def _truths(file: Path, split: str | None) -> list[VisitStack] | None:
    """Masks that a file holds, or has beside it."""
    from napari_followup.io import read_stacks

    if file.suffix.lower() == ".npz" and holds_truth(file):
        try:
            return read_npz_truth(file, split=split)
        except (TypeError, ValueError) as error:
            raise ReadError(f"{file.name!r}: truth: {error}") from error
    beside = truth_beside(file)
    return read_stacks(beside, split=split) if beside.exists() else None


def _read_masks(path: Path) -> list[VisitStack]:
    from napari_followup.io import files_in, read_stacks

    found: list[VisitStack] = []
    for file in files_in(path) if path.is_dir() else [path]:
        is_archive = file.suffix.lower() == ".npz"
        if is_archive and holds_truth(file):
            found += read_npz_truth(file)
        elif is_archive and is_result(file):
            raise ReadError(
                f"{file.name!r}: is a result of napari-followup; give masks that somebody has seen"
            )
        else:
            found += read_stacks(file)
    return found


def _paired(
    given: Sequence[_Given], masks: Sequence[VisitStack], *, may_leave_out: bool
) -> tuple[list[VisitStack | None], str]:
    """Mask of every series, and how they were paired."""
    names = [each.stack.subject for each in given]
    theirs = [_name(mask.subject, names) for mask in masks]
    known = [name for name in theirs if name in names]
    is_clear = len({*names}) == len(names) and len({*theirs}) == len(theirs)
    if is_clear and known and (may_leave_out or len(known) == len(theirs)):
        by_name = dict(zip(theirs, masks, strict=True))
        return [by_name.get(name) for name in names], "name"
    if len(masks) == len(given) and not (is_clear and known):
        return list(masks), "order"
    strange = [name for name in theirs if name not in names]
    if not strange:
        twice = _twice(names) or _twice(theirs)
        raise ReadError(
            f"labels: {_listed(twice)} name more than one series, or mask, so that they do not say "
            "which goes with which; give each subject one name in all files, or name no masks "
            "where the data holds its truth"
        )
    raise ReadError(
        f"labels: {_listed(strange)} are masks of no subject of the data ({_listed(names)}); name "
        f"masks as their subjects, or give one for each of the {len(given)} series, in their order"
    )


def _twice(names: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]


def _name(name: str, known: Sequence[str]) -> str:
    """Subject that a mask names, perhaps with a word after it."""
    return name if name in known else WORDS.sub("", name)


def _entry(given: _Given, mask: VisitStack | None) -> Any:
    """(visit, z, y, x) of one series, or 0."""
    if mask is None and given.is_sick:
        raise ReadError(
            f"{given.file.name!r}: its series are marked as sick (the file holds, or has beside "
            f"it, a truth or the name of an anomaly), and {given.stack.subject!r} has no mask; "
            "give it one, or leave the file out"
        )
    if mask is None:
        return 0
    _check_fit(mask, given.stack)
    return mask.images[:, 0]


def _check_fit(mask: VisitStack, stack: VisitStack) -> None:
    where = f"labels of {stack.subject!r}"
    wanted = (stack.n_visits, 1, *stack.shape[2:])
    if mask.shape != wanted:
        raise ReadError(
            f"{where}: got shape {mask.shape}; its images want {wanted} (visit, modality, z, y, "
            "x): one mask for all modalities, on the same voxels at every visit"
        )
    if mask.ages_known and not (stack.ages_known and np.allclose(mask.ages, stack.ages)):
        theirs = stack.ages.round(3).tolist() if stack.ages_known else "not known"
        raise ReadError(
            f"{where}: their ages are {mask.ages.round(3).tolist()}, those of the images {theirs}; "
            "give both the same, or the masks none, in the order of the ages"
        )
    both = mask.unit == stack.unit == "mm"
    if both and apart(mask.affine, stack.affine, stack.shape[2:]) > SAME_PLACE:
        raise ReadError(f"{where}: they lie elsewhere than the images; resample them onto these")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:SHOWN]))
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
