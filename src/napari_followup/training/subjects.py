"""Whom a training learns from: subjects read from files, fit for it, and split."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import numpy as np

from napari_followup.stack import VisitStack

__all__ = ["Given", "fingerprint", "given_series", "seen_twice", "split_subjects"]

Given = VisitStack | str | os.PathLike[str] | Sequence[VisitStack | str | os.PathLike[str]]
"""Series, or tables, folders and files to read them from."""

UNNAMED = "subject"  # what a series is called whose subject has no name


def given_series(given: Given) -> list[VisitStack]:
    """Series of what was given, files read.

    Parameters
    ----------
    given
        Series, or a table of visits, a folder, a file, or several of these.

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
    each = [given] if isinstance(given, VisitStack | str | os.PathLike) else list(given)
    found: list[VisitStack] = []
    for item in each:
        if isinstance(item, VisitStack):
            found.append(item)
        elif isinstance(item, str | os.PathLike):
            from napari_followup.reading import read_healthy

            found += read_healthy(item)
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
    stacks: Sequence[VisitStack], held_out: float, seed: int
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

    Returns
    -------
    tuple of list
        Training and held-out series, each in the order given.

    Raises
    ------
    ValueError
        If fewer than two subjects are given.
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
    order = np.random.default_rng(seed).permutation(len(subjects))
    count = min(max(1, round(held_out * len(subjects))), len(subjects) - 1)
    aside = {subjects[i] for i in order[:count]}
    named = list(zip(names, stacks, strict=True))
    return [s for n, s in named if n not in aside], [s for n, s in named if n in aside]


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
