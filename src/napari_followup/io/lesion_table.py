"""What a detection found, in numbers: one row a visit, for tables.

Sizes are counted in voxels, and measured in mm² or mm³ where the series knows its spacing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.ndimage import generate_binary_structure, label

from napari_followup.series.results import Detection
from napari_followup.series.stack import VisitStack

__all__ = ["lesion_rows", "lesion_size"]


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
