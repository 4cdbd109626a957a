"""Change of an image from one visit to another, in units of noise.

Two visits on one grid differ even without change: scanners scale and shade them differently,
alignment leaves errors below a voxel, and edges differ where anything moved. These effects are
removed or counted as noise; the rest is change. It needs no training.
"""

from __future__ import annotations

from itertools import combinations_with_replacement, pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

from napari_followup.alignment.brain_mask import foreground
from napari_followup.series.intensity import fit_scaling
from napari_followup.series.stack import VisitStack, refuse_partly_missing

__all__ = ["change", "change_mask"]

EDGE_CLASSES, GREY_CLASSES = 16, 12
LEAST_VOXELS = 500  # in a class, for a spread of its own
STILL = 0.5  # of a typical edge; stronger edges are needed to estimate a displacement
REACH = 3.0  # of a Gaussian, in its standard deviations
ZERO = (0.0, 10.0)  # the bias field multiplies intensities above the zero of the first image
DARK = 0.05  # of the intensity range; darker means say nothing about the bias field
ROUNDS = 3  # one is not enough at the border, where neighbours lie on one side only
LEAST_NOISE = 1e-3  # of the intensity range, near one step of 8 bits; drawn images have no noise


def change(
    stack: VisitStack,
    i: int,
    j: int,
    *,
    mask: ArrayLike | None = None,
    modality: int = 0,
    smoothing: float = 1.5,
    shading: float | None = 20.0,
    motion: float | None = 8.0,
) -> NDArray[np.float32]:
    """Signed change from one visit to another, in units of noise.

    First the intensities of the visits are matched: by percentiles, and by a factor that is smooth
    over lengths of `shading`. Then the part of the difference that a small displacement explains is
    removed: a combination of the local gradients that is smooth over lengths of `motion`. The rest
    is smoothed and divided by its robust standard deviation among voxels of similar intensity and
    similar edge strength. So edges, where some difference always remains, count less.

    Parameters
    ----------
    stack
        On one grid, as `align` gives it.
    i, j
        From which visit to which, counted from 0; negative numbers count from the end.
    mask
        ``(z, y, x)``; voxels outside are not scored, but count for the strength of edges at the
        border. By default `change_mask`.
    modality
        Index of the modality.
    smoothing
        Standard deviation of the Gaussian that smooths the difference, in the stack's unit.
    shading, motion
        Lengths in the stack's unit; `None` leaves the step out.

    Returns
    -------
    NDArray
        ``(z, y, x)`` float32; above 0 where the image became brighter, 0 outside the mask. Without
        change the values have a standard deviation near 1.

    Raises
    ------
    ValueError
        If a visit does not exist or is missing, or the mask does not fit or is empty.
    """
    images = [_image(stack, index, modality) for index in (i, j)]
    whole = change_mask(stack, i, j, modality=modality) if mask is None else _checked(mask, stack)
    spacing = np.asarray(stack.spacing)
    width = smoothing / spacing
    part = _box(whole, np.ceil(REACH * width) + 1)
    inside = whole[part]
    scalings = [fit_scaling(image[whole]) for image in images]
    zero = np.clip(scalings[0].low / (scalings[0].high - scalings[0].low), *ZERO)
    before, after = (
        scaling.apply(image[part]) + np.float32(zero)
        for scaling, image in zip(scalings, images, strict=True)
    )
    if shading is not None:
        after = _brightness_matched(before, after, inside, shading / spacing)
    difference = after - before
    if motion is not None:
        difference = _without_motion(difference, before, after, inside, motion, spacing)
    smooth = _smoothed(difference, inside, width)[inside]
    noise = _noise(smooth, *_classes(before, after, inside, width, spacing))
    found = np.zeros(whole.shape, dtype=np.float32)
    found[whole] = smooth / noise
    return found


def change_mask(stack: VisitStack, i: int, j: int, *, modality: int = 0) -> NDArray[np.bool_]:
    """Where both visits show the subject: the default mask of `change`.

    Parameters
    ----------
    stack, i, j, modality
        As for `change`.

    Returns
    -------
    NDArray
        ``(z, y, x)`` bool: the foreground of both.

    Raises
    ------
    ValueError
        As `change`.
    """
    first, second = (foreground(_image(stack, index, modality)) for index in (i, j))
    if not (first & second).any():
        raise ValueError(
            f"change: the two visits of {stack.subject!r} show nothing in the same place; "
            "align them first, or give a mask"
        )
    return np.asarray(first & second)


def _image(stack: VisitStack, index: int, modality: int) -> NDArray[np.float32]:
    """Image of one visit; raises if there is none."""
    if not -stack.n_visits <= index < stack.n_visits:
        raise ValueError(
            f"change: there is no visit {index} among the {stack.n_visits} of {stack.subject!r}; "
            f"they are counted from 0 to {stack.n_visits - 1}"
        )
    if stack.is_missing[index]:
        raise ValueError(f"change: visit {index} of {stack.subject!r} is missing; choose another")
    if not 0 <= modality < len(stack.modalities):
        raise ValueError(
            f"modality: got {modality}; {stack.subject!r} has {len(stack.modalities)}, counted "
            "from 0"
        )
    image = np.asarray(stack.images[index, modality], dtype=np.float32)
    refuse_partly_missing(image, f"change: visit {index} of {stack.subject!r}")
    return image


