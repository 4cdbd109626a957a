"""Look at what shall go into a stack, in a thread: list folders and tables, read images.

Whatever is wrong with a file or a layer is kept as text, to be shown where it stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from napari_followup.plugin.run.progress import spoken
from napari_followup.plugin.run.report import Report
from napari_followup.plugin.stack.stack_model import Found
from napari_followup.plugin.stack.stack_rows import AxesUnknown, Listed, Opener, Origin, part_of
from napari_followup.plugin.stack.stack_sources import listed

__all__ = ["Openers", "list_source", "open_all", "read_origins"]

Openers = list[tuple[Origin, Opener | Found]]


def list_source(path: Path, columns: Mapping[str, str] | None, report: Report) -> Listed:
    """List a folder or table.

    Raises
    ------
    ValueError
        If it cannot be read, or holds nothing; the message names it.
    """
    report.phase(f"Looking through {path.name}")
    try:
        return listed(path, columns)
    except Exception as error:  # each format's reader has errors of its own
        raise ValueError(f"{path.name!r}: {spoken(error)}") from error


def open_all(origins: Sequence[Origin]) -> Openers:
    """Make what reads origins, while their layers are at hand; or what is wrong with one."""
    openers: Openers = []
    for origin in origins:
        try:
            openers.append((origin, origin.opener()))
        except ValueError as error:  # kept as text: its traceback would keep the layer alive
            openers.append((origin, _complaint(origin, error)))
    return openers


def read_origins(openers: Openers, report: Report) -> list[tuple[Origin, Found]]:
    """Read each origin far enough to show and check it; after a stop, those that were read."""
    found: list[tuple[Origin, Found]] = []
    report.phase("Reading")
    for done, (origin, opener) in enumerate(openers):
        report.detail(origin.name)
        if not report(done, len(openers)):
            break
        what = opener if isinstance(opener, Found) else _found(origin, opener)
        found.append((origin, what))
    return found


def _found(origin: Origin, opener: Opener) -> Found:
    try:
        parts = [part_of(stack, n, origin.subject_of(stack)) for stack, n in opener()]
        return Found(parts=tuple(parts))
    except Exception as error:  # each format's reader has errors of its own
        return _complaint(origin, error)


def _complaint(origin: Origin, error: Exception) -> Found:
    choices = error.choices if isinstance(error, AxesUnknown) else ()
    return Found(error=spoken(error).removeprefix(f"{origin.name!r}: "), choices=choices)
