"""Series in TIFF files: plain stacks, ImageJ hyperstacks, OME-TIFF.

Axes come from the file where it names them (T visits, C modalities, Z, Y, X), else three are read
as ``(visit, y, x)`` and four as ``(visit, z, y, x)``; an unnamed axis beside T holds subjects.
Ages are known only if the file was written by tifffile with ``metadata={"ages": [...]}``.
"""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_followup.stack import VisitStack

if TYPE_CHECKING:
    from tifffile import TiffFile

__all__ = ["read_tiff"]

LETTERS = {"T": "v", "C": "m", "Z": "z", "Y": "y", "X": "x"}
BARE_AXES = {1: "v", 2: "vz", 3: "vmz"}  # what unnamed axes in front of (y, x) are
MICRONS = ("um", "µm", "\u03bcm", "\\u00b5m", "micron", "microns", "micrometer")
IN_MM = {"m": 1e3, "cm": 10.0, "mm": 1.0, "nm": 1e-6, "inch": 25.4, **dict.fromkeys(MICRONS, 1e-3)}
# What tifffile and its decoders raise on broken files.
DAMAGE = (
    ArithmeticError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


def read_tiff(path: Path, *, axes: str | None = None, split: str | None = None) -> list[VisitStack]:
    """Read the subject, or all subjects, of a TIFF file.

    Parameters
    ----------
    path
        The file.
    axes
        Letters of the axes, s for subject; stands above what the file says.
    split
        Not known to this format.

    Returns
    -------
    list of VisitStack
        One a subject.

    Raises
    ------
    ValueError
        If the file is damaged, in colour, holds several images of different size, or no series.
    """
    if split is not None:
        raise ValueError("TIFF files have no splits; leave split out")
    images, file_axes, settings = _load(path)
    letters = axes or _letters(file_axes, images.shape)
    if "s" not in letters:
        return [VisitStack.from_array(images, axes=letters, subject=path.stem, **settings)]
    names = [f"{path.stem}-{number:04d}" for number in range(images.shape[letters.index("s")])]
    return VisitStack.from_cohort(images, axes=letters, subjects=names, **settings)


def _load(path: Path) -> tuple[Any, str, dict[str, Any]]:
    """Pixels, the file's own axes, and what else it says that a stack needs."""
    import tifffile

    with path.open("rb") as raw, _complaints("tifffile") as complaints:
        try:
            with tifffile.TiffFile(raw) as file:
                count, axes, settings = len(file.series), file.series[0].axes, _settings(file)
                images = file.series[0].asarray()
        except DAMAGE as error:
            complaints.append(str(error))
    if complaints:
        raise ValueError(
            f"is no readable TIFF file ({complaints[0]}); it may be cut short: copy it again, or "
            "open it in the program that wrote it and save it anew"
        )
    if count > 1:
        raise ValueError(f"holds {count} images of different size or type; save one alone")
    return images, axes, settings


class _Collector(logging.Handler):
    """Keeps the text of errors that a library only logs."""

    def __init__(self) -> None:
        super().__init__(level=logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def _complaints(logger_name: str) -> Iterator[list[str]]:
    """Collect logged errors: of a file cut short, tifffile reads what is left and only logs."""
    collector, logger = _Collector(), logging.getLogger(logger_name)
    logger.addHandler(collector)
    try:
        yield collector.messages
    finally:
        logger.removeHandler(collector)


def _letters(file_axes: str, shape: tuple[int, ...]) -> str:
    """Our letters for tifffile's."""
    if file_axes.endswith("S"):
        raise ValueError(f"is in colour, shape {shape}; convert it to one grey channel")
    # S elsewhere is tifffile's guess for 3 or 4 planes of uint8, written without a photometric.
    unnamed = [letter for letter in file_axes if letter not in LETTERS]
    if "T" in file_axes:
        free = "s" if len(unnamed) == 1 and unnamed != ["S"] else ""
    else:
        free = "".join(new for new in BARE_AXES.get(len(unnamed), "") if _is_free(new, file_axes))
    if len(free) != len(unnamed) or not ("T" in file_axes or free):
        raise ValueError(
            f"has the axes {file_axes}, shape {shape}, none of them clearly the visits; say which "
            "is which, as in axes='vyx'"
        )
    names = iter(free)
    return "".join(LETTERS.get(letter) or next(names) for letter in file_axes)


def _is_free(letter: str, file_axes: str) -> bool:
    return all(LETTERS.get(other) != letter for other in file_axes)


def _settings(file: TiffFile) -> dict[str, Any]:
    """Ages, and spacing in mm, as far as the file knows them."""
    declared = (file.shaped_metadata or ({},))[0]
    spacing = declared.get("spacing")
    if file.is_imagej:
        spacing = _imagej_spacing(file)
    elif file.is_ome:
        spacing = _ome_spacing(file)
    return {"ages": declared.get("ages"), "spacing": spacing}


def _imagej_spacing(file: TiffFile) -> list[float] | None:
    metadata, tags = file.imagej_metadata or {}, file.pages.first.tags
    unit = IN_MM.get(str(metadata.get("unit")).lower())
    if unit is None or "XResolution" not in tags or "YResolution" not in tags:
        return None
    # A resolution is a fraction: so many pixels in such a length.
    (y_pixels, y_length), (x_pixels, x_length) = (
        tags["YResolution"].value,
        tags["XResolution"].value,
    )
    z = float(metadata.get("spacing", 1.0))
    return [unit * size for size in (z, y_length / y_pixels, x_length / x_pixels)]


def _ome_spacing(file: TiffFile) -> list[float] | None:
    from tifffile import xml2dict

    image = xml2dict(file.ome_metadata or "")["OME"]["Image"]
    pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
    if "PhysicalSizeX" not in pixels or "PhysicalSizeY" not in pixels:
        return None
    return [
        float(pixels.get(f"PhysicalSize{axis}", 1.0))
        * IN_MM.get(str(pixels.get(f"PhysicalSize{axis}Unit", "µm")), 1.0)
        for axis in "ZYX"
    ]
