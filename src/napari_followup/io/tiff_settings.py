"""What TIFF files say besides pixels: spacing in three dialects, and what we add as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from napari_followup.series.stack import VisitStack

if TYPE_CHECKING:
    from tifffile import TiffFile

__all__ = ["settings_of", "tiff_settings"]

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