def _checked(mask: ArrayLike, stack: VisitStack) -> NDArray[np.bool_]:
    checked = np.asarray(mask).astype(bool)
    if checked.shape != stack.shape[2:]:
        raise ValueError(
            f"mask: got shape {checked.shape} for images of {stack.shape[2:]}; give (z, y, x) on "
            "the same grid"
        )
    if not checked.any():
        raise ValueError("mask: it is empty; include the voxels to compare")
    return checked


def _box(mask: NDArray[np.bool_], margin: NDArray[Any]) -> tuple[slice, ...]:
    """Smallest box around the mask, with a margin in voxels."""
    places = np.argwhere(mask)
    starts = np.maximum(places.min(axis=0) - margin, 0).astype(int)
    stops = (places.max(axis=0) + 1 + margin).astype(int)
    return tuple(slice(start, stop) for start, stop in zip(starts, stops, strict=True))


def _blurred(
    image: NDArray[Any], inside: NDArray[np.bool_], width: NDArray[Any]
) -> NDArray[np.float32]:
    """Gaussian sum over the voxels of the mask; `width` in voxels."""
    kept = np.where(inside, image, 0).astype(np.float32)
    return np.asarray(gaussian_filter(kept, width, mode="constant", truncate=REACH))


def _smoothed(
    image: NDArray[np.float32], inside: NDArray[np.bool_], width: NDArray[Any]
) -> NDArray[np.float32]:
    """Gaussian mean over the voxels of the mask."""
    weight = np.maximum(_blurred(inside, inside, width), 1e-6)
    return np.asarray(_blurred(image, inside, width) / weight)


def _brightness_matched(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    inside: NDArray[np.bool_],
    width: NDArray[Any],
) -> NDArray[np.float32]:
    """Multiply the second image by a smooth factor, to match the brightness of the first."""
    first = np.maximum(_smoothed(before, inside, width), DARK)
    for _ in range(ROUNDS):
        factor = first / np.maximum(_smoothed(after, inside, width), DARK)
        after = np.asarray(after * factor, dtype=np.float32)
    return after


def _slopes(image: NDArray[Any], spacing: NDArray[Any]) -> NDArray[np.float32]:
    """Gradient along each axis with more than one voxel; the first axis counts them."""
    used = [axis for axis, size in enumerate(image.shape) if size > 1]
    return np.stack([np.gradient(image, spacing[axis], axis=axis) for axis in used])


def _without_motion(
    difference: NDArray[np.float32],
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    inside: NDArray[np.bool_],
    motion: float,
    spacing: NDArray[Any],
) -> NDArray[np.float32]:
    """Remove the part of the difference that a smooth displacement explains.

    To first order a displacement u changes an image by its gradient times u. Least squares in the
    neighbourhood give u (Lucas & Kanade 1981), damped where there are few edges.
    """
    slopes = _slopes(gaussian_filter((before + after) / 2, spacing.min() / spacing), spacing)
    count, width = len(slopes), motion / spacing
    normal = np.zeros((int(inside.sum()), count, count), dtype=np.float32)
    right = np.zeros((len(normal), count), dtype=np.float32)
    for a in range(count):
        right[:, a] = _blurred(slopes[a] * difference, inside, width)[inside]
    for a, b in combinations_with_replacement(range(count), 2):
        normal[:, a, b] = _blurred(slopes[a] * slopes[b], inside, width)[inside]
        normal[:, b, a] = normal[:, a, b]
    typical = np.median(np.trace(normal, axis1=1, axis2=2))
    normal += (STILL * typical + 1e-12) * np.eye(count, dtype=np.float32)
    shift = np.linalg.solve(normal, right[..., None])[..., 0]
    left = difference.copy()
    left[inside] -= np.einsum("na,an->n", shift, slopes[:, inside])
    return left


def _classes(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    inside: NDArray[np.bool_],
    width: NDArray[Any],
    spacing: NDArray[Any],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Classes of edge strength and of intensity of each voxel of the mask, of equal size.

    Each value is the smaller one of the two visits: the edges and the brightness of a new lesion
    itself must not raise the expected noise.
    """
    greys = [gaussian_filter(image, width) for image in (before, after)]
    edges = [np.linalg.norm(_slopes(grey, spacing), axis=0) for grey in greys]
    edge, grey = np.minimum(*edges), np.minimum(*greys)
    return _ranked(edge[inside], EDGE_CLASSES), _ranked(grey[inside], GREY_CLASSES)


def _ranked(values: NDArray[Any], classes: int) -> NDArray[np.intp]:
    bounds = np.quantile(values, np.linspace(0, 1, classes + 1)[1:-1])
    return np.searchsorted(bounds, values)


def _noise(
    values: NDArray[np.float32], edge: NDArray[np.intp], grey: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Robust standard deviation of the values in the class of each voxel, smoothed over classes."""
    spread = np.full((EDGE_CLASSES, GREY_CLASSES), _spread(values))
    place = edge * GREY_CLASSES + grey
    order = np.argsort(place, kind="stable")
    ends = np.searchsorted(place[order], np.arange(spread.size + 1))
    for number, (start, stop) in enumerate(pairwise(ends)):
        if stop - start >= LEAST_VOXELS:
            spread.flat[number] = _spread(values[order[start:stop]])
    spread = gaussian_filter(spread, 0.7, mode="nearest")
    return np.asarray(np.maximum(spread, LEAST_NOISE).ravel()[place], dtype=np.float32)


def _spread(values: NDArray[np.float32]) -> float:
    """Robust standard deviation around 0, the mean of unchanged voxels."""
    return float(1.4826 * np.median(np.abs(values)))
