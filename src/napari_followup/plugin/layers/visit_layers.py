"""Visits that lie on grids of their own, as a layer each.

The slider goes from visit to visit, and each image lies where its file says, in the axes of the
first: its voxels are moved and sized, not turned. The file's whole affine is in the metadata,
where *Align visits* and *Longitudinal stack* look for it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from napari.utils.notifications import show_info
from numpy.typing import NDArray

from napari_followup.plugin.layers.layers import LayerTuple
from napari_followup.plugin.layers.stack_layers import stack_layers
from napari_followup.series.stack import VisitStack

__all__ = ["apart_layers", "visit_layers"]

SAID = (
    "{}: the visits lie on different grids, so each is a layer of its own. Align visits registers "
    "them; Longitudinal stack puts them onto the first one's grid as they are."
)
NO_IMAGE = (
    "{}: the visit at {} has no image and no layer; the series that Align visits makes of the "
    "others lacks it, that of napari-followup align has it."
)
LEAST_ALONG = 0.8  # cosine of the angle to the first visit's axes up to which one counts as theirs


def apart_layers(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> list[LayerTuple]:
    """Read visits each by itself, where they do not make a stack; nothing where they do.

    Parameters
    ----------
    path
        A table, a folder, or files with a visit each.

    Returns
    -------
    list of LayerTuple
        One a visit and modality; one a modality of subjects whose visits fit together. Empty if
        all fit, or there are no several visits.

    Raises
    ------
    ReadError
        If a visit cannot be read.
    """
    by_subject: dict[str, list[VisitStack]] = {}
    for visit in _visits(path):
        by_subject.setdefault(visit.subject, []).append(visit)
    layers: list[LayerTuple] = []
    said, apart = [], []
    for subject, visits in by_subject.items():
        joined = _joined(visits)
        apart += [subject] if joined is None else []
        said += _without_image(visits) if joined is None else []
        layers += visit_layers(_seen(visits)) if joined is None else stack_layers(joined)
    if not apart:
        return []
    show_info(" ".join([SAID.format(", ".join(apart)), *said]))
    return layers


def visit_layers(visits: Sequence[VisitStack]) -> list[LayerTuple]:
    """Make layers of single visits of one subject, one behind the other on the visit axis.

    Parameters
    ----------
    visits
        By age, each on its own grid.

    Returns
    -------
    list of LayerTuple
        One a visit and modality, named after both.
    """
    layers = []
    for number, visit in enumerate(visits):
        corner = _corner(visit, visits[0])
        when = f", age {visit.ages[0]:.5g}" if visit.ages_known else ""
        for data, attributes, kind in stack_layers(visit):
            attributes["translate"] = (number, *corner[-(len(attributes["scale"]) - 1) :])
            attributes["name"] = f"{attributes['name']}, visit {number + 1}{when}"
            layers.append((data, attributes, kind))
    return layers


def _visits(path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[VisitStack]:
    from napari_followup.io import files_in, read_visits
    from napari_followup.io.kinds import TABLES, suffix_of

    if not isinstance(path, str | os.PathLike):
        return read_visits(path, keep_missing=True)
    given = Path(path)
    files = files_in(given) if given.is_dir() else [given]
    if not all(file == given or suffix_of(file) in TABLES for file in files):
        return []  # series in files of their own
    if given.is_file() and suffix_of(given) not in TABLES:
        return []
    return [visit for file in files for visit in read_visits(file, keep_missing=True)]


def _seen(visits: Sequence[VisitStack]) -> list[VisitStack]:
    """Leave out the visits without an image, which have no grid of their own."""
    return [visit.select(~visit.is_missing) for visit in visits]


def _without_image(visits: Sequence[VisitStack]) -> list[str]:
    """Say which visits have none."""
    number, said = 0, []
    for stack in visits:
        for age, is_missing in zip(stack.ages, stack.is_missing, strict=True):
            number += 1
            when = f"age {age:.5g}" if stack.ages_known else f"place {number}"
            said += [NO_IMAGE.format(stack.subject, when)] if is_missing else []
    return said


def _joined(visits: Sequence[VisitStack]) -> VisitStack | None:
    from napari_followup.io import ReadError, join_visits

    try:
        return join_visits(visits)
    except ReadError:
        return None


def _corner(visit: VisitStack, first: VisitStack) -> NDArray[np.float64]:
    """Place of the first voxel (z, y, x) in the viewer; the images' middles lie where they should.

    Zero where the axes of the two run too differently, or no place in space is known.
    """
    if visit.unit != "mm" or first.unit != "mm":
        return np.zeros(3)
    between = np.linalg.inv(first.affine) @ visit.affine * np.array([[*first.spacing, 1.0]]).T
    along = between[:3, :3] / np.asarray(visit.spacing)
    if np.diag(along).min() < LEAST_ALONG:
        return np.zeros(3)
    middle = (np.asarray(visit.shape[2:]) - 1) / 2
    corner = (between @ [*middle, 1.0])[:3] - middle * np.asarray(visit.spacing)
    return np.asarray(np.round(corner, 6)) + 0.0  # no -0
