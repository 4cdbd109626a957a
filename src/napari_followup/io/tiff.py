"""Series in TIFF files: plain stacks, ImageJ hyperstacks, OME-TIFF.

Axes come from the file where it names them (T visits, C modalities, Z, Y, X), else three are read
as ``(visit, y, x)`` and four as ``(visit, z, y, x)``; an unnamed axis beside T holds subjects.
Ages are known if the file was written by us, or by tifffile with ``metadata={"ages": [...]}``; an
OME-TIFF holds what we add, as JSON, in its description.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_followup.io.errors import ReadError
from napari_followup.io.replacing import replacing
from napari_followup.series.stack import VisitStack

if TYPE_CHECKING:
    from tifffile import TiffFile

__all__ = [
    "is_one_visit",
    "read_tiff",
    "read_tiff_visit",
    "settings_of",
    "tiff_settings",
    "write_tiff",
]

MICRONS = ("um", "µm", "\u03bcm", "\\u00b5m", "micron", "microns", "micrometer")
IN_MM = {"m": 1e3, "cm": 10.0, "mm": 1.0, "nm": 1e-6, "inch": 25.4, **dict.fromkeys(MICRONS, 1e-3)}
SAID = ("affine", "unit", "is_observed", "subject", "modalities", "provenance")  # in our own files


def settings_of(file: TiffFile) -> dict[str, Any]:
    """Say what the file knows of a stack: ages and spacing in mm, and more if it is ours."""
    declared: dict[str, Any] = (file.shaped_metadata or ({},))[0]
    spacing = declared.get("spacing")
    if file.is_imagej:
        spacing = _imagej_spacing(file)
    elif file.is_ome:
        spacing, declared = _ome_spacing(file), _ome_said(file)
    known = {name: declared[name] for name in SAID if name in declared}
    return {"ages": declared.get("ages"), "spacing": spacing, **known}


def tiff_settings(stack: VisitStack, *, is_ome: bool) -> dict[str, Any]:
    """Say what `settings_of` is to find again, as tifffile takes it for a file or an OME-TIFF."""
    said: dict[str, Any] = {
        "spacing": list(stack.spacing),
        "affine": stack.affine.tolist(),
        "unit": stack.unit,
        "is_observed": stack.is_observed.tolist(),
        "subject": stack.subject,
        "modalities": list(stack.modalities),
        "provenance": json.dumps(dict(stack.provenance)),
    }
    said |= {"ages": stack.ages.tolist()} if stack.ages_known else {}
    return _ome_about(stack, said) if is_ome else said


def _ome_about(stack: VisitStack, said: dict[str, Any]) -> dict[str, Any]:
    about: dict[str, Any] = {"Description": json.dumps(said)}
    about["Channel"] = {"Name": list(stack.modalities)}
    for letter, size in zip("ZYX", stack.spacing, strict=True):
        about[f"PhysicalSize{letter}"] = size
        about[f"PhysicalSize{letter}Unit"] = stack.unit
    return about


def _ome_image(file: TiffFile) -> dict[str, Any]:
    from tifffile import xml2dict

    image = xml2dict(file.ome_metadata or "")["OME"]["Image"]
    found: dict[str, Any] = image[0] if isinstance(image, list) else image
    return found


def _ome_said(file: TiffFile) -> dict[str, Any]:
    try:
        said = json.loads(str(_ome_image(file).get("Description", "")))
    except ValueError:
        return {}  # a description of someone else
    return said if isinstance(said, dict) else {}


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
    pixels = _ome_image(file)["Pixels"]
    if "PhysicalSizeX" not in pixels or "PhysicalSizeY" not in pixels:
        return None
    return [
        float(pixels.get(f"PhysicalSize{axis}", 1.0))
        * IN_MM.get(str(pixels.get(f"PhysicalSize{axis}Unit", "µm")), 1.0)
        for axis in "ZYX"
    ]


LETTERS = {"T": "v", "C": "m", "Z": "z", "Y": "y", "X": "x"}
BARE_AXES = {1: "v", 2: "vz", 3: "vmz"}  # what unnamed axes in front of (y, x) are


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
    ReadError
        If the file is damaged, in colour, holds several images of different size, or no series.
    """
    if split is not None:
        raise ReadError("TIFF files have no splits; leave split out")
    images, file_axes, settings = _load(path)
    letters = axes or _letters(file_axes, images.shape)
    if "s" not in letters:
        return [_stack(path, images, letters, settings)]
    names = [f"{path.stem}-{number:04d}" for number in range(images.shape[letters.index("s")])]
    shared = {name: settings.get(name) for name in ("ages", "spacing")}
    return VisitStack.from_cohort(images, axes=letters, subjects=names, **shared)


