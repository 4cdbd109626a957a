"""What a path is, by its name and, for folders, by what lies in them."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

__all__ = [
    "IMAGES",
    "TABLES",
    "is_bids",
    "is_dicom",
    "is_saved_map",
    "is_zarr",
    "stem_of",
    "suffix_of",
    "truth_beside",
]

IMAGES = (".bmp", ".jpeg", ".jpg", ".png")  # one plane a file
TABLES = (".csv", ".tsv")
MAP = re.compile(r"(.+)_(?:mask|healthy|score(?:-\w+)?)$")  # as `saving` names them
LOOKED_AT = 1000  # entries of a folder, and of those in it, to find DICOM among


def suffix_of(path: Path) -> str:
    """Give the ending of a name in lower case, ``.nii.gz`` as a whole."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def stem_of(path: Path) -> str:
    """Name of a file without its ending (`suffix_of`), whatever its case."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def truth_beside(path: Path) -> Path:
    """Where the masks of a file's images lie that cannot hold them itself: in NAME_truth."""
    stem = stem_of(path)
    return path.with_name(f"{stem}_truth{path.name[len(stem) :]}")


def is_saved_map(path: Path) -> bool:
    """Whether a file is a map of a detection, whose provenance lies beside it: no series."""
    found = MAP.match(path.name.split(".ome.")[0].removesuffix(suffix_of(path)))
    return found is not None and path.with_name(f"{found[1]}_provenance.json").is_file()


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a zarr group."""
    return any((folder / name).is_file() for name in (".zgroup", ".zattrs", "zarr.json"))


def is_bids(folder: Path) -> bool:
    """Whether a folder holds subjects as BIDS names them, or is one of them."""
    subjects = [folder] if folder.name.startswith("sub-") else folder.glob("sub-*")
    inside = ("anat", "ses-*/anat")
    return any(any(subject.glob(each)) for subject in subjects for each in inside)


def is_dicom(folder: Path) -> bool:
    """Whether a folder, or one in it, holds a DICOM file among its first files."""
    first = islice(folder.rglob("*"), LOOKED_AT)
    named = (path for path in first if path.suffix.lower() in ("", ".dcm", ".ima"))
    return any(_says_dicom(path) for path in named if path.is_file())


def _says_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
