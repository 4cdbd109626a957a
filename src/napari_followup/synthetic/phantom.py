"""Phantoms: synthetic heads whose ventricles widen as their subjects grow older.

Own design, no atlas and no patient behind it: layers of a rounded ellipsoid (scalp, skull, fluid),
a cortex folded along the zero lines of a smooth random texture, deep grey matter, and two crescents
of fluid that alone change between visits. Lengths are mm; greys are those of a T1-weighted image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import expit

from napari_followup.series.stack import VisitStack

__all__ = ["phantoms"]

Array = NDArray[np.floating[Any]]

FIELD = (200.0, 170.0)  # (y, x) that the image covers at least
SLAB = 96.0  # that the planes of a volume cover
SLICE = 5.0  # thickness of a single plane
HALF_AXES = np.array([88.0, 92.0, 74.0])  # of the head, (z, y, x)
ROUNDNESS = 2.2  # exponent of the ellipsoid; 2 is an ellipse, more is squarer
SCALP, SKULL, BRAIN = 0.0, 6.0, 13.0  # where each begins, below the surface of the head
FOLD = 5.0  # standard deviation of the filter that makes the texture
FOLD_DEPTH, FISSURE_DEPTH = 16.0, 26.0  # that the folds reach below the brain's surface
CORTEX = 4.5
VENTRICLE = (30.0, 40.0)  # half length and half height of a crescent
MIDDLE = (-4.0, 3.0)  # row where a crescent is widest, and its gap to the midline
BEND = 0.007  # 1/mm; curvature of its outer side, however wide it is
NUCLEI = ((2.0, 27.0), (15.0, 8.0))  # (y, x) of the right one's centre, and its half axes
SOFT = 0.8  # logistic scale of every edge
GREYS = {"air": 0.0, "scalp": 0.86, "skull": 0.06, "fluid": 0.14, "grey": 0.46, "white": 0.7}
BIAS = 0.03  # standard deviation of each term of the field that a scanner multiplies images by
YOUNG = 55.0  # years; the age that widths are counted from


@dataclass(frozen=True, eq=False, kw_only=True)
class Head:
    """What a subject keeps from visit to visit."""

    half_axes: Array  # (zyx,), mm
    waves: Array  # (wave, 2), strength and phase of the outline's waves
    texture: Array  # (z, y, x), mean 0 and standard deviation 1
    greys: dict[str, float]
    width: Array  # (side,), half width of the left and right crescent at age YOUNG, mm
    pace: float  # share of that width gained each year


def phantoms(
    subjects: int = 1,
    *,
    visits: int = 10,
    seed: int = 0,
    size: tuple[int, int] = (64, 64),
    depth: int = 1,
    noise: float = 0.02,
) -> list[VisitStack]:
    """Make healthy heads, one stack a subject.

    Parameters
    ----------
    subjects, visits
        How many; visits are about a year apart, irregularly, from an age of 55 to 75 on.
    seed
        The same seed gives the same heads, however many are made.
    size
        ``(y, x)`` in pixels. The image covers 200 mm x 170 mm or a little more.
    depth
        Planes of each image. One shows the middle of the head, more share 96 mm among them.
    noise
        Standard deviation of the noise in each channel of the receiver, whose magnitude is shown.

    Returns
    -------
    list of VisitStack
        Images ``(visit, 1, z, y, x)`` float32 in [0, 1], spacing in mm; subjects "phantom-0000",
        ....

    Raises
    ------
    ValueError
        If a number is too small, or `noise` is negative.
    """
    _check({"subjects": (subjects, 1), "visits": (visits, 1), "depth": (depth, 1)})
    _check({"rows of size": (size[0], 16), "columns of size": (size[1], 16)})
    if not noise >= 0:
        raise ValueError(f"noise is a standard deviation, 0 or more, got {noise}")
    pixel = max(FIELD[0] / size[0], FIELD[1] / size[1])
    spacing = (SLAB / depth if depth > 1 else SLICE, pixel, pixel)
    places = _places((depth, *size), spacing)
    stacks = []
    for number in range(subjects):
        rng = np.random.default_rng([seed, number])
        ages = _sample_ages(visits, rng)
        images = _photographed(_sample_head(places, spacing, rng), places, ages, noise, rng)
        name = f"phantom-{number:04d}"
        stack = VisitStack.from_array(
            images, axes="vzyx", ages=ages, spacing=spacing, unit="mm", subject=name
        )
        stacks.append(stack)
    return stacks


def _check(numbers: dict[str, tuple[int, int]]) -> None:
    for name, (number, least) in numbers.items():
        if number < least:
            raise ValueError(f"{name}: got {number}; phantoms need {least} or more")


def _places(shape: tuple[int, ...], spacing: tuple[float, ...]) -> Array:
    """Centres of the voxels, ``(zyx, z, y, x)``, mm from the middle of the head."""
    axes = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape, spacing, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def _sample_ages(visits: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """``(visit,)`` in years: half a year to a year and a half between two visits."""
    gaps = rng.uniform(0.5, 1.5, visits)
    gaps[0] = rng.uniform(YOUNG, YOUNG + 20)
    return np.asarray(np.round(np.cumsum(gaps), 2), dtype=np.float64)


def _sample_head(places: Array, spacing: tuple[float, ...], rng: np.random.Generator) -> Head:
    texture = gaussian_filter(rng.standard_normal(places.shape[1:]), [FOLD / mm for mm in spacing])
    width = 3.2 * np.exp(0.15 * rng.standard_normal() + 0.06 * rng.standard_normal(2))
    return Head(
        half_axes=HALF_AXES * np.exp(0.03 * rng.standard_normal(3)),
        waves=np.stack([rng.normal(0, 0.012, 3), rng.uniform(0, 2 * np.pi, 3)], axis=1),
        texture=(texture - texture.mean()) / texture.std(),
        greys={name: grey * float(np.exp(rng.normal(0, 0.03))) for name, grey in GREYS.items()},
        width=width,
        pace=float(np.clip(0.06 * np.exp(0.4 * rng.standard_normal()), 0.02, 0.12)),
    )


def _photographed(
    head: Head, places: Array, ages: Array, noise: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Images ``(visit, z, y, x)`` as a scanner would take them, each with a field of its own."""
    anatomy = _anatomy(head, places)
    images = np.empty((len(ages), *anatomy.shape), np.float32)
    for image, age in zip(images, ages, strict=True):
        fluid = _ventricles(head, places, age)
        clean = (anatomy + fluid * (head.greys["fluid"] - anatomy)) * _bias(places, rng)
        real, imaginary = noise * rng.standard_normal((2, *clean.shape))
        image[:] = np.hypot(clean + real, imaginary)
    return np.clip(images, 0, 1, out=images)


