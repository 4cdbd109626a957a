"""Whom a training learns from: subjects read from files, fit for it, and split."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import numpy as np

from napari_followup.series.stack import VisitStack

__all__ = ["Given", "fingerprint", "given_series", "seen_twice", "split_subjects"]

Given = VisitStack | str | os.PathLike[str] | Sequence[VisitStack | str | os.PathLike[str]]
"""Series, or tables, folders and files to read them from."""

UNNAMED = "subject"  # what a series is called whose subject has no name


def given_series(given: Given, *, are_healthy: bool = True) -> list[VisitStack]:
    """Series of what was given, files read.

    Parameters
    ----------
    given
        Series, or a table of visits, a folder, a file, or several of these.
    are_healthy
        Whether files that are marked as sick are refused; not where labels go with them.

    Returns
    -------
    list of VisitStack
        In the order given.

    Raises
    ------
    TypeError
        If something is neither a series nor a path.
    FileNotFoundError, ValueError
        As `reading.read_healthy`.
    """
    from napari_followup.io import read_healthy, read_stacks

    each = [given] if isinstance(given, VisitStack | str | os.PathLike) else list(given)
    found: list[VisitStack] = []
    for item in each:
        if isinstance(item, VisitStack):
            found.append(item)
        elif isinstance(item, str | os.PathLike):
            found += read_healthy(item) if are_healthy else read_stacks(item)
        else:
            raise TypeError(
                f"stacks: got {type(item).__name__}; give VisitStacks, one a subject, or the path "
                "of a table or folder (arrays: VisitStack.from_cohort)"
            )
    return found


def seen_twice(stacks: Sequence[VisitStack]) -> list[VisitStack]:
    """Series with two observed visits or more: those that show a change.

    Raises
    ------
    ValueError
        If there is none.
    """
    found = [stack for stack in stacks if stack.is_observed.sum() > 1]
    if not found:
        raise ValueError(
            f"none of {len(stacks)} series has two observed visits: change over time is learned "
            "from subjects seen at least twice"
        )
    return found


def split_subjects(
    stacks: Sequence[VisitStack],
    held_out: float,
    seed: int,
    *,
    sick: Sequence[bool] | None = None,
) -> tuple[list[VisitStack], list[VisitStack]]:
    """Subjects to train on, and those kept aside for validation and the healthy score quantiles.

    Parameters
    ----------
    stacks
        Series; those with one name are of one subject and stay together.
    held_out
        Share of the subjects to keep aside; at least one is, and at least one is not.
    seed
        Source of the random choice.
    sick
        Whether a series shows anything abnormal, one a series. Where it is given, this share of the
        healthy subjects is kept aside, at least one, and of the others, of whom one is not.

    Returns
    -------
    tuple of list
        Training and held-out series, each in the order given.

    Raises
    ------
    ValueError
        If fewer than two subjects are given, or none of them is healthy.
    """
    names = [
        f"{stack.subject} {number}" if stack.subject == UNNAMED else stack.subject
        for number, stack in enumerate(stacks)
    ]
    subjects = list(dict.fromkeys(names))
    if len(subjects) < 2:
        alike = f": all {len(stacks)} series name the subject {names[0]!r}" if names[1:] else ""
        raise ValueError(
            "training needs at least 2 subjects, one of them to validate on; got "
            f"{len(subjects)}{alike}"
        )
    order = [subjects[i] for i in np.random.default_rng(seed).permutation(len(subjects))]
    if sick is None:
        aside = set(order[: _share(len(order), held_out)])
    else:
        ill = {name for name, is_sick in zip(names, sick, strict=True) if is_sick}
        if len(ill) == len(order):
            raise ValueError(_none_healthy(len(order), len(stacks)))
        aside = _of_both_kinds(order, ill, held_out)
    named = list(zip(names, stacks, strict=True))
    return [s for n, s in named if n not in aside], [s for n, s in named if n in aside]


def _of_both_kinds(order: Sequence[str], ill: set[str], held_out: float) -> set[str]:
    """Subjects kept aside, healthy ones first of all: they tell how high healthy ones score."""
    healthy, others = ([n for n in order if (n in ill) == is_ill] for is_ill in (False, True))
    few = max(1, _share(len(healthy), held_out))
    return {*healthy[:few], *others[: _share(len(others), held_out)]}


def _none_healthy(subjects: int, series: int) -> str:
    alike = ", series of one name being one subject's" if series > subjects else ""
    return (
        f"labels: none of the {subjects} subjects is healthy at all visits{alike}; nothing tells "
        "how high healthy ones score: give healthy subjects, too"
    )


def _share(count: int, held_out: float) -> int:
    """How many of so many are kept aside: at least one, and not all."""
    return min(max(1, round(held_out * count)), max(0, count - 1))


def fingerprint(stacks: Sequence[VisitStack]) -> str:
    """Short hash of who was seen when, and of the middle plane of every observed visit."""
    digest = hashlib.sha256()
    for stack in stacks:
        digest.update(repr((stack.subject, stack.shape, stack.modalities)).encode())
        digest.update(stack.ages.tobytes() + stack.is_observed.tobytes())
        for visit in np.flatnonzero(stack.is_observed):
            plane = np.asarray(stack.images[visit, :, stack.shape[2] // 2])
            digest.update(np.ascontiguousarray(plane).tobytes())
    return digest.hexdigest()[:16]
