"""Where visits come from: files, folders and tables of visits, as rows that are yet to be read.

A TIFF file that names neither its axes nor its visits is in doubt, and says so as `AxesUnknown`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_followup.io.dates import date_in_name
from napari_followup.io.kinds import IMAGES, TABLES, is_bids, is_dicom, is_zarr, suffix_of
from napari_followup.io.nifti import nifti_stem
from napari_followup.io.table import column_names, read_table
from napari_followup.io.tiff import is_one_visit
from napari_followup.plugin.layers.reader import TIFFS, has_visits
from napari_followup.plugin.stack.stack_rows import AxesUnknown, Listed, Opener, Row
from napari_followup.series.stack import VisitStack

if TYPE_CHECKING:
    from napari_followup.io.visits import VisitFile

__all__ = ["FileOrigin", "file_rows", "is_file", "listed", "read_file", "table_rows"]

NO_SUBJECT = "has no subject, other rows have; name it in the table"
BARE_AXES = {3: ("zyx", "vyx"), 4: ("vzyx", "svyx"), 5: ("vmzyx", "svzyx")}


@dataclass(eq=False)
class FileOrigin:
    """A file, or a folder of DICOM or OME-Zarr."""

    path: Path
    axes: str | None = None
    choices: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its name without the folder."""
        return self.path.name

    def opener(self) -> Opener:
        """Make what reads its visits."""
        path, axes = self.path, self.axes
        return lambda: read_file(path, axes)

    def subject_of(self, stack: VisitStack) -> str:
        """Say whose visits it holds; a file that does not say goes by its name, which is none."""
        stem = nifti_stem(self.path).removesuffix(self.path.suffix).removesuffix(".ome")
        return "" if stack.subject in ("subject", stem, self.path.stem) else stack.subject

    def said(self) -> str:
        """Whole path."""
        return str(self.path.absolute())


def is_file(path: Path) -> bool:
    """Whether a path is read as it is, where others list what is to be read."""
    return suffix_of(path) not in TABLES and not path.is_dir()


def file_rows(paths: Sequence[Path]) -> list[Row]:
    """Rows of files that were chosen, by date if each name holds another one, else by name."""
    from napari_followup.io.folder import by_number

    days = {path: str(date_in_name(path.name) or "") for path in sorted(paths, key=by_number)}
    dated = all(days.values()) and len(set(days.values())) == len(days) > 1
    ordered = sorted(days, key=days.__getitem__) if dated else days
    return [
        Row(name=path.name, origin=FileOrigin(path), when=days[path] if dated else "")
        for path in ordered
    ]


def listed(path: Path, columns: Mapping[str, str] | None = None) -> Listed:
    """List what a folder or a table of visits names; no image is opened but for its header.

    Parameters
    ----------
    path
        BIDS, DICOM, OME-Zarr or image folder; folder with a table; or a table.
    columns
        The table's own names for what it holds.

    Returns
    -------
    Listed
        Without rows if a table does not tell which of its columns holds the paths.

    Raises
    ------
    OSError, ReadError
        If it cannot be read, or holds nothing.
    """
    if suffix_of(path) in TABLES:
        return table_rows(path, columns)
    if is_bids(path):
        from napari_followup.io.bids import bids_files

        return Listed(path=path, rows=_rows(bids_files(path)), columns={})
    return _folder(path)


def table_rows(path: Path, columns: Mapping[str, str] | None = None) -> Listed:
    """List the rows of a table of visits, ages and dates as they stand there."""
    from napari_followup.io.manifest import COLUMNS

    lines = read_table(path)
    names = [*lines[0].cells]
    found = column_names(names, COLUMNS, columns)
    rows = []
    for line in lines if "path" in found else []:
        cells = {what: line.cells[name] for what, name in found.items()}
        file = path.parent / Path(cells["path"].replace("\\", "/")).expanduser()
        when = cells.get("age", "") or cells.get("date", "")
        rows.append(
            Row(
                name=file.name if cells["path"] else f"row {line.number}: no image",
                origin=FileOrigin(file) if cells["path"] else None,
                subject=cells.get("subject", ""),
                visit=cells.get("visit", ""),
                modality=cells.get("modality", ""),
                when=when,
                birth=cells.get("birth", ""),
                is_missing=not cells["path"],
                is_listed=True,
                table=path,
                error="" if cells.get("subject", "-") else NO_SUBJECT,
            )
        )
    return Listed(path=path, rows=tuple(rows), names=tuple(names), columns=found)


def read_file(path: Path, axes: str | None = None) -> list[tuple[VisitStack, int]]:
    """Read the visits of a file.

    Parameters
    ----------
    path
        Of any kind that `read_stack` knows; a folder of DICOM or OME-Zarr.
    axes
        One letter an axis where the file does not say; without v, it is one visit.

    Returns
    -------
    list of tuple
        Stacks, and which visit of each; of all subjects.

    Raises
    ------
    AxesUnknown
        If the file does not say what its axes are.
    OSError, TypeError, ValueError
        If it cannot be read.
    """
    from napari_followup.io import read_stacks, read_visits
    from napari_followup.io.image import read_image

    if not path.exists():
        raise FileNotFoundError("there is no such file; correct its path, or take the row out")
    if path.is_dir() and not is_zarr(path):
        return _visits(read_visits(path))
    bare = suffix_of(path) in TIFFS and not is_one_visit(path)
    if axes == "zyx" or suffix_of(path) in IMAGES or (suffix_of(path) in TIFFS and not bare):
        return _visits([read_image(path)])
    stacks = read_stacks(path, axes=axes)
    if bare and axes is None and not has_visits(path):
        raise AxesUnknown(BARE_AXES[_axes_count(stacks[0])])
    return _visits(stacks)


def _folder(folder: Path) -> Listed:
    """Rows of a folder that is a series, or holds files that are."""
    from napari_followup.io import files_in
    from napari_followup.io.folder import folder_files

    files = files_in(folder)
    if files == [folder]:
        if is_zarr(folder) or is_dicom(folder):
            one = (Row(name=folder.name, origin=FileOrigin(folder)),)
            return Listed(path=folder, rows=one, columns={})
        return Listed(path=folder, rows=_rows(folder_files(folder)), columns={})
    if len(files) == 1 and suffix_of(files[0]) in TABLES:
        return table_rows(files[0])
    rows: list[Row] = []
    for file in files:
        rows += table_rows(file).rows if suffix_of(file) in TABLES else file_rows([file])
    return Listed(path=folder, rows=tuple(rows), columns={})


def _rows(files: Sequence[VisitFile]) -> tuple[Row, ...]:
    return tuple(
        Row(
            name=file.path.name if file.path else file.visit,
            origin=FileOrigin(file.path) if file.path else None,
            subject=file.subject,
            visit=file.visit,
            modality=file.modality,
            when=f"{file.age:.10g}" if file.age is not None else str(file.day or ""),
            birth=str(file.birth or ""),
            is_missing=file.path is None,
            is_listed=True,
        )
        for file in files
    )


def _visits(stacks: Sequence[VisitStack]) -> list[tuple[VisitStack, int]]:
    return [(stack, index) for stack in stacks for index in range(stack.n_visits)]


def _axes_count(stack: VisitStack) -> int:
    """How many axes a bare array had that was read as visits, planes and modalities."""
    return 3 + (stack.shape[2] > 1) + (stack.shape[1] > 1)