def _anatomy(head: Head, places: Array) -> Array:
    """Greys ``(z, y, x)`` of a head without ventricles."""
    greys, below = head.greys, _depth(head, places)
    image = np.full(below.shape, greys["air"])
    for begin, tissue in ((SCALP, "scalp"), (SKULL, "skull"), (BRAIN - 2, "fluid")):
        image = _over(image, greys[tissue], below - begin)
    to_fluid = np.minimum(below - BRAIN, _folds(head, places, below - BRAIN))
    image = _over(image, greys["grey"], to_fluid - 1.0)
    image = _over(image, greys["white"], to_fluid - CORTEX)
    return _over(image, 0.5 * (greys["grey"] + greys["white"]), _to_nuclei(places))


def _over(image: Array, grey: float, inside: Array) -> Array:
    """Paint a tissue over others, wherever the distance to its edge is positive."""
    return np.asarray(image + expit(inside / SOFT) * (grey - image))


def _depth(head: Head, places: Array) -> Array:
    """Distance below the surface of the head, negative in air."""
    angle = np.arctan2(places[1], places[2])
    wavy = 1 + sum(s * np.cos(n * angle + at) for n, (s, at) in enumerate(head.waves, start=2))
    scaled = np.abs(places) / head.half_axes[:, None, None, None]
    radius = (scaled**ROUNDNESS).sum(axis=0) ** (1 / ROUNDNESS) * wavy
    return np.asarray((1 - radius) * head.half_axes[1:].mean())


def _folds(head: Head, places: Array, below: Array) -> Array:
    """Distance to the nearest fold of the cortex, or to the fissure between the halves."""
    folds = FOLD * np.abs(head.texture) + np.maximum(below - FOLD_DEPTH, 0)
    bent = places[2] + 0.6 * head.texture
    return np.asarray(np.minimum(folds, np.abs(bent) + np.maximum(below - FISSURE_DEPTH, 0)))


def _to_nuclei(places: Array) -> Array:
    """Distance to the edge of the deep grey matter, positive inside, on both sides alike."""
    (y, x), (long, wide) = NUCLEI
    squares = ((places[1] - y) / long) ** 2 + ((np.abs(places[2]) - x) / wide) ** 2
    return np.asarray(wide * (1 - np.sqrt(squares + (places[0] / 20) ** 2)))


def _ventricles(head: Head, places: Array, age: float) -> Array:
    """Share of each voxel that two crescents fill; they widen away from the midline."""
    z, y, x = places
    row, gap = MIDDLE
    width = head.width * (1 + head.pace * (age - YOUNG))
    widest = np.where(x < 0, *width)
    along = ((y - row) / VENTRICLE[0]) ** 2
    half = widest * (1 - along - (z / VENTRICLE[1]) ** 2)
    across = np.abs(x) - gap - widest - (BEND * VENTRICLE[0] ** 2 + widest) * along
    return np.asarray(expit((half - np.abs(across)) / SOFT))


def _bias(places: Array, rng: np.random.Generator) -> Array:
    """Smooth field around 1, ``(z, y, x)``."""
    z, y, x = places / 100.0
    terms = np.stack([z, y, x, x * y, x**2 - y**2])
    return np.asarray(1 + np.tensordot(BIAS * rng.standard_normal(len(terms)), terms, axes=1))
