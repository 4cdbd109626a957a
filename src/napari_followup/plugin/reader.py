"""Open series and cohorts in napari: the ``.npz`` and TIFF files that say they are one.

Every other file is left to napari's own readers.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from napari_followup.plugin.layers import LayerTuple

__all__ = ["get_reader", "read_layers"]

PathLike = str | os.PathLike[str]


def get_reader(
    path: PathLike | Sequence[PathLike],
) -> Callable[[PathLike], list[LayerTuple]] | None:
    """Answer napari with the function that reads this file, or nothing if it is no series."""
    if not isinstance(path, str | os.PathLike):
        return None
    is_ours = {".npz": _holds_images, ".tif": _has_visits, ".tiff": _has_visits}.get(
        Path(path).suffix.lower()
    )
    return read_layers if is_ours is not None and is_ours(Path(path)) else None


def read_layers(path: PathLike) -> list[LayerTuple]:
    """Read a series, or a cohort, as image layers.

    Raises
    ------
    ValueError
        If the file is damaged; the message says what is wrong.
    """
    from napari_followup.plugin.stack_layers import cohort_layers, stack_layers
    from napari_followup.reading import read_stacks

    stacks = read_stacks(path)
    return stack_layers(stacks[0]) if len(stacks) == 1 else cohort_layers(stacks, Path(path).stem)


def _holds_images(path: Path) -> bool:
    """Whether an .npz file has an array of that name, by its table of contents alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "images.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def _has_visits(path: Path) -> bool:
    """Whether a TIFF file names a time axis, or holds ages; colour is not ours."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            axes = file.series[0].axes
            ages = (file.shaped_metadata or ({},))[0].get("ages")
    except (OSError, ValueError, LookupError, tifffile.TiffFileError):
        return False
    return not axes.endswith("S") and ("T" in axes or ages is not None)
