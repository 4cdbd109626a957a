"""Which images are read at once, and which stay on disk until they are used."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["LAZY_ABOVE", "is_large", "stacked"]

LAZY_ABOVE = 2**29  # bytes


def is_large(size: int) -> bool:
    """Whether that many bytes of pixels had better stay on disk."""
    return size > LAZY_ABOVE


def stacked(images: list[Any], axis: int = 0) -> Any:
    """Join arrays along an axis they have; lazily if one of them is lazy."""
    if all(isinstance(each, np.ndarray) for each in images):
        return np.concatenate(images, axis=axis)
    from dask.array import concatenate

    return concatenate(images, axis=axis)
