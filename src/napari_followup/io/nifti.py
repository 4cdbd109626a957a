"""Visits in NIfTI files, read and written: ``.nii`` and ``.nii.gz``.

A file of three axes is one visit, one of four holds visits last, one of five modalities after
them. Ages, subject and modalities stand in a JSON file of the same name, or in the header's
extension; both are written. Our affine takes voxel (z, y, x), NIfTI's (x, y, z); both end in RAS.
"""

from __future__ import annotations

import gzip
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.io.errors import ReadError
from napari_followup.io.kinds import stem_of
from napari_followup.io.lazy import is_large
from napari_followup.io.replacing import replacing
from napari_followup.series.stack import VisitStack

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header, Nifti1Image

__all__ = ["count_visits", "read_nifti", "write_nifti"]

IN_MM = {"mm": 1.0, "micron": 1e-3, "meter": 1e3}
COMMENT = 6  # code of a header extension that holds text
NAMES = ("ages", "subject", "modalities", "is_observed", "unit", "provenance")
AS_WRITTEN = {"b1": "u1", "f2": "f4", "i8": "i4", "u8": "u4"}  # types that NIfTI lacks, or should


def read_nifti(
    path: Path, *, axes: str | None = None, split: str | None = None
) -> list[VisitStack]:
    """Read the visits of a NIfTI file.

    Parameters
    ----------
    path
        The file.
    axes
        Letters of the axes, slowest first, where they are not (m, v, z, y, x): "vyx" for planes
        of several visits that lie behind each other.
    split
        Not known to this format.

    Returns
    -------
    list of VisitStack
        One; of a large file the images stay on disk until they are used.

    Raises
    ------
    ReadError
        If the file is damaged, in colour, or its affine is singular.
    """
    if split is not None:
        raise ReadError("NIfTI files have no splits; leave split out")
    image = _load(path)
    affine, images = _affine(image), _pixels(path, image)
    said: dict[str, Any] = {"subject": stem_of(path), "unit": "mm", **_said(path, image)}
    letters = axes or {3: "zyx", 4: "vzyx", 5: "mvzyx"}[images.ndim]
    if "v" not in letters:
        images, letters = images[None], f"v{letters}"
    return [VisitStack.from_array(images, axes=letters, affine=affine, **said)]


def write_nifti(path: str | os.PathLike[str], stack: VisitStack) -> Path:
    """Write one subject's series, so that `read_nifti` gives it back.

    One visit becomes three axes, several four with the visits last, several modalities five. The
    grid is that of the stack to the last bit of the header's numbers. Ages stand in the header,
    and in a ``.json`` file beside it. Files of these names are replaced once both are complete.
    Lazy images are loaded visit by visit.

    Parameters
    ----------
    path
        Where to; ends in ``.nii`` or ``.nii.gz``.
    stack
        What to write; truth values and 64-bit integers become smaller types.

    Returns
    -------
    Path
        The NIfTI file.

    Raises
    ------
    ValueError
        If `path` has another suffix, or a number is too large for the format.
    OSError
        If nothing can be written there.
    """
    from nibabel.openers import ImageOpener

    path = Path(path)
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise ValueError(f"write_nifti: got {path.name!r}; end the name in .nii or .nii.gz")
    about = json.dumps(_about(stack))
    header = _header(stack, about)
    with replacing(_sidecar(path)) as notes, replacing(path) as draft:
        notes.write_text(about + "\n", encoding="utf-8")
        with ImageOpener(str(draft), mode="wb") as file:
            header.write_to(file)
            file.write(bytes(header.get_data_offset() - file.tell()))
            for volume in _volumes(stack, header.get_data_dtype()):
                file.write(volume.tobytes())
    return path


def count_visits(path: Path) -> int:
    """How many visits a NIfTI file holds, by its header alone.

    Raises
    ------
    ReadError
        If it cannot be read.
    """
    shape = _load(path).shape
    return int(shape[3]) if len(shape) > 3 else 1


def _load(path: Path) -> Nifti1Image:
    """Header of a file, once it is known to be of numbers and not far too short."""
    import nibabel

    try:
        image = nibabel.load(path, mmap=False)
        if not isinstance(image, nibabel.nifti1.Nifti1Image):
            raise ReadError("of another kind")
        dtype = image.get_data_dtype()
        _check_length(path, math.prod(map(int, image.shape)) * dtype.itemsize)
    except Exception as error:  # nibabel and zlib have many of their own
        raise _damaged(error) from error
    if dtype.kind not in "buif":
        raise ReadError(
            f"holds {'colours' if dtype.fields else 'complex numbers'}; convert it to one grey "
            "channel of real numbers"
        )
    if not 2 <= len(image.shape) <= 5 or 0 in image.shape:
        raise ReadError(
            f"has the shape {image.shape}; give one visit (x, y, z), or several (x, y, z, visit)"
        )
    return image


def _check_length(path: Path, needed: int) -> None:
    """Refuse a file with fewer bytes than its header asks for, before memory is taken for them."""
    length = path.stat().st_size
    if path.suffix.lower() == ".gz":
        length *= 1032  # no byte of deflate holds more
    if length < needed:
        raise ReadError(f"its header asks for {needed} bytes of pixels, more than are there")


