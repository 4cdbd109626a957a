"""How an image changed from one visit to another, in units of noise.

Two visits on one grid never agree by themselves: scanners scale and shade them differently,
alignment leaves a fraction of a voxel, edges differ wherever anything moved. What each of these
would explain is taken away or counted as noise; what is left is change. No training.
"""

from __future__ import annotations

from itertools import combinations_with_replacement, pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

from napari_followup.alignment.brain_mask import foreground
from napari_followup.series.intensity import fit_scaling
from napari_followup.series.missing import refuse_partly_missing
from napari_followup.series.stack import VisitStack

__all__ = ["change", "change_mask"]

EDGE_CLASSES, GREY_CLASSES = 16, 12
LEAST_VOXELS = 500  # in a class, for a spread of its own
STILL = 0.5  # how much of a typical edge it takes to believe in a displacement
REACH = 3.0  # of a Gaussian, in its standard deviations
ZERO = (0.0, 10.0)  # shading multiplies what lies above the first image's zero, which stays 0
DARK = 0.05  # of the intensity range; darker means tell nothing about the shading
ROUNDS = 3  # at the rim, where there is a neighbourhood on one side only, one finds too little
LEAST_NOISE = 1e-3  # of the intensity range, near what 8 bits can hold; drawn images have none


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

    The visits are brought to like intensities, percentile by percentile and, over lengths of
    `shading`, by a smooth factor. Of the difference, what a small displacement would explain, that
    is a combination of the local gradients which is even over lengths of `motion`, is taken away.
    It is smoothed and divided by its robust standard deviation among all voxels of like intensity
    and like edge strength; thus edges, where something is always left, count for less.

    Parameters
    ----------
    stack
        On one grid, as `align` gives it.
    i, j
        From which visit to which, counted from 0; negative ones from the end.
    mask
        ``(z, y, x)``; what is outside is not scored, and tells only how strong the edges at the
        rim are. Without it, `change_mask`.
    modality
        Position of the modality.
    smoothing
        Standard deviation of the Gaussian that the difference is smoothed by, in the stack's unit.
    shading, motion
        Lengths in the stack's unit; none leaves the step out.

    Returns
    -------
    NDArray
        ``(z, y, x)`` float32; above 0 where the image became brighter, 0 outside the mask. Where
        nothing changed the values have a standard deviation near 1.

    Raises
    ------
    ValueError
        If there is no such visit, it is missing, or the mask does not fit or is empty.
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
        after = _shaded_alike(before, after, inside, shading / spacing)
    difference = after - before
    if motion is not None:
        difference = _without_motion(difference, before, after, inside, motion, spacing)
    smooth = _smoothed(difference, inside, width)[inside]
    noise = _noise(smooth, *_classes(before, after, inside, width, spacing))
    found = np.zeros(whole.shape, dtype=np.float32)
    found[whole] = smooth / noise
    return found


def change_mask(stack: VisitStack, i: int, j: int, *, modality: int = 0) -> NDArray[np.bool_]:
    """Where two visits both show the subject: what `change` looks at without a mask.

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
    """One visit's image, if there is one."""
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
        raise ValueError("mask: it is empty; mark the voxels to look at")
    return checked


def _box(mask: NDArray[np.bool_], margin: NDArray[Any]) -> tuple[slice, ...]:
    """Smallest part of the grid that holds the mask, and a margin in voxels."""
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


def _shaded_alike(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    inside: NDArray[np.bool_],
    width: NDArray[Any],
) -> NDArray[np.float32]:
    """Give the second image the first one's brightness over long lengths, by a smooth factor."""
    first = np.maximum(_smoothed(before, inside, width), DARK)
    for _ in range(ROUNDS):
        factor = first / np.maximum(_smoothed(after, inside, width), DARK)
        after = np.asarray(after * factor, dtype=np.float32)
    return after


def _slopes(image: NDArray[Any], spacing: NDArray[Any]) -> NDArray[np.float32]:
    """Gradient along each axis that has more than one voxel, axes first."""
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
    """Take away what a smooth displacement explains.

    To first order a displacement u changes an image by its gradient times u; u comes from least
    squares in the neighbourhood (Lucas & Kanade 1981), held back where there are few edges.
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
    """Class of edge strength and of intensity, of each voxel of the mask; classes of like size.

    Both as seen at both visits, the smaller of the two: a new lesion's own edges and brightness
    must not count as a reason to expect noise.
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
    """Robust standard deviation of the values in each voxel's class, smoothed over the classes."""
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
    """Robust standard deviation about 0, where the difference of unchanged voxels lies."""
    return float(1.4826 * np.median(np.abs(values)))
