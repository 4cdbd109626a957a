"""Anomalies for any grey image, planes or volumes: blobs and patches that stay and grow.

They hang on nothing but the difference between a subject and what surrounds it, so that a model of
any organ can be shown what it sees. `synthetic.anomalies` are those of one published benchmark.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.series.intensity import Scaling, fit_scaling
from napari_followup.series.stack import VisitStack

__all__ = ["GENERIC_ANOMALIES", "draw"]

GENERIC_ANOMALIES = ("darker_blob", "brighter_blob", "foreign_patch")
STRENGTH = 0.6  # of a blob in its middle, of the series' range
RADII = (0.08, 0.14)  # at the first and last visit, of the plane's shorter side
VISIBLE = 0.05  # change that counts as anomalous, of the series' range
TRIES = 16  # places that a patch may come from

Values = NDArray[np.float32]


def draw(
    stack: VisitStack, kind: str, seed: int = 0, *, size: float = 1.0
) -> tuple[VisitStack, NDArray[np.bool_]]:
    """Draw an anomaly somewhere into the subject, at the same place at all visits, and growing.

    Parameters
    ----------
    stack
        A healthy series; planes or volumes, any number of modalities, which all get it.
    kind
        "darker_blob", "brighter_blob": soft, strongest in the middle, where it changes the image
        by 60 % of the series' range, though nothing becomes darker than the darkest voxel of the
        visit; "foreign_patch": what the subject looks like elsewhere.
    seed
        Chooses the place.
    size
        Of the usual radius, which grows from 8 to 14 % of the plane's shorter side; 1.5 pixels
        are kept.

    Returns
    -------
    stack, truth
        A copy with the anomaly, and ``(visit, z, y, x)`` booleans: every voxel changed by more than
        5 % of the series' range in a modality. Visits that were not observed stay as they are.

    Raises
    ------
    ValueError
        If there is no such kind, or the size is not above 0.
    """
    if not 0 < size < float("inf"):
        raise ValueError(f"size: got {size}; give a number above 0, 1 for the usual radius")
    if kind not in GENERIC_ANOMALIES:
        raise ValueError(f"kind: got {kind!r}; choose one of {', '.join(GENERIC_ANOMALIES)}")
    rng = np.random.default_rng(seed)
    images = np.array(stack.images)
    truth = np.zeros((stack.n_visits, *stack.shape[2:]), dtype=bool)
    observed = np.flatnonzero(stack.is_observed)
    scalings = [fit_scaling(stack, modality=m) for m in range(stack.shape[1])]
    first = scalings[0].apply(images[observed, 0])
    centre = _place(first.mean(axis=0), kind, rng)
    shift = _shift(first[-1], _weight(stack, centre, size * RADII[1]), rng)
    grown = size * np.linspace(*RADII, num=len(observed))
    for visit, radius in zip(observed, grown, strict=True):
        weight = _weight(stack, centre, float(radius))
        for modality, scaling in enumerate(scalings):
            before = images[visit, modality]  # a view: what is written goes into the copy
            after = _drawn(scaling.apply(before), weight, kind, shift)
            truth[visit] |= _write(before, scaling, after)
    return stack.with_images(images), truth


def _drawn(values: Values, weight: Values, kind: str, shift: tuple[int, ...]) -> Values:
    """(z, y, x) in [0, 1] with the anomaly, where `weight` is above 0."""
    if kind == "foreign_patch":
        part = np.minimum(1.0, 3 * weight)  # soft at its edge only
        return np.asarray((1 - part) * values + part * np.roll(values, shift, axis=(0, 1, 2)))
    if kind == "brighter_blob":
        return np.asarray(values + np.float32(STRENGTH) * weight)
    return np.maximum(values - np.float32(STRENGTH) * weight, np.nanmin(values))


def _write(image: NDArray[Any], scaling: Scaling, values: Values) -> NDArray[np.bool_]:
    """Write changed values into an image in its own units; return where that is visible."""
    before = scaling.apply(image)
    changed = np.abs(values - before) > 1e-6
    drawn = scaling.invert(values)[changed]
    if image.dtype.kind in "iu":
        limits = np.iinfo(image.dtype)
        drawn = np.rint(np.clip(drawn, limits.min, limits.max))
    elif image.dtype.kind == "b":
        drawn = drawn > (scaling.low + scaling.high) / 2
    image[changed] = drawn.astype(image.dtype)
    return np.asarray(np.abs(scaling.apply(image) - before) > VISIBLE)


def _place(mean: Values, kind: str, rng: np.random.Generator) -> tuple[int, ...]:
    """One voxel (z, y, x) of the subject that has room to become darker, or brighter."""
    subject = _subject(mean)
    room = {"darker_blob": mean > 0.4, "brighter_blob": mean < 0.6}.get(kind, subject)
    middle = np.zeros_like(subject)
    inner = tuple(slice(side // 6, side - side // 6) for side in subject.shape)
    middle[inner] = True
    for mask in (subject & room & middle, subject & middle, room & middle, middle):
        places = np.argwhere(mask)
        if len(places):
            return tuple(int(each) for each in places[rng.integers(len(places))])
    return tuple(side // 2 for side in mean.shape)


def _subject(mean: Values) -> NDArray[np.bool_]:
    """Where a subject is: what differs from the planes' borders."""
    border = np.concatenate(
        [mean[:, 0].ravel(), mean[:, -1].ravel(), mean[:, :, 0].ravel(), mean[:, :, -1].ravel()]
    )
    return np.asarray(np.abs(mean - np.median(border)) > 0.1)


def _weight(stack: VisitStack, centre: tuple[int, ...], radius: float) -> Values:
    """(z, y, x): 1 in the middle of a ball, falling smoothly to 0 at its surface."""
    sizes = np.asarray(stack.spacing)
    pixels = max(1.5, radius * min(stack.shape[-2:]))
    reach = pixels * min(sizes[1:]) / sizes
    reach[0] = max(reach[0], 0.75)  # a thick plane holds it all
    axes = np.ogrid[tuple(slice(0, side) for side in stack.shape[2:])]
    squares = sum(
        ((axis - at) / half) ** 2 for axis, at, half in zip(axes, centre, reach, strict=True)
    )
    return np.asarray(np.maximum(0.0, 1 - squares) ** 2, dtype=np.float32)


def _shift(values: Values, weight: Values, rng: np.random.Generator) -> tuple[int, ...]:
    """Offset (z, y, x) to a place that looks most unlike this one, of some tried."""
    sides = values.shape
    tried = [
        (0, *(int(rng.integers(side // 6, side - side // 6 + 1)) for side in sides[1:]))
        for _ in range(TRIES)
    ]
    return max(
        tried,
        key=lambda shift: float(
            (weight * np.abs(np.roll(values, shift, axis=(0, 1, 2)) - values)).sum()
        ),
    )
