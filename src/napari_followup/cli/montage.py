"""A picture of one patient's detection: a column a visit; from input to truth a line each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_followup.series.results import Detection

__all__ = ["write_montage"]


def write_montage(
    path: Path, found: Detection, truth: NDArray[np.bool_] | None, provenance: Mapping[str, Any]
) -> Path:
    """Draw the middle plane of every visit into a PNG; needs no screen.

    Parameters
    ----------
    path
        Ends in ``.png``.
    found
        What was found.
    truth
        ``(visit, z, y, x)``, if it is known.
    provenance
        Stands as JSON in the picture's metadata.

    Returns
    -------
    Path
        The file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from napari_followup.evaluation.report import replacing

    rows = _planes(found, truth)
    visits = found.stack.n_visits
    size = (0.4 + 1.1 * visits, 0.6 + 1.1 * len(rows))
    figure = Figure(figsize=size, dpi=110, layout="compressed")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), visits, squeeze=False)
    for line, (name, (planes, settings)) in zip(axes, rows.items(), strict=True):
        for plane, axis in zip(planes, line, strict=True):
            axis.imshow(plane, interpolation="nearest", **settings)
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(name)
    for axis, age in zip(axes[0], found.stack.ages, strict=True):
        axis.set_title(f"{age:.1f}", fontsize=9)
    figure.suptitle(f"{found.stack.subject}, by age in years", fontsize=10)
    with replacing(path) as draft:
        figure.savefig(draft, format="png", metadata={"Description": json.dumps(provenance)})
    return path


def _planes(
    found: Detection, truth: NDArray[np.bool_] | None
) -> dict[str, tuple[NDArray[Any], dict[str, Any]]]:
    """Planes ``(visit, y, x)`` of every line of the picture, and how to draw them."""
    import numpy as np

    middle = found.stack.shape[2] // 2
    images = np.asarray(found.stack.images[:, 0, middle], np.float32)
    grey = {"cmap": "gray", "vmin": float(np.nanmin(images)), "vmax": float(np.nanmax(images))}
    hot = {"cmap": "inferno", "vmin": 0.0, "vmax": max(float(np.nanmax(found.score)), 1e-6)}
    binary = {"cmap": "gray", "vmin": 0, "vmax": 1}
    rows: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {"input": (images, grey)}
    if found.healthy is not None:
        rows["healthy"] = (found.healthy[:, 0, middle], grey)
    rows |= {"score": (found.score[:, middle], hot), "mask": (found.mask[:, middle], binary)}
    return rows if truth is None else rows | {"truth": (truth[:, middle], binary)}
