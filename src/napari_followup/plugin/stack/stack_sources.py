"""Files, folders, tables of visits and layers, as rows; and how a thread reads them.

A layer is referred to weakly. Errors are kept as text, to be shown at the row. A TIFF file or a
layer without information about its axes raises `AxesUnknown`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.utils.transforms import Affine
from numpy.typing import NDArray

from napari_followup.io.dates import date_in_name
from napari_followup.io.kinds import IMAGES, TABLES, is_bids, is_dicom, is_zarr, stem_of, suffix_of
from napari_followup.io.table import column_names, read_table
from napari_followup.io.tiff import is_one_visit
from napari_followup.plugin.layers.layers import (
    BARE_AXES,
    WORDS,
    Source,
    about,
    axes_choices,
    series_of,
    source_of,
    visit_source,
)
from napari_followup.plugin.layers.reader import TIFFS, has_visits
from napari_followup.plugin.run.progress import message_of
from napari_followup.plugin.run.report import Report
from napari_followup.plugin.stack.stack_rows import (
    AxesUnknown,
    Found,
    Listed,
    Opener,
    Origin,
    Row,
    part_of,
)
from napari_followup.series.stack import VisitStack

if TYPE_CHECKING:
    from napari_followup.io.visits import VisitFile

__all__ = [
    "FileOrigin",
    "LayerOrigin",
    "file_rows",
    "is_file",
    "layer_rows",
    "list_source",
    "listed",
    "meanings_of",
    "open_all",
    "read_file",
    "read_origins",
    "series_layers",
]

NO_SUBJECT = "has no subject, but other rows have; name it in the table"
TIFF_AXES = {3: ("zyx", "vyx"), 4: ("vzyx", "svyx"), 5: ("vmzyx", "svzyx")}


@dataclass(eq=False)
class FileOrigin:
    """A file, or a folder of DICOM or OME-Zarr."""

    path: Path
    axes: str | None = None
    choices: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name without the folder."""
        return self.path.name

    def opener(self) -> Opener:
        """Make the function that reads its visits."""
        path, axes = self.path, self.axes
        return lambda: read_file(path, axes)

    def subject_of(self, stack: VisitStack) -> str:
        """Give the subject's name; empty if it is only the name of the file."""
        stem = stem_of(self.path).removesuffix(self.path.suffix).removesuffix(".ome")
        return "" if stack.subject in ("subject", stem, self.path.stem) else stack.subject

    def description(self) -> str:
        """Give the absolute path."""
        return str(self.path.absolute())


def is_file(path: Path) -> bool:
    """Whether a path is an image; tables and folders list images instead."""
    return suffix_of(path) not in TABLES and not path.is_dir()


def file_rows(paths: Sequence[Path]) -> list[Row]:
    """Make rows of files, sorted by the dates in their names if all differ, else by name."""
    from napari_followup.io.folder import by_number

    days = {path: str(date_in_name(path.name) or "") for path in sorted(paths, key=by_number)}
    dated = all(days.values()) and len(set(days.values())) == len(days) > 1
    ordered = sorted(days, key=days.__getitem__) if dated else days
    return [
        Row(name=path.name, origin=FileOrigin(path), when=days[path] if dated else "")
        for path in ordered
    ]


def listed(path: Path, columns: Mapping[str, str] | None = None) -> Listed:
    """List the images of a folder or a table of visits; reads no more than their headers.

    Parameters
    ----------
    path
        BIDS, DICOM, OME-Zarr or image folder; folder with a table; or a table.
    columns
        Names of the table's columns by their meaning.

    Returns
    -------
    Listed
        Without rows if it is unknown which column of a table holds the paths.

    Raises
    ------
    OSError, ReadError
        If it cannot be read, or is empty.
    """
    if suffix_of(path) in TABLES:
        return table_rows(path, columns)
    if is_bids(path):
        from napari_followup.io.bids import bids_files

        return Listed(path=path, rows=_rows(bids_files(path)), columns={})
    return _folder(path)


def table_rows(path: Path, columns: Mapping[str, str] | None = None) -> Listed:
    """List the rows of a table of visits, with ages and dates as written there."""
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
    """Read the visits of a file, or of a folder of DICOM or OME-Zarr.

    Parameters
    ----------
    path
        Of any format of `read_stack`.
    axes
        One letter an axis if the file does not tell; without v, it is one visit.

    Returns
    -------
    list of tuple
        Stacks of all subjects, and the index of a visit in each.

    Raises
    ------
    AxesUnknown
        If the file does not tell its axes.
    OSError, TypeError, ValueError
        If it cannot be read.
    """
    from napari_followup.io import read_stacks, read_visits
    from napari_followup.io.formats import read_image

    if not path.exists():
        raise FileNotFoundError("there is no such file; correct its path, or remove the row")
    if path.is_dir() and not is_zarr(path):
        return _visits(read_visits(path))
    bare = suffix_of(path) in TIFFS and not is_one_visit(path)
    if axes == "zyx" or suffix_of(path) in IMAGES or (suffix_of(path) in TIFFS and not bare):
        return _visits([read_image(path)])
    stacks = read_stacks(path, axes=axes)
    if bare and axes is None and not has_visits(path):
        raise AxesUnknown(TIFF_AXES[_axes_count(stacks[0])])
    return _visits(stacks)


def _folder(folder: Path) -> Listed:
    """Make the rows of a folder that is a series, or contains series."""
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
    """Count the axes of an array that was read as visits, planes and modalities."""
    return 3 + (stack.shape[2] > 1) + (stack.shape[1] > 1)


