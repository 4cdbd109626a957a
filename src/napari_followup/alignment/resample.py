"""Change the grid of a series: crop it, or resample it onto other voxels.

Nothing moves in world coordinates: the affine follows the voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_followup.alignment.brain_mask import foreground, mask_of
from napari_followup.series.grid import background, resampled, spacing_of
from napari_followup.series.stack import VisitStack, add_step

__all__ = ["cropped", "regridded"]


def cropped(stack: VisitStack, *, mask: ArrayLike | None = None, margin: float = 5.0) -> VisitStack:
    """Crop a series to the subject.

    Parameters
    ----------
    stack
        The series.
    mask
        ``(z, y, x)`` or ``(visit, z, y, x)``: what to keep; by default the foreground of all visits
        and modalities.
    margin
        Width kept around it, in the stack's unit.

    Returns
    -------
    VisitStack
        On a part of the grid; voxels keep their values and their world coordinates.

    Raises
    ------
    ValueError
        If the mask does not fit, or is empty.
    """
    shown = _shown(stack) if mask is None else mask_of(mask, stack).any(axis=0)
    if not shown.any():
        raise ValueError(f"cropped: nothing of {stack.subject!r} is in the mask; give another")
    places = np.argwhere(shown)
    voxels = np.ceil(margin / np.asarray(stack.spacing))
    start = np.maximum(places.min(axis=0) - voxels, 0).astype(int)
    stop = np.minimum(places.max(axis=0) + 1 + voxels, shown.shape).astype(int)
    part = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    affine = stack.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ start
    about = {"start": start.tolist(), "stop": stop.tolist(), "margin": margin}
    return replace(
        stack,
        images=stack.images[(slice(None), slice(None), *part)],
        affine=affine,
        provenance=add_step(stack.provenance, "cropped", **about),
    )


def regridded(
    stack: VisitStack,
    *,
    spacing: float | Sequence[float] | None = None,
    like: VisitStack | None = None,
    interpolation: str = "linear",
) -> VisitStack:
    """Resample a series onto voxels of another size, or onto another series' grid.

    Parameters
    ----------
    stack
        The series.
    spacing
        Size of the new voxels, ``(z, y, x)`` or one for all axes, in the stack's unit; the grid
        covers the same field of view. A plane stays a plane.
    like
        Instead of `spacing`: a stack with the wanted grid.
    interpolation
        "nearest", "linear" or "cubic".

    Returns
    -------
    VisitStack
        Voxels outside the old grid have the intensity of the background.

    Raises
    ------
    ValueError
        If not exactly one of `spacing` and `like` is given, or the grids do not overlap.
    """
    if (spacing is None) == (like is None):
        raise ValueError("regridded: give either spacing, or like (a stack with the wanted grid)")
    shape, affine = (like.shape[2:], like.affine) if like else _grid(stack, spacing)
    voxels = np.linalg.inv(stack.affine) @ affine
    images = np.full((*stack.shape[:2], *shape), np.nan, dtype=np.float32)
    inside = np.ones(shape, dtype=bool)
    for visit in np.flatnonzero(~stack.is_missing):
        for number, image in enumerate(np.asarray(stack.images[visit])):
            images[visit, number], inside = resampled(
                image, voxels, shape, interpolation=interpolation, fill=background(image)
            )
    if not inside.any():
        raise ValueError(f"regridded: the new grid lies completely outside {stack.subject!r}")
    sizes = spacing_of(affine)
    about = {
        "shape": list(shape),
        "spacing": list(sizes),
        "interpolation": interpolation,
        "outside": float(1 - inside.mean()),
    }
    return replace(
        stack,
        images=images,
        affine=affine,
        spacing=sizes,
        provenance=add_step(stack.provenance, "regridded", **about),
    )


def _shown(stack: VisitStack) -> NDArray[np.bool_]:
    shown = np.zeros(stack.shape[2:], dtype=bool)
    for visit in np.flatnonzero(~stack.is_missing):
        for image in stack.images[visit]:
            shown |= foreground(image)
    return shown


def _grid(
    stack: VisitStack, spacing: float | Sequence[float] | None
) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Shape and affine of a grid with other voxels over the same field of view."""
    sizes = np.broadcast_to(np.asarray(spacing, dtype=np.float64), 3)
    if not (sizes > 0).all():
        raise ValueError(f"spacing: got {spacing}; give sizes above 0, (z, y, x) or one for all")
    old, shape = np.asarray(stack.spacing), np.asarray(stack.shape[2:])
    sizes = np.where(shape == 1, old, sizes)
    new = np.maximum(np.ceil(shape * old / sizes - 1e-3), 1).astype(int)
    ratio = sizes / old
    affine = stack.affine.copy()
    affine[:3, :3] *= ratio
    # The middles of both fields of view coincide.
    affine[:3, 3] += stack.affine[:3, :3] @ ((shape - 1) / 2 - ratio * (new - 1) / 2)
    return tuple(int(size) for size in new), affine
