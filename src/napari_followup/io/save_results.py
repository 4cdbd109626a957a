"""What was found, in the files that other programs read: maps, a table of visits, how it was made.

The maps lie on the grid of the series. Planes that were not examined are NaN in the files, as in
the detection, and 0 in the mask, which has no third value; the provenance says which were examined.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import generate_binary_structure, label

from napari_followup.io.formats import write_stack
from napari_followup.io.replacing import file_stem, plain, write_json, write_parts
from napari_followup.io.table import write_table
from napari_followup.series.results import Detection
from napari_followup.series.stack import VisitStack

__all__ = [
    "FORMATS",
    "MAPS",
    "lesion_rows",
    "lesion_size",
    "result_parts",
    "save_results",
    "usual_format",
]


def lesion_rows(found: Detection) -> list[dict[str, Any]]:
    """Measure what was found at each visit.

    Parameters
    ----------
    found
        Of one series.

    Returns
    -------
    list of dict
        One a visit: ``subject``, ``visit`` from 1, ``age`` in years (empty if not known),
        ``observed``, ``image_score``, ``components`` (parts that touch at least by a corner),
        ``voxels``, and with a spacing in mm ``area_mm2`` of planar series, ``volume_mm3`` of
        others.

    Notes
    -----
    `napari_followup.io.write_table` writes them.
    """
    stack = found.stack
    touching = generate_binary_structure(3, 3)
    return [
        {
            "subject": stack.subject,
            "visit": visit + 1,
            "age": float(stack.ages[visit]) if stack.ages_known else "",
            "observed": bool(stack.is_observed[visit]),
            "image_score": float(found.image_score[visit]),
            "components": int(label(mask, touching)[1]),
            "voxels": int(mask.sum()),
            **_measured(stack, int(mask.sum())),
        }
        for visit, mask in enumerate(np.asarray(found.mask))
    ]


def lesion_size(stack: VisitStack, voxels: int) -> tuple[float, str]:
    """Measure so many voxels of a series.

    Parameters
    ----------
    stack
        Of the series.
    voxels
        How many.

    Returns
    -------
    float, str
        In "mm²" of planar series and "mm³" of others; without a spacing in mm their number, in
        "pixels" or "voxels".
    """
    is_planar = stack.shape[2] == 1
    if stack.unit != "mm":
        return float(voxels), "pixels" if is_planar else "voxels"
    z, y, x = stack.spacing
    return (voxels * y * x, "mm²") if is_planar else (voxels * math.prod((z, y, x)), "mm³")


def _measured(stack: VisitStack, voxels: int) -> dict[str, float]:
    """Area or volume in mm, if the series has any, under the name of its column."""
    size, unit = lesion_size(stack, voxels)
    columns = {"mm²": "area_mm2", "mm³": "volume_mm3"}
    return {columns[unit]: size} if unit in columns else {}


FORMATS = {"nifti": ".nii.gz", "ome-tiff": ".ome.tif", "ome-zarr": ".ome.zarr", "npz": ".npz"}
MAPS = ("mask", "score", "healthy")


def save_results(
    found: Detection,
    folder: str | os.PathLike[str],
    *,
    format: str | None = None,
    maps: Sequence[str] = MAPS,
    name: str | None = None,
    overwrite: bool = False,
    on_step: Callable[[int, int], bool | None] = lambda done, total: None,
) -> list[Path]:
    """Save a detection: maps on the grid of the series, a table of visits, its provenance.

    Parameters
    ----------
    found
        Of one series; `Detection.at_threshold` gives it with another threshold.
    folder
        Where to; made if need be.
    format
        Of the maps: "nifti", "ome-tiff", "ome-zarr" or "npz"; without it as `usual_format`.
    maps
        Which: "mask", "score", "healthy" where there is one, and stages of the score by name.
    name
        How the files begin; without it the subject's name.
    overwrite
        Whether files of these names are replaced.
    on_step
        Called with files done and to do; False stops.

    Returns
    -------
    list of Path
        ``NAME_mask.nii.gz`` and so on, ``NAME_visits.csv`` and ``NAME_provenance.json``.

    Raises
    ------
    ValueError
        If there is no such format or map.
    FileExistsError
        If a file is there and `overwrite` is not set.
    OSError
        If nothing can be written there; nothing is left of this call then.
    Cancelled
        If `on_step` stopped it; nothing is left of this call then.
    """
    parts = result_parts(found, format=format, maps=maps, name=name)
    return write_parts(folder, parts, overwrite=overwrite, on_step=on_step)


def result_parts(
    found: Detection,
    *,
    format: str | None = None,
    maps: Sequence[str] = MAPS,
    name: str | None = None,
) -> dict[str, Callable[[Path], Any]]:
    """Say which files `save_results` writes, and how; parameters and errors are its own."""
    ending = _ending(format or usual_format(found.stack))
    stem = name or file_stem(found.stack.subject)
    said = _provenance(found)
    parts: dict[str, Callable[[Path], Any]] = {
        f"{stem}_{_file_name(which)}{ending}": partial(_write_map, found, values, which, said)
        for which in maps
        if (values := _values(found, which)) is not None
    }
    about = {"subject": found.stack.subject, **said, "files": list(parts)}
    parts[f"{stem}_visits.csv"] = lambda path: write_table(path, lesion_rows(found))
    parts[f"{stem}_provenance.json"] = lambda path: write_json(path, about)
    return parts


def usual_format(stack: VisitStack) -> str:
    """Give the format for results of a series: "nifti" where it is measured in mm."""
    return "nifti" if stack.unit == "mm" else "ome-tiff"


def _ending(form: str) -> str:
    if form not in FORMATS:
        raise ValueError(f"format: got {form!r}; give one of {', '.join(FORMATS)}")
    return FORMATS[form]


def _file_name(which: str) -> str:
    return which if which in MAPS else f"score-{which}"


def _values(found: Detection, which: str) -> NDArray[Any] | None:
    """Map by its name, ``(visit, modality, z, y, x)``; none where there are no healthy images."""
    if which == "healthy":
        return found.healthy
    known = {
        "mask": np.asarray(found.mask, bool).view(np.uint8),
        "score": found.score,
        **found.scores,
    }
    if which not in known:
        raise ValueError(f"maps: got {which!r}; give some of {', '.join([*known, 'healthy'])}")
    return np.asarray(known[which])[:, None]


def _write_map(
    found: Detection, values: NDArray[Any], which: str, said: Mapping[str, Any], path: Path
) -> None:
    kind = {"kind": "labels" if which == "mask" else "image", "result": which}
    names = found.stack.modalities if which == "healthy" else (which,)
    provenance = plain({**said, "layer": kind})
    write_stack(path, found.stack.with_images(values, modalities=names, provenance=provenance))


def _provenance(found: Detection) -> dict[str, Any]:
    """How the maps were made, with what the mask was cut at."""
    return {**found.provenance, "threshold": found.threshold, "floor": found.floor}