NO_NAME = "subject"
REMOVED = "the layer was removed; remove the row, or add the layer again"
SINGLE = {2: ("yx",), 3: ("zyx",)}  # axes of a layer that holds one visit


class LayerOrigin:
    """An image layer, until it is removed."""

    def __init__(self, layer: Any) -> None:
        self.layer: Callable[[], Any] = weakref.ref(layer)
        self._name = str(layer.name)
        self.axes: str | None = None
        self.choices: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the layer, or its last one if it was removed."""
        layer = self.layer()
        if layer is not None:
            self._name = str(layer.name)
        return self._name

    def opener(self) -> Opener:
        """Make the function that reads the visits; it holds the images, not the layer.

        Raises
        ------
        ValueError
            If the layer was removed, is in colour, or has too many axes.
        """
        layer = self.layer()
        if layer is None:
            raise ValueError(REMOVED)
        choices = (self.axes,) if self.axes else meanings_of(layer)
        if len(choices) > 1:
            raise AxesUnknown(choices)
        source = _source(layer, choices[0])
        return lambda: _visits(_stacks(source))

    def subject_of(self, stack: VisitStack) -> str:
        """Give the subject's name in the layer's metadata."""
        return "" if stack.subject == NO_NAME else stack.subject

    def drop(self) -> None:
        """Forget the layer, which was removed."""
        self.layer = lambda: None

    def description(self) -> str:
        """Give the name of the layer."""
        return f"layer {self.name!r}"


def layer_rows(layers: Sequence[Any]) -> list[Row]:
    """Make one row a layer; it may hold several visits."""
    return [
        Row(name=layer.name, origin=LayerOrigin(layer), modality=_modality(layer))
        for layer in layers
    ]


def series_layers(viewer: Any) -> list[Any]:
    """List the image layers of a viewer without our results."""
    images = [each for each in viewer.layers if isinstance(each, Image)]
    return [layer for layer in images if "result" not in about(layer)]


def meanings_of(layer: Any) -> tuple[str, ...]:
    """List the possible axes of a layer, also those of a single visit.

    Raises
    ------
    ValueError
        If the layer is in colour, or has too few or too many axes.
    """
    labels = "".join(WORDS.get(str(label).lower(), "") for label in layer.axis_labels)
    if getattr(layer, "rgb", False):
        return axes_choices(layer)  # its error says what to do
    if labels in ("yx", "zyx") and len(labels) == layer.ndim:
        return (labels,)
    if layer.ndim == 2:
        return SINGLE[2]
    found = axes_choices(layer)
    is_said = "axes" in about(layer) or "v" in labels or found != BARE_AXES.get(layer.ndim)
    return found if is_said else (*SINGLE.get(layer.ndim, ()), *found)


def _source(layer: Any, axes: str) -> Source:
    """Take a layer as a source; a single visit gets an axis of visits."""
    source = source_of(layer, axes=axes) if "v" in axes else visit_source(layer, axes)
    if "subject" not in source.about:
        source = replace(source, name=NO_NAME)
    if "affine" in source.about or source.unit != "mm":
        return source
    return replace(source, about={**source.about, "affine": _world(layer, axes, source)})


def _world(layer: Any, axes: str, source: Source) -> NDArray[np.float64]:
    """Affine from voxel (z, y, x) to world (x, y, z) in mm, by the layer's transform."""
    own = Affine(
        scale=layer.scale, translate=layer.translate, rotate=layer.rotate, shear=layer.shear
    )
    matrix = np.asarray(layer.affine.affine_matrix @ own.affine_matrix)
    letters = [letter for letter in "zyx" if letter in axes]
    kept = [axes.index(letter) for letter in letters]
    in_mm = source.spacing[2] / abs(float(layer.scale[axes.index("x")]))
    world = np.diag([source.spacing[0], 1.0, 1.0, 1.0])
    start = 3 - len(kept)
    world[start:3, start:3] = matrix[np.ix_(kept, kept)] * in_mm
    world[start:3, 3] = matrix[kept, -1] * in_mm
    return world[[2, 1, 0, 3]]


def _stacks(source: Source) -> list[VisitStack]:
    return [series_of(source, subject).stack for subject in range(source.n_subjects)]


def _modality(layer: Any) -> str:
    name = str(about(layer).get("modality", ""))
    return "" if name == "image" else name


Openers = list[tuple[Origin, Opener | Found]]


def list_source(path: Path, columns: Mapping[str, str] | None, report: Report) -> Listed:
    """List a folder or table in a thread.

    Raises
    ------
    ValueError
        If it cannot be read, or is empty; the message names it.
    """
    report.phase(f"Listing {path.name}")
    try:
        return listed(path, columns)
    except Exception as error:  # each format's reader has errors of its own
        raise ValueError(f"{path.name!r}: {message_of(error)}") from error


def open_all(origins: Sequence[Origin]) -> Openers:
    """Make the functions that read origins, or an error, while their layers exist."""
    openers: Openers = []
    for origin in origins:
        try:
            openers.append((origin, origin.opener()))
        except ValueError as error:  # kept as text: its traceback would keep the layer alive
            openers.append((origin, _complaint(origin, error)))
    return openers


def read_origins(openers: Openers, report: Report) -> list[tuple[Origin, Found]]:
    """Read grid, ages and thumbnails of each origin; a stop returns those that are ready."""
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
    return Found(error=message_of(error).removeprefix(f"{origin.name!r}: "), choices=choices)
