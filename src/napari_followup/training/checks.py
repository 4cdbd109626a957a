"""What can be wrong with the data of a training, said before it takes hours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from napari_followup.series.intensity import fit_scaling
from napari_followup.series.stack import VisitStack

__all__ = ["FEW", "check_series", "listed"]

FEW = 20  # subjects
FAR = 10.0  # times the median range, or a tenth of it


def check_series(stacks: Sequence[VisitStack]) -> list[str]:
    """Look for what makes series unfit to be learned from together.

    Parameters
    ----------
    stacks
        Healthy series.

    Returns
    -------
    list of str
        What the user should know; nothing if all is well.

    Raises
    ------
    ValueError
        If a series holds colour images.
    """
    for stack in stacks:
        _check_colour(stack)
    return [
        note
        for look in (_too_few, _mixed_sizes, _mixed_spacings, _mixed_ranges, _channels)
        if (note := look(stacks))
    ]


def _check_colour(stack: VisitStack) -> None:
    if stack.shape[-1] in (3, 4) and np.dtype(stack.images.dtype) == np.uint8:
        raise ValueError(
            f"images of {stack.subject!r}: shape {stack.shape} looks like colour, with red, green "
            "and blue as the last axis; convert them to one grey channel first"
        )


def _too_few(stacks: Sequence[VisitStack]) -> str:
    count = len({stack.subject for stack in stacks})
    if count >= FEW or len(stacks) >= FEW:
        return ""
    return (
        f"{len(stacks)} series are few: below about {FEW} subjects a model learns these "
        "very subjects rather than what is healthy"
    )


def _mixed_sizes(stacks: Sequence[VisitStack]) -> str:
    sizes = Counter(stack.shape[-2:] for stack in stacks)
    if len(sizes) == 1:
        return ""
    listed = ", ".join(f"{y} x {x} ({count})" for (y, x), count in sizes.most_common(4))
    return (
        f"planes differ in size: {listed}; all are brought to one size, which stretches those of "
        "other proportions (nf.regridded brings series onto one grid)"
    )


def _mixed_spacings(stacks: Sequence[VisitStack]) -> str:
    sizes = np.array([stack.spacing for stack in stacks if stack.unit == "mm"])
    if not len(sizes) or (sizes.max(axis=0) <= 1.1 * sizes.min(axis=0)).all():
        return ""
    low, high = sizes.min(axis=0).round(3).tolist(), sizes.max(axis=0).round(3).tolist()
    return (
        f"voxels differ in size, from {low} to {high} mm (z, y, x): the same organ comes in "
        "different sizes (nf.regridded brings series onto one grid)"
    )


def _mixed_ranges(stacks: Sequence[VisitStack]) -> str:
    widths = []
    for stack in stacks:
        scaling = fit_scaling(np.asarray(stack.images[np.flatnonzero(stack.is_observed)[0], 0]))
        widths.append(scaling.high - scaling.low)
    usual = float(np.median(widths))
    far = [
        stack.subject
        for stack, width in zip(stacks, widths, strict=True)
        if not usual / FAR <= width <= usual * FAR
    ]
    if not far:
        return ""
    return (
        f"{listed(far)}: the intensities span {FAR:g} times more or less than the others', "
        f"{usual:.4g}; each series is scaled by itself, but see whether they are of one kind"
    )


def _channels(stacks: Sequence[VisitStack]) -> str:
    stack = stacks[0]
    if stack.shape[1] != 3 or np.dtype(stack.images.dtype) != np.uint8:
        return ""
    return (
        f"the three modalities of {stack.subject!r} are bytes: if they are red, green and blue, "
        "convert them to one grey channel"
    )


def listed(names: Sequence[str], most: int = 8) -> str:
    """Join names, and count those beyond the first few."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
