"""One visit's images from one file or folder, of any kind we know."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_followup.io.dicom import read_dicom
from napari_followup.io.errors import ReadError
from napari_followup.io.kinds import IMAGES, is_zarr, suffix_of
from napari_followup.io.nifti import read_nifti
from napari_followup.io.npz import read_npz
from napari_followup.io.tiff import read_tiff_visit
from napari_followup.io.zarr import read_zarr
from napari_followup.series.stack import VisitStack

__all__ = ["read_image"]

STARTS = (b"\x89PNG", b"\xff\xd8", b"BM")


def read_image(path: Path) -> VisitStack:
    """Read one visit.

    Parameters
    ----------
    path
        NIfTI, TIFF, PNG, JPEG, BMP or ``.npz``, or a folder of DICOM or OME-Zarr.

    Returns
    -------
    VisitStack
        With one visit.

    Raises
    ------
    ReadError
        If nothing is there, it cannot be read, or it holds several visits; the message begins with
        its name.
    """
    if not path.exists():
        raise ReadError(f"there is no file {str(path)!r}; correct its path")
    try:
        stacks = _read(path)
    except ReadError as error:
        raise ReadError(f"{path.name!r}: {error}") from error
    except (OSError, TypeError, ValueError) as error:
        raise ReadError(f"{path.name!r}: {error}") from error
    if len(stacks) != 1 or stacks[0].n_visits != 1:
        visits = sum(stack.n_visits for stack in stacks)
        raise ReadError(
            f"{path.name!r} holds {visits} visits; give a file a visit here, or read it by itself"
        )
    return stacks[0]


def _read(path: Path) -> list[VisitStack]:
    if path.is_dir():
        return read_zarr(path) if is_zarr(path) else read_dicom(path)
    match suffix_of(path):
        case ".nii" | ".nii.gz":
            return read_nifti(path)
        case ".tif" | ".tiff":
            return read_tiff_visit(path)
        case ".npz":
            return read_npz(path)
        case suffix if suffix in IMAGES:
            return [_read_plane(path)]
        case suffix:
            raise ReadError(f"is of the unknown kind {suffix!r}; give NIfTI, TIFF, PNG or .npz")


def _read_plane(path: Path) -> VisitStack:
    from skimage.io import imread

    with path.open("rb") as file:
        start = file.read(4)
    if not start.startswith(STARTS):
        raise ReadError("is no PNG, JPEG or BMP image, whatever its name; give its own ending")
    try:
        plane = np.asarray(imread(path))
    except Exception as error:  # each format's decoder has errors of its own
        raise ReadError(f"is no readable image ({error}); copy it again") from error
    if plane.ndim != 2:
        raise ReadError(f"is in colour, shape {plane.shape}; convert it to one grey channel")
    return VisitStack.from_array(plane[None], subject=path.stem)
