"""Series of one subject into one file, whose name says the format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_followup.cli.options import check_out

if TYPE_CHECKING:
    from napari_followup.series.stack import VisitStack

__all__ = ["check_file", "modality_of", "subject_of", "write_series"]

SUFFIXES = (".npz", ".nii", ".nii.gz")


def check_file(path: Path) -> None:
    """Refuse a file that cannot be written, before any computing.

    Raises
    ------
    ValueError
        If its name ends in none of the formats.
    OSError
        If it is a folder, or its folder cannot be made or written into.
    """
    if not path.name.lower().endswith(SUFFIXES):
        raise ValueError(f"out: got {path.name!r}; end the name in {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise IsADirectoryError(f"out: {str(path)!r} is a folder; give a file")
    check_out(path.parent)


def subject_of(stacks: Sequence[VisitStack], subject: str | None) -> list[VisitStack]:
    """Keep the stacks of one subject.

    Raises
    ------
    ValueError
        If there are several subjects and none is named, or the named one is not there.
    """
    names = list(dict.fromkeys(stack.subject for stack in stacks))
    if subject is None and len(names) > 1:
        raise ValueError(f"subject: there are several; give --subject, one of {', '.join(names)}")
    if subject is not None and subject not in names:
        raise ValueError(f"subject: got {subject!r}; there is {', '.join(names)}")
    return [stack for stack in stacks if subject in (None, stack.subject)]


def modality_of(stack: VisitStack, name: str | None) -> int:
    """Position of a modality by its name; the first one without a name.

    Raises
    ------
    ValueError
        If the stack has no such modality.
    """
    if name is None:
        return 0
    if name not in stack.modalities:
        known = ", ".join(stack.modalities)
        raise ValueError(f"modality: got {name!r}; the visits have {known}")
    return stack.modalities.index(name)


def write_series(path: Path, stack: VisitStack, command: str) -> None:
    """Write a series in the format that `path` names, with the command that made it."""
    from napari_followup.io.nifti import write_nifti
    from napari_followup.io.npz import write_npz

    path.parent.mkdir(parents=True, exist_ok=True)
    said = {**stack.provenance, "command": command}
    stack = stack.with_images(stack.images, provenance=said)
    (write_npz if path.suffix.lower() == ".npz" else write_nifti)(path, stack)
