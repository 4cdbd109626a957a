"""Save layers from napari: NIfTI, OME-TIFF, OME-Zarr and ``.npz``, on the grid they came from.

napari's own writers keep plain TIFF and everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["write_image", "write_labels"]


def write_image(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write an image layer, as napari hands it over; say which files were written.

    Raises
    ------
    RuntimeError
        If its axes are not clear, or the format cannot hold it.
    OSError
        If nothing can be written there.
    """
    return _write(path, data, attributes, "image")


def write_labels(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a labels layer; as `write_image`."""
    return _write(path, data, attributes, "labels")


def _write(path: str, data: Any, attributes: Mapping[str, Any], kind: str) -> list[str]:
    from napari_followup.io import write_stack
    from napari_followup.io.npz import write_npz_cohort
    from napari_followup.plugin.results.save_layers import plain_layer, stack_of, subjects_of

    layer = plain_layer(data, attributes)
    try:
        stacks = [stack_of(layer, n, kind) for n in range(len(subjects_of(layer)))]
        if len(stacks) == 1:
            write_stack(path, stacks[0])
        elif path.lower().endswith(".npz"):
            write_npz_cohort(path, stacks)
        else:
            raise ValueError(
                f"{layer.name!r} holds {len(stacks)} subjects, this format one; save as .npz, or "
                "save the results of a detection with its button, a folder a subject"
            )
    except (TypeError, ValueError) as error:
        # napari takes a ValueError for "no writer found" and drops what it says.
        raise RuntimeError(f"{Path(path).name!r} was not written: {error}") from error
    return [path]
