"""Where images are NaN: visits that are missing, and planes of our maps that were not examined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.series.disk_arrays import each_visit

__all__ = ["is_map", "observed_visits", "refuse_partly_missing"]


def is_map(provenance: Mapping[str, Any]) -> bool:
    """Whether images say that they are a result of ours, which may lack planes of a visit."""
    layer = provenance.get("layer")
    return isinstance(layer, Mapping) and "result" in layer


def refuse_partly_missing(image: NDArray[Any], name: str) -> None:
    """Refuse an image of an observed visit that lacks planes: nothing can be computed of it.

    Raises
    ------
    ValueError
        If it is partly NaN.
    """
    holes = np.isnan(image)
    if holes.any() and not holes.all():
        raise ValueError(f"{name} is a saved map, partly NaN; give the series that it was made of")


def observed_visits(
    images: Any, observed: NDArray[np.bool_], subject: str, *, may_lack_planes: bool
) -> NDArray[np.bool_]:
    """Say which visits are observed, once those that are NaN all over are taken out.

    Parameters
    ----------
    images
        ``(visit, modality, z, y, x)``.
    observed
        ``(visit,)``, as far as is known.
    subject
        For the messages.
    may_lack_planes
        Whether an observed visit may be partly NaN, see `is_map`.

    Returns
    -------
    ndarray of bool
        ``(visit,)``.

    Raises
    ------
    ValueError
        If a visit holds infinite values, or NaN where it must not, or none is observed.
    """
    if images.dtype.kind == "f":
        of, parts = f"of {len(images)} of {subject!r}", enumerate(each_visit(images), start=1)
        seen = [
            not _is_missing(np.asarray(part), f"visit {n} {of}", may_lack_planes)
            for n, (part,) in parts
        ]
        observed = observed & seen
    if not observed.any():
        raise ValueError(f"images of {subject!r}: no visit is observed; give at least one image")
    return observed


def _is_missing(visit: NDArray[Any], name: str, may_lack_planes: bool) -> bool:
    if np.isfinite(visit).all():
        return False
    if np.isnan(visit).all():
        return True
    if np.isinf(visit).any():
        raise ValueError(f"{name} holds infinite values; clip or replace them first")
    if may_lack_planes:
        return False
    raise ValueError(
        f"{name} is partly NaN; fill the missing pixels (numpy.nan_to_num), or make the "
        "whole visit NaN if it is missing"
    )