def read_tiff_visit(path: Path) -> list[VisitStack]:
    """Read a TIFF file that holds one visit: a plane, or planes that are slices of a volume.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    list of VisitStack
        One; with several visits if the file names an axis of time.

    Raises
    ------
    ReadError
        As `read_tiff`.
    """
    images, file_axes, settings = _load(path)
    if "T" in file_axes or file_axes.endswith("S"):
        return read_tiff(path)
    unnamed = [letter for letter in file_axes if letter not in LETTERS]
    if len(unnamed) > 1 or (unnamed and "Z" in file_axes):
        raise ReadError(f"has the axes {file_axes}; name them when saving, as in ZYX")
    letters = "v" + "".join(LETTERS.get(letter, "z") for letter in file_axes)
    return [_stack(path, images[None], letters, settings)]


def is_one_visit(path: Path) -> bool:
    """Whether a TIFF file is one plane, or a volume whose axes are named, without time."""
    import tifffile

    try:
        with path.open("rb") as raw, _complaints("tifffile"), tifffile.TiffFile(raw) as file:
            return set(file.series[0].axes) <= set("CZYX")
    except Exception:  # tifffile has many of its own
        return False  # reading it says what is wrong


def write_tiff(path: str | os.PathLike[str], stack: VisitStack) -> Path:
    """Write one subject's series, so that `read_tiff` gives it back.

    An OME-TIFF if the name ends in ``.ome.tif`` or ``.ome.tiff``, else a TIFF with the axes as
    JSON. A file of that name is replaced once the new one is complete.

    Parameters
    ----------
    path
        Where to; ends in ``.tif`` or ``.tiff``.
    stack
        What to write; truth values become 0 and 1.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If `path` has another suffix.
    OSError
        If nothing can be written there.
    """
    import tifffile

    path = Path(path)
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise ValueError(f"write_tiff: got {path.name!r}; end the name in .tif")
    images = np.asarray(stack.images).transpose(0, 2, 1, 3, 4)
    images = images.astype(np.uint8) if images.dtype == bool else images
    is_ome = path.name.lower().endswith((".ome.tif", ".ome.tiff"))
    about = {"axes": "TZCYX"} | tiff_settings(stack, is_ome=is_ome)
    with replacing(path) as draft:
        tifffile.imwrite(
            draft,
            images,
            ome=is_ome,
            metadata=about,
            compression="zlib",
            photometric="minisblack",
        )
    return path


def _stack(path: Path, images: Any, letters: str, settings: dict[str, Any]) -> VisitStack:
    known = {"subject": path.stem, **settings}
    provenance = known.pop("provenance", None)
    said = json.loads(provenance) if isinstance(provenance, str) else {}
    known["provenance"] = said if isinstance(said, dict) else {}
    return VisitStack.from_array(images, axes=letters, **known)


def _load(path: Path) -> tuple[Any, str, dict[str, Any]]:
    """Pixels, the file's own axes, and what else it says that a stack needs."""
    import tifffile

    with path.open("rb") as raw, _complaints("tifffile") as complaints:
        try:
            with tifffile.TiffFile(raw) as file:
                count, axes, settings = len(file.series), file.series[0].axes, settings_of(file)
                images = file.series[0].asarray()
                if file.is_ome and "unit" in settings:  # ours: visits may be one, and named
                    axes, images = _with_all_axes(file, images)
        except Exception as error:  # tifffile and its decoders have many of their own
            complaints.append(str(error) or type(error).__name__)
    if complaints:
        raise ReadError(
            f"is no readable TIFF file ({complaints[0]}); it may be cut short: copy it again, or "
            "open it in the program that wrote it and save it anew"
        )
    if count > 1:
        raise ReadError(f"holds {count} images of different size or type; save one alone")
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
        raise ReadError(f"is in colour, shape {shape}; convert it to one grey channel")
    # S elsewhere is tifffile's guess for 3 or 4 planes of uint8, written without a photometric.
    unnamed = [letter for letter in file_axes if letter not in LETTERS]
    if "T" in file_axes:
        free = "s" if len(unnamed) == 1 and unnamed != ["S"] else ""
    else:
        free = "".join(new for new in BARE_AXES.get(len(unnamed), "") if _is_free(new, file_axes))
    if len(free) != len(unnamed) or not ("T" in file_axes or free):
        raise ReadError(
            f"has the axes {file_axes}, shape {shape}, none of them clearly the visits; say which "
            "is which, as in axes='vyx'"
        )
    names = iter(free)
    return "".join(LETTERS.get(letter) or next(names) for letter in file_axes)


def _is_free(letter: str, file_axes: str) -> bool:
    return all(LETTERS.get(other) != letter for other in file_axes)


def _with_all_axes(file: TiffFile, images: Any) -> tuple[str, Any]:
    """Axes and pixels, with the axes of length 1 that tifffile takes out."""
    series = file.series[0]
    axes, shape = series.get_axes(squeeze=False), series.get_shape(squeeze=False)
    named = [index for index, letter in enumerate(axes) if letter in LETTERS]
    return "".join(axes[index] for index in named), images.reshape([shape[i] for i in named])
