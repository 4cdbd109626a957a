"""Series in OME-Zarr folders of version 0.4 and 0.5, read and written.

Needs zarr (extra `formats`). Axes, their units and the scale are those of the full resolution; t
holds visits, c modalities. Ages and affine, which the format lacks, stand in the attribute
``napari-followup``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_followup.io.errors import ReadError, needing
from napari_followup.io.lazy import is_large
from napari_followup.io.replacing import replacing
from napari_followup.series.stack import VisitStack

__all__ = ["read_zarr", "write_zarr"]

KEY = "napari-followup"
LETTERS = {"t": "v", "c": "m", "z": "z", "y": "y", "x": "x"}
IN_MM = {"meter": 1e3, "centimeter": 10.0, "millimeter": 1.0, "micrometer": 1e-3, "nanometer": 1e-6}
SAID = ("ages", "affine", "is_observed", "modalities", "subject", "unit")


def read_zarr(path: Path, *, axes: str | None = None, split: str | None = None) -> list[VisitStack]:
    """Read the series of an OME-Zarr folder.

    Parameters
    ----------
    path
        The folder.
    axes
        Letters of the axes; stands above what the folder says.
    split
        Not known to this format.

    Returns
    -------
    list of VisitStack
        One; a large array stays on disk until it is used.

    Raises
    ------
    ReadError
        If zarr is not installed, or the folder is damaged or holds no OME-Zarr image.
    """
    if split is not None:
        raise ReadError("OME-Zarr has no splits; leave split out")
    with needing("zarr"):
        import zarr
    try:
        group = zarr.open_group(path, mode="r")
        about: Mapping[str, Any] = group.attrs.asdict()
        about = about.get("ome", about) | {KEY: about.get(KEY, {})}
        image = about["multiscales"][0]
        level = image["datasets"][0]
        array: Any = group[level["path"]]
        found, settings = _described(about, image, level)
        images = _lazy(array) if is_large(array.nbytes) else array[:]
    except Exception as error:  # zarr and its many codecs each have errors of their own
        raise ReadError(
            f"is no readable OME-Zarr image ({type(error).__name__}: {error}); copy it again, or "
            "convert the original anew"
        ) from error
    letters = axes or found
    if "v" not in letters:
        images, letters = images[None], f"v{letters}"
    settings = {"subject": path.name.removesuffix(".zarr").removesuffix(".ome"), **settings}
    return [VisitStack.from_array(images, axes=letters, **settings)]


def write_zarr(path: str | os.PathLike[str], stack: VisitStack, *, version: str = "0.4") -> Path:
    """Write one subject's series, so that `read_zarr` gives it back.

    Lazy images are loaded visit by visit. A folder of that name is replaced once the new one is
    complete.

    Parameters
    ----------
    path
        Where to; ends in ``.zarr``.
    stack
        What to write.
    version
        "0.4", which most programs read, or "0.5".

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        If `path` has another suffix, or there is no such version.
    OSError
        If nothing can be written there.
    """
    with needing("zarr"):
        import zarr
    path = Path(path)
    if path.suffix.lower() != ".zarr":
        raise ValueError(f"write_zarr: got {path.name!r}; end the name in .zarr")
    if version not in ("0.4", "0.5"):
        raise ValueError(f"version: got {version!r}; give '0.4' or '0.5'")
    form: Literal[2, 3] = 2 if version == "0.4" else 3
    with replacing(path) as draft:
        group = zarr.open_group(draft, mode="w", zarr_format=form)
        array = group.create_array(
            "0",
            shape=stack.shape,
            chunks=(1, 1, 1, *stack.shape[3:]),
            dtype=stack.images.dtype,
            chunk_key_encoding={"name": "default" if form == 3 else "v2", "separator": "/"},
            dimension_names=["t", "c", "z", "y", "x"] if form == 3 else None,
        )
        for visit in range(stack.n_visits):
            array[visit] = np.asarray(stack.images[visit])
        about = {"multiscales": [_multiscales(stack, path, version)], **_channels(stack)}
        ome: dict[str, Any] = about if form == 2 else {"ome": {"version": version, **about}}
        group.attrs.update({**ome, KEY: _said(stack)})
    return path


def _described(
    about: Mapping[str, Any], image: Mapping[str, Any], level: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Letters of the axes, and what a stack is made with."""
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in image["axes"]]
    letters = "".join(LETTERS[axis["name"].lower()] for axis in axes)
    scale = [1.0] * len(axes)
    for transform in [
        *level.get("coordinateTransformations", ()),
        *image.get("coordinateTransformations", ()),
    ]:
        if transform["type"] == "scale":
            scale = [one * float(two) for one, two in zip(scale, transform["scale"], strict=True)]
    own = about[KEY]
    settings: dict[str, Any] = {name: own[name] for name in SAID if name in own}
    settings["provenance"] = own.get("provenance", {})
    channels = about.get("omero", {}).get("channels", ())
    if channels and "m" in letters:
        settings.setdefault("modalities", [str(each.get("label", "image")) for each in channels])
    units = {axis.get("unit") for axis in axes if axis["name"].lower() in "yx"}
    if "affine" not in settings and len(units) == 1 and (unit := units.pop()) in IN_MM:
        sizes = dict(zip(letters, scale, strict=True))
        settings["spacing"] = [IN_MM[unit] * sizes.get(letter, 1.0) for letter in "zyx"]
    return letters, settings


def _lazy(array: Any) -> Any:
    from dask.array import from_array

    return from_array(array, chunks=array.chunks)


def _multiscales(stack: VisitStack, path: Path, version: str) -> dict[str, Any]:
    unit = {"unit": "millimeter"} if stack.unit == "mm" else {}
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    axes += [{"name": letter, "type": "space", **unit} for letter in "zyx"]
    scale = {"type": "scale", "scale": [1.0, 1.0, *stack.spacing]}
    said = {"version": version} if version == "0.4" else {}
    levels = [{"path": "0", "coordinateTransformations": [scale]}]
    return {**said, "name": path.stem, "axes": axes, "datasets": levels}


def _channels(stack: VisitStack) -> dict[str, Any]:
    return {"omero": {"channels": [{"label": name} for name in stack.modalities]}}


def _said(stack: VisitStack) -> dict[str, Any]:
    said: dict[str, Any] = {
        "affine": stack.affine.tolist(),
        "is_observed": stack.is_observed.tolist(),
        "modalities": list(stack.modalities),
        "subject": stack.subject,
        "unit": stack.unit,
        "provenance": dict(stack.provenance),
    }
    return said | ({"ages": stack.ages.tolist()} if stack.ages_known else {})
