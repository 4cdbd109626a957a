"""Open series and cohorts in napari.

The reader takes tables of visits, NIfTI and ``.npz`` files, folders in BIDS or of DICOM, and
folders with such files. It takes TIFF and OME-Zarr only with an axis of time. Folders of several
images, one a visit, can be read by napari too, which then asks what reader to use. napari asks
about every file that is opened, so the answer reads no pixels.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from napari_followup.plugin.layers.layers import LayerTuple

__all__ = ["get_reader", "read_layers"]

PathLike = str | os.PathLike[str]

TIFFS = (".tif", ".tiff")
NIFTI = (".nii", ".nii.gz")
SAMPLES, DESCRIPTION = 277, 270  # tags of a TIFF page: values a pixel, text
# Classic TIFF and BigTIFF: number of tags, one tag, offset of the first page in the header.
LAYOUTS = {42: ("H", "HHL4s", 4), 43: ("Q", "HHQ8s", 8)}


def get_reader(
    path: PathLike | Sequence[PathLike],
) -> Callable[[PathLike | Sequence[PathLike]], list[LayerTuple]] | None:
    """Give napari the function that reads a file, or None if it is no series.

    napari passes a list if files are opened as one stack; each then holds one visit.
    """
    if not isinstance(path, str | os.PathLike):
        return read_layers if all(_suffix(Path(each)) in NIFTI for each in path) else None
    given = Path(path)
    is_ours = _is_folder_of_ours(given) if given.is_dir() else _is_ours(given)
    return read_layers if is_ours else None


def read_layers(path: PathLike | Sequence[PathLike]) -> list[LayerTuple]:
    """Read a series, or a cohort, as image layers.

    Visits on different grids become one layer each, and a notification says so.

    Raises
    ------
    ReadError
        If the file is damaged; the message says what is wrong.
    """
    from napari_followup.io import ReadError, read_stack, read_stacks
    from napari_followup.plugin.layers.stack_layers import (
        apart_layers,
        cohort_layers,
        stack_layers,
    )

    try:
        if not isinstance(path, str | os.PathLike):
            return stack_layers(read_stack(path))
        stacks = read_stacks(path)
    except ReadError:
        layers = apart_layers(path)
        if not layers:
            raise
        return layers
    return cohort_layers(stacks, Path(path).stem)  # of one subject: as `stack_layers`


def _suffix(path: Path) -> str:
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def _is_ours(file: Path) -> bool:
    match _suffix(file):
        case ".npz" | ".nii" | ".nii.gz":
            return True
        case ".csv" | ".tsv":
            from napari_followup.io.manifest import is_manifest

            return is_manifest(file)
        case suffix:
            return suffix in TIFFS and has_visits(file)


def _is_folder_of_ours(folder: Path) -> bool:
    """Whether a folder is a series, or holds files that napari does not read by itself."""
    from napari_followup.io.folder import holds_visits
    from napari_followup.io.kinds import is_bids, is_dicom, is_zarr

    if is_zarr(folder):
        return _zarr_has_visits(folder)
    files = [file for file in folder.iterdir() if file.is_file()]
    ours = any(_is_ours(file) for file in files if _suffix(file) not in TIFFS)
    return ours or is_bids(folder) or is_dicom(folder) or holds_visits(folder, least=2)


def _zarr_has_visits(folder: Path) -> bool:
    """Whether an OME-Zarr image has an axis of time, by the text of its attributes."""
    for name in ("zarr.json", ".zattrs"):
        try:
            text = (folder / name).read_text(encoding="utf-8")
        except (OSError, ValueError):
            continue
        if re.search(r'"name"\s*:\s*"t"', text):
            return True
    return False


def has_visits(path: Path) -> bool:
    """Whether a grey TIFF file has a time axis or ages, by the text of its first page."""
    try:
        with path.open("rb") as file:
            samples, text = _first_page(file)
    except (KeyError, OSError, struct.error):
        return False
    return samples == 1 and _says_visits(text)


def _says_visits(text: str) -> bool:
    """Whether the text is that of a series: of OME, ImageJ, or tifffile (JSON)."""
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except ValueError:
            return False
        return "T" in str(found.get("axes", "")) or "ages" in found
    frames = re.search(r'\bSizeT="(\d+)"|^frames=(\d+)', text, re.MULTILINE)
    return frames is not None and int(frames[1] or frames[2]) > 1


def _first_page(file: BinaryIO) -> tuple[int, str]:
    """Values a pixel and text of a TIFF's first page; KeyError if it is no TIFF."""
    order = {b"II": "<", b"MM": ">"}[file.read(2)]
    count, tag, start = LAYOUTS[struct.unpack(order + "H", file.read(2))[0]]
    file.seek(start)
    offset_type = order + ("L" if count == "H" else "Q")
    file.seek(_read(file, offset_type)[0])
    tags = [_read(file, order + tag) for _ in range(_read(file, order + count)[0])]
    found = {code: (length, value) for code, _, length, value in tags}
    samples = struct.unpack(order + "H", found[SAMPLES][1][:2])[0] if SAMPLES in found else 1
    if DESCRIPTION not in found:
        return samples, ""
    length, value = found[DESCRIPTION]
    if length > len(value):  # a longer text is stored elsewhere
        file.seek(struct.unpack(offset_type, value)[0])
        value = file.read(length)
    return samples, value[:length].rstrip(b"\0").decode("utf-8", "replace")


def _read(file: BinaryIO, layout: str) -> tuple[Any, ...]:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))
