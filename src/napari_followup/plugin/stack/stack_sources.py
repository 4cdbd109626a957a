"""Where visits come from: files, folders and tables of visits, as rows that are yet to be read.

A TIFF file that names neither its axes nor its visits is in doubt, and says so as `AxesUnknown`.
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
from napari_followup.io.kinds import IMAGES, TABLES, is_bids, is_dicom, is_zarr, suffix_of
from napari_followup.io.nifti import nifti_stem
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
    voxel_of,
)
from napari_followup.plugin.layers.reader import TIFFS, has_visits
from napari_followup.plugin.run.progress import spoken
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
    "Openers",
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
    "table_rows",
]

NO_SUBJECT = "has no subject, other rows have; name it in the table"
TIFF_AXES = {3: ("zyx", "vyx"), 4: ("vzyx", "svyx"), 5: ("vmzyx", "svzyx")}


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
        raise AxesUnknown(TIFF_AXES[_axes_count(stacks[0])])
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


NO_NAME = "subject"
SINGLE = {2: ("yx",), 3: ("zyx",)}  # axes of a layer that holds one visit


class LayerOrigin:
    """An image layer, as long as it is in its viewer."""

    def __init__(self, layer: Any) -> None:
        self.layer: Callable[[], Any] = weakref.ref(layer)
        self._name = str(layer.name)
        self.axes: str | None = None
        self.choices: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The layer's name as it is now, or was last."""
        layer = self.layer()
        if layer is not None:
            self._name = str(layer.name)
        return self._name

    def opener(self) -> Opener:
        """Make what takes the layer's visits apart; it holds the images, not the layer.

        Raises
        ------
        ValueError
            If the layer has gone, is in colour, or has too many axes.
        """
        layer = self.layer()
        if layer is None:
            raise ValueError("the layer was removed; take the row out, or add the layer again")
        choices = (self.axes,) if self.axes else meanings_of(layer)
        if len(choices) > 1:
            raise AxesUnknown(choices)
        source = _source(layer, choices[0])
        return lambda: _visits(_stacks(source))

    def subject_of(self, stack: VisitStack) -> str:
        """Say whose visits it holds, as the layer's metadata tell."""
        return "" if stack.subject == NO_NAME else stack.subject

    def drop(self) -> None:
        """Forget the layer, which is no longer in its viewer."""
        self.layer = lambda: None

    def said(self) -> str:
        """Name of the layer."""
        return f"layer {self.name!r}"


def layer_rows(layers: Sequence[Any]) -> list[Row]:
    """Rows of layers, which may each hold one visit or several."""
    return [
        Row(name=layer.name, origin=LayerOrigin(layer), modality=_modality(layer))
        for layer in layers
    ]


def series_layers(viewer: Any) -> list[Any]:
    """List the image layers of a viewer that are no results of ours."""
    images = [each for each in viewer.layers if isinstance(each, Image)]
    return [layer for layer in images if "result" not in about(layer)]


def meanings_of(layer: Any) -> tuple[str, ...]:
    """List what the axes of a layer can mean, a single visit's among it.

    Raises
    ------
    ValueError
        If the layer is in colour, or has too few or too many axes.
    """
    labels = "".join(WORDS.get(str(label).lower(), "") for label in layer.axis_labels)
    if getattr(layer, "rgb", False):
        return axes_choices(layer)  # says what to do with colour
    if labels in ("yx", "zyx") and len(labels) == layer.ndim:
        return (labels,)
    if layer.ndim == 2:
        return SINGLE[2]
    found = axes_choices(layer)
    is_said = "axes" in about(layer) or "v" in labels or found != BARE_AXES.get(layer.ndim)
    return found if is_said else (*SINGLE.get(layer.ndim, ()), *found)


def _source(layer: Any, axes: str) -> Source:
    """Take what is needed of a layer; a single visit's gains an axis of visits."""
    if "v" in axes:
        source = source_of(layer, axes=axes)
    else:
        data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
        spacing, unit = voxel_of(layer, axes)
        source = Source(
            name=layer.name,
            data=data[None],
            axes=f"v{axes}",
            about=about(layer),
            spacing=spacing,
            unit=unit,
        )
    if "subject" not in source.about:
        source = replace(source, name=NO_NAME)
    if "affine" in source.about or source.unit != "mm":
        return source
    return replace(source, about={**source.about, "affine": _world(layer, axes, source)})


def _world(layer: Any, axes: str, source: Source) -> NDArray[np.float64]:
    """Affine from voxel (z, y, x) to world (x, y, z) in mm, by the layer's place in the viewer."""
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
