"""What the table of visits holds: rows, where their images come from, and what is known of them.

Plain values, without Qt. The images themselves stay where they are until a stack is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_followup.series.stack import VisitStack

__all__ = [
    "AxesUnknown",
    "Facts",
    "Listed",
    "Opener",
    "Options",
    "Origin",
    "Part",
    "Row",
    "facts_of",
    "part_of",
]

THUMBNAIL = 64  # pixels of its longer side

Opener = Callable[[], list[tuple[VisitStack, int]]]  # visits: a stack, and which visit of it


class AxesUnknown(ValueError):
    """A file or layer does not say what its axes are; `choices` is what they can be."""

    def __init__(self, choices: tuple[str, ...]) -> None:
        super().__init__("does not say what its axes are; choose it under 'axes'")
        self.choices = choices


class Origin(Protocol):
    """A file, folder or layer that holds a visit, or several."""

    axes: str | None  # none while it is not known, or says so itself
    choices: tuple[str, ...]  # what they can be, where it has to be asked

    @property
    def name(self) -> str:
        """What to call it at the screen."""

    def opener(self) -> Opener:
        """Make what reads the visits, to be called in a thread."""

    def subject_of(self, stack: VisitStack) -> str:
        """Say whose visits it holds; empty where nothing tells."""

    def said(self) -> str:
        """Say what it is, for the provenance."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Facts:
    """What is known of one visit's images, without their voxels."""

    shape: tuple[int, int, int]  # (z, y, x)
    affine: NDArray[np.float64]  # (4, 4), voxel (z, y, x) -> world (x, y, z)
    spacing: tuple[float, float, float]  # (z, y, x), in `unit`
    unit: str
    modalities: tuple[str, ...]
    is_observed: bool  # not imputed, nor missing
    thumbnail: NDArray[np.uint8]  # (y, x), the middle plane

    @property
    def grid(self) -> str:
        """Shape and voxel size, in two lines."""
        size = " × ".join(str(length) for length in self.shape)
        return f"{size}\n{' × '.join(f'{length:.3g}' for length in self.spacing)} {self.unit}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Part:
    """One visit that an origin was found to hold."""

    facts: Facts
    subject: str
    age: float | None
    is_missing: bool


@dataclass(eq=False, kw_only=True)
class Row:
    """One image of one visit, or a visit without an image."""

    name: str
    origin: Origin | None = None  # none: a visit without an image
    part: int = 0  # which visit of the origin
    subject: str = ""  # empty where nothing tells
    visit: str = ""  # the rows of one visit share it; empty where nothing tells
    modality: str = ""
    when: str = ""  # age in years or date, as typed
    birth: str = ""
    is_missing: bool = False
    is_listed: bool = False  # by a table or folder that says which visit it is
    table: Path | None = None  # that lists it
    facts: Facts | None = None  # none until it was read
    error: str = ""  # what reading it complained of

    @property
    def is_pending(self) -> bool:
        """Whether it has yet to be read."""
        return self.origin is not None and self.facts is None and not self.error


@dataclass(frozen=True, kw_only=True)
class Listed:
    """What a folder or table lists."""

    path: Path
    rows: tuple[Row, ...] = ()
    names: tuple[str, ...] = ()  # of a table's columns
    columns: Mapping[str, str]  # which of them holds what

    @property
    def is_unclear(self) -> bool:
        """Whether a table does not tell its paths or ages by the names of its columns."""
        known = set(self.columns)
        return bool(self.names) and ("path" not in known or not known & {"age", "date"})


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is said of the stack as a whole, where the files do not say it."""

    name: str = ""
    subject: str = ""  # whose visits, where there are several subjects
    modality: str = ""
    spacing: tuple[float, float, float] | None = None  # (z, y, x)
    unit: str = "pixel"
    birth: str = ""
    onto_first: bool = False  # whether visits are brought onto the first one's grid


def facts_of(stack: VisitStack, index: int) -> Facts:
    """Describe one visit of a stack; of its images the middle plane alone is loaded."""
    return Facts(
        shape=(stack.shape[2], stack.shape[3], stack.shape[4]),
        affine=stack.affine,
        spacing=stack.spacing,
        unit=stack.unit,
        modalities=stack.modalities,
        is_observed=bool(stack.is_observed[index]),
        thumbnail=_thumbnail(stack.images[index, 0, stack.shape[2] // 2]),
    )


def part_of(stack: VisitStack, index: int, subject: str) -> Part:
    """Describe one visit of a stack, with its age if it is known."""
    return Part(
        facts=facts_of(stack, index),
        subject=subject,
        age=float(stack.ages[index]) if stack.ages_known else None,
        is_missing=bool(stack.is_missing[index]),
    )


def _thumbnail(plane: Any) -> NDArray[np.uint8]:
    """Small image of a plane; its darkest and brightest pixels are cut off."""
    step = max(1, -(-max(plane.shape) // THUMBNAIL))
    whole = np.asarray(plane, dtype=np.float32)
    height, width = (max(length // step, 1) for length in whole.shape)
    blocks = whole[: height * step, : width * step]
    small = _block_means(blocks, (height, width))
    if not np.isfinite(small).all():
        return np.zeros(small.shape, dtype=np.uint8)
    low, high = np.percentile(small, (1, 99.8))
    if low == high:
        low, high = float(small.min()), float(small.max())
    scaled = np.clip((small - low) / ((high - low) or 1.0), 0, 1) * 255
    return np.asarray(scaled, dtype=np.uint8)


def _block_means(plane: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Mean of each of ``shape`` blocks that a plane is made of."""
    height, width = (max(a // b, 1) for a, b in zip(plane.shape, shape, strict=True))
    return np.asarray(plane.reshape(shape[0], height, shape[1], width).mean(axis=(1, 3)))
