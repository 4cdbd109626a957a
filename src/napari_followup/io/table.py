"""Tables as text: CSV in any usual delimiter and encoding, read by row; rows written as CSV."""

from __future__ import annotations

import codecs
import csv
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from napari_followup.io.errors import ReadError
from napari_followup.io.replacing import replacing

__all__ = ["Row", "column_names", "read_table", "write_table"]

DELIMITERS = ",;\t|"
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Row:
    """One row: its line in the file, where the names stand in line 1, and its cells by column."""

    number: int
    cells: Mapping[str, str]


def read_table(path: Path) -> list[Row]:
    """Read the rows of a table that are not empty.

    Parameters
    ----------
    path
        Text with a first line of names; commas, semicolons, tabs or bars between cells; UTF-8,
        UTF-16 or Latin-1.

    Returns
    -------
    list of Row
        Cells without the blanks around them; a cell that a row lacks is empty.

    Raises
    ------
    ReadError
        If it is no such text, or has no row.
    """
    text = _decoded(path.read_bytes())
    head = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=head.count)
    try:
        lines = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
        names = [name.strip() for name in next(lines, [])]
        rows = [
            Row(lines.line_num, _cells(names, line, lines.line_num))
            for line in lines
            if any(cell.strip() for cell in line)
        ]
    except csv.Error as error:
        raise ReadError(f"is no table ({error}); save it as CSV text, with names first") from error
    if not rows:
        raise ReadError("has no rows; give a line of names and then a line a visit")
    return rows


def column_names(
    names: Sequence[str],
    synonyms: Mapping[str, Sequence[str]],
    given: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Find which column of a table holds what.

    Parameters
    ----------
    names
        The table's columns.
    synonyms
        What is looked for, and the names it goes by, in lower case with ``_`` between words.
    given
        What is looked for, and its column, where the table's names are others.

    Returns
    -------
    dict
        The column of each thing that was found.

    Raises
    ------
    ReadError
        If a given name is none of the table's, or of the things looked for.
    """
    found = {}
    plain = {re.sub(r"\W+", "_", name.lower()).strip("_"): name for name in names}
    for what, others in synonyms.items():
        name = next((plain[other] for other in (what, *others) if other in plain), None)
        if name is not None:
            found[what] = name
    for what, name in (given or {}).items():
        if what not in synonyms or name not in names:
            raise ReadError(
                f"columns: got {what!r}: {name!r}; give one of {', '.join(synonyms)}, and one of "
                f"the table's columns, {', '.join(names)}"
            )
        found[what] = name
    return found


def write_table(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as CSV, their columns in the order in which they first appear.

    Parameters
    ----------
    path
        Where to; a file of that name is replaced once the new one is complete.
    rows
        Values by column.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OSError
        If nothing can be written there.
    """
    path = Path(path)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(path) as draft, draft.open("x", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def _decoded(data: bytes) -> str:
    try:
        if data.startswith(UTF16):
            return data.decode("utf-16")
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if "\0" in text:
        raise ReadError("is no text; save the table as CSV")
    return text


def _cells(names: Sequence[str], line: Sequence[str], number: int) -> dict[str, str]:
    if any(cell.strip() for cell in line[len(names) :]):
        raise ReadError(
            f"row {number}: has {len(line)} cells for {len(names)} columns; put cells that hold "
            "the delimiter in quotes"
        )
    cells = [cell.strip() for cell in line] + [""] * (len(names) - len(line))
    return dict(zip(names, cells, strict=False))