def _damaged(error: Exception) -> ReadError:
    return ReadError(
        f"is no readable NIfTI file ({error or type(error).__name__}); it may be cut short: copy "
        "it again, or convert the original anew"
    )


def _affine(image: Nifti1Image) -> NDArray[np.float64]:
    """Voxel (z, y, x) to world in mm."""
    unit = image.header.get_xyzt_units()[0]
    affine = np.asarray(image.affine, dtype=np.float64)[:, [2, 1, 0, 3]]
    affine[:3] *= IN_MM.get(unit, 1.0)
    corner = affine[:3, :3]
    volume = np.prod(np.linalg.norm(corner, axis=0))
    if not np.isfinite(affine).all() or not abs(np.linalg.det(corner)) > 1e-6 * volume:
        raise ReadError(
            f"its affine {np.round(image.affine, 4).tolist()} is singular or not finite, so that "
            "voxels have no place in space; convert the original anew, or set a valid sform"
        )
    return affine


def _pixels(path: Path, image: Nifti1Image) -> Any:
    """Images, slowest axis first: a numpy array, or dask's for a large file."""
    dtype = image.get_data_dtype().newbyteorder("=")
    proxy: Any = image.dataobj
    if (proxy.slope, proxy.inter) != (1, 0):
        dtype = np.result_type(dtype, np.float32)
    if is_large(math.prod(map(int, image.shape)) * dtype.itemsize):
        return _lazy(image, dtype)
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
            values = np.asarray(type(image).from_stream(stream).dataobj)
            while stream.read(2**20):
                pass  # only the end of a .gz file tells whether it is whole
    except Exception as error:  # nibabel and zlib have many of their own
        raise _damaged(error) from error
    values = values if values.ndim > 2 else values[:, :, None]
    return values.astype(dtype, copy=False).T


def _lazy(image: Nifti1Image, dtype: np.dtype[Any]) -> Any:
    from dask.array import from_array

    chunks = (*image.shape[:3], *(1 for _ in image.shape[3:]))
    visits = from_array(image.dataobj, chunks=chunks, name=False)
    return visits.map_blocks(np.asarray, dtype=dtype, meta=np.empty(0, dtype)).T


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{stem_of(path)}.json")


def _said(path: Path, image: Nifti1Image) -> dict[str, Any]:
    """Say what is known of the visits, from the file beside it, else from the header."""
    texts = [each.get_content() for each in image.header.extensions if each.get_code() == COMMENT]
    beside = _sidecar(path)
    if beside.is_file():
        texts.insert(0, beside.read_bytes())
    for text in texts:
        try:
            found = json.loads(text)
        except ValueError:
            continue  # a comment of someone else
        if isinstance(found, dict) and any(name in found for name in NAMES):
            return {name: found[name] for name in NAMES if name in found}
    return {}


def _about(stack: VisitStack) -> dict[str, Any]:
    about: dict[str, Any] = {
        "subject": stack.subject,
        "modalities": list(stack.modalities),
        "is_observed": stack.is_observed.tolist(),
        "unit": stack.unit,
        "provenance": dict(stack.provenance),
    }
    return about | ({"ages": stack.ages.tolist()} if stack.ages_known else {})


def _header(stack: VisitStack, about: str) -> Nifti1Header:
    """Header of (x, y, z), (x, y, z, visit) or (x, y, z, visit, modality)."""
    from nibabel.nifti1 import Nifti1Extension, Nifti1Header

    header = Nifti1Header()
    dtype = stack.images.dtype
    header.set_data_dtype(AS_WRITTEN.get(f"{dtype.kind}{dtype.itemsize}", dtype.newbyteorder("=")))
    visits, modalities, z, y, x = stack.shape
    several = (visits, modalities) if modalities > 1 else (visits,) if visits > 1 else ()
    header.set_data_shape((x, y, z, *several))
    header.set_slope_inter(1, 0)
    header.set_xyzt_units("mm" if stack.unit == "mm" else "unknown")
    _place(header, stack.affine[:, [2, 1, 0, 3]])
    header.extensions.append(Nifti1Extension(COMMENT, about.encode("utf-8")))
    return header


def _place(header: Nifti1Header, affine: NDArray[np.float64]) -> None:
    """Set sform and qform; the sform counts, but where only a qform gives the affine exactly."""
    header.set_qform(affine, code=1)  # of a sheared grid the nearest
    header.set_sform(affine, code=1)
    exact = (np.array_equal(form, affine) for form in (header.get_sform(), header.get_qform()))
    if tuple(exact) == (False, True):
        header.set_sform(None)


def _volumes(stack: VisitStack, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Volumes (z, y, x) in the order of the file, in a type that NIfTI knows."""
    for modality in range(stack.shape[1]):
        for visit in range(stack.n_visits):
            volume = np.asarray(stack.images[visit, modality])
            cast = volume.astype(dtype, copy=False)
            same = cast is volume or np.array_equal(cast, volume, equal_nan=dtype.kind == "f")
            if not same:
                raise ValueError("write_nifti: numbers beyond 32 bits; write .npz, or divide them")
            yield cast
