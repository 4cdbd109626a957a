"""A source layer of which some planes alone are kept, at their places in space."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from napari.utils.transforms import Affine

from napari_followup.plugin.layers.layers import Source
from napari_followup.series.plane_selection import Slicing

__all__ = ["cropped"]


def cropped(source: Source, slicing: Slicing | None) -> Source:
    """Source of the planes of a slicing; results that lie on it lie where the planes do.

    Parameters
    ----------
    source
        Of a layer with a z axis.
    slicing
        Which planes; all of them when none are given.

    Returns
    -------
    Source
        With data that are a view, scale and translation of its own.
    """
    if slicing is None:
        return source
    place = source.axes.index(slicing.axis)
    planes = slice(slicing.first, slicing.last, slicing.step)
    said = dict(source.about)
    if said.get("affine") is not None:
        said["affine"] = slicing.affine_of(np.asarray(said["affine"])).tolist()
    return replace(
        source,
        data=source.data[(slice(None),) * place + (planes,)],
        geometry=_moved(source, place, slicing),
        about=said,
        spacing=slicing.spacing_of(source.spacing),
    )


def _moved(source: Source, place: int, slicing: Slicing) -> dict[str, object]:
    """Geometry of a layer whose first plane is the first one kept."""
    known = {
        name: source.geometry[name]
        for name in ("scale", "translate", "rotate", "shear")
        if name in source.geometry
    }
    if not known:
        return source.geometry
    whole = Affine(ndim=len(source.axes), **known)
    scale = np.array(whole.scale, float)
    scale[place] *= slicing.step
    moved = np.asarray(whole.translate) + slicing.first * whole.linear_matrix[:, place]
    return source.geometry | {"scale": scale, "translate": moved}
