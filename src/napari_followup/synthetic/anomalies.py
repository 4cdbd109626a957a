"""Anomalies drawn into a healthy series, with their truth.

The three of the Starmen benchmark (Dang 2025, Sec. 4.1), which hang on the figure's left hand and
change year by year, and one that shows at a single visit, as an artefact would.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.series.intensity import Scaling, fit_scaling
from napari_followup.series.stack import VisitStack

__all__ = ["ANOMALIES", "add_anomaly"]

ANOMALIES = ("growing_circle", "darker_circle", "darker_line", "transient_circle")
TRANSIENT_RADIUS = 4  # pixels; what the growing circle reaches in its fourth year
VISIBLE = 1 / 255  # change of grey that counts as anomalous, of the series' range
# A line from the hand to (3, 3) beyond it, two pixels thick: what OpenCV draws.
LINE = (".##...", "####..", "#####.", ".#####", "..####", "...##.")


def add_anomaly(
    stack: VisitStack, kind: str, *, seed: int = 0, visit: int | None = None
) -> tuple[VisitStack, NDArray[np.bool_]]:
    """Draw an anomaly at the figure's left-most point, visit by visit.

    Parameters
    ----------
    stack
        A healthy series of bright bodies on a dark ground. Volumes get it in their middle plane,
        and every modality alike.
    kind
        "growing_circle": a bright disc whose radius is the years since it began;
        "darker_circle", "darker_line": 13 and 22 pixels, darker by 20/255 a year from 200/255;
        "transient_circle": a bright disc of radius 4 at one visit only.
        Greys are parts of the range from the series' darkest to its brightest value.
    seed
        Chooses the visit of "transient_circle" if `visit` does not.
    visit
        Where the anomaly begins, the first visit if not given; for "transient_circle" the only
        visit that shows it.

    Returns
    -------
    stack, truth
        A copy with the anomaly, and ``(visit, z, y, x)`` booleans: every pixel the drawing changed
        by more than 1/255. Missing visits, and those without a body, stay as they are.

    Raises
    ------
    ValueError
        If `kind` or `visit` does not exist.

    References
    ----------
    Dang (2025), Sec. 4.1. Half of a darker shape lies on background and is brighter there.
    """
    if kind not in ANOMALIES:
        raise ValueError(f"kind: got {kind!r}; choose one of {', '.join(ANOMALIES)}")
    visits = _affected_visits(stack, kind, seed, visit)
    images = np.array(stack.images)
    truth = np.zeros((stack.n_visits, *stack.shape[2:]), dtype=bool)
    plane = stack.shape[2] // 2
    scalings = [fit_scaling(stack, percentiles=(0, 100), modality=m) for m in range(stack.shape[1])]
    for number in visits:
        years = round(float(stack.ages[number] - stack.ages[visits[0]]))
        shape, grey = _shape(kind, years)
        frames = images[number, :, plane]  # a view: drawing on it draws on the copy
        pixels = _place(shape, scalings[0].apply(frames[0]))
        for frame, scaling in zip(frames, scalings, strict=True):
            truth[number, plane] |= _draw(frame, pixels, grey, scaling)
    return stack.with_images(images), truth


def _affected_visits(
    stack: VisitStack, kind: str, seed: int, visit: int | None
) -> NDArray[np.intp]:
    """Observed visits that show the anomaly; years count from the first of them."""
    if visit is not None and not 0 <= visit < stack.n_visits:
        raise ValueError(f"visit: got {visit}; the series has visits 0 to {stack.n_visits - 1}")
    observed = np.flatnonzero(stack.is_observed)
    if kind != "transient_circle":
        return np.asarray(observed[observed >= (visit or 0)])
    chosen = np.random.default_rng(seed).choice(observed) if visit is None else visit
    return np.asarray(observed[observed == chosen])


def _shape(kind: str, years: int) -> tuple[NDArray[np.intp], float]:
    """Pixels ``(pixel, xy)`` relative to the hand, and their grey in [0, 1]."""
    fading = max(0, 200 - 20 * years) / 255
    match kind:
        case "growing_circle":
            return _disc(years), 1.0
        case "darker_circle":
            return _disc(2), fading
        case "darker_line":
            rows, columns = np.nonzero([[mark == "#" for mark in row] for row in LINE])
            return np.stack([columns, rows], axis=1) - 1, fading
        case _:
            return _disc(TRANSIENT_RADIUS), 1.0


def _disc(radius: int) -> NDArray[np.intp]:
    """Pixels of a filled circle, as OpenCV fills it: 1, 5, 13, 29, 49, 81, ... of them."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    inside = x**2 + y**2 <= radius**2
    return np.stack([x[inside], y[inside]], axis=1)


def _place(shape: NDArray[np.intp], frame: NDArray[np.float32]) -> NDArray[np.intp]:
    """Move a shape to the frame's left-most body pixel and clip what lies outside."""
    body = frame > 0.5
    if not body.any():
        return shape[:0]
    x = int(np.argmax(body.any(axis=0)))
    pixels = shape + np.array([x, np.argmax(body[:, x])])
    inside = ((pixels >= 0) & (pixels < frame.shape[::-1])).all(axis=1)
    return np.asarray(pixels[inside])


def _draw(
    frame: NDArray[Any], pixels: NDArray[np.intp], grey: float, scaling: Scaling
) -> NDArray[np.bool_]:
    """Paint pixels of one grey into the frame; return where that is visible."""
    before = frame.astype(np.float64)
    value = scaling.low + grey * (scaling.high - scaling.low)
    frame[pixels[:, 1], pixels[:, 0]] = value if frame.dtype.kind == "f" else round(value)
    change = np.abs(frame.astype(np.float64) - before)
    return np.asarray(change > VISIBLE * (scaling.high - scaling.low))
