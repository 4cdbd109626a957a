"""What a detection found, in numbers: one row a visit, for tables.

Sizes are counted in voxels, and measured in mm² or mm³ where the series knows its spacing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.ndimage import generate_binary_structure, label

from napari_followup.results import Detection

__all__ = ["lesion_rows"]


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
    `napari_followup.reading.write_table` writes them.
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
            **_size(found, int(mask.sum())),
        }
        for visit, mask in enumerate(np.asarray(found.mask))
    ]


def _size(found: Detection, voxels: int) -> dict[str, float]:
    """Area or volume in mm, if the series has any."""
    if found.stack.unit != "mm":
        return {}
    z, y, x = found.stack.spacing
    if found.stack.shape[2] == 1:
        return {"area_mm2": voxels * y * x}
    return {"volume_mm3": voxels * math.prod((z, y, x))}
