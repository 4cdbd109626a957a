"""What a model file says of itself, read from its header without loading a weight.

A safetensors file begins with the length of a JSON header, 8 bytes, and that header; ours stands
in its metadata, as JSON in JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["FIELDS", "FORMAT", "KEY", "SUFFIX", "read_about"]

FORMAT = 2  # rises when a file can no longer be read by older versions; 1 has no parts
KEY = "napari_followup"
SUFFIX = ".safetensors"
FIELDS = ("name", "method", "config", "healthy", "card", "version")
LONGEST = 100_000_000  # bytes of a header; safetensors' own limit


def read_about(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what a file says of itself, and check it.

    Parameters
    ----------
    path
        A ``.safetensors`` file.

    Returns
    -------
    dict
        `FIELDS` and ``format``; ``parts`` says the same of further models, by method; ``recipe``
        stands in it where the model has one of its own; ``fingerprint``, in it and in its parts, is
        missing from files of earlier versions.

    Raises
    ------
    ValueError
        If the file is truncated, not a model of ours, or written by a newer version.
    """
    path = Path(path)
    metadata = _header(path).get("__metadata__") or {}
    if KEY not in metadata:
        raise ValueError(f"{path.name}: a safetensors file, but not a model of napari-followup")
    try:
        about: dict[str, Any] = json.loads(metadata[KEY])
        written = int(about["format"])
        parts = dict(about.get("parts", {}))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path.name}: what the model says of itself cannot be read") from error
    if written > FORMAT:
        raise ValueError(
            f"{path.name}: written in format {written}, this version reads up to {FORMAT}; "
            "update napari-followup (pip install -U napari-followup)"
        )
    for said in (about, *parts.values()):
        _check(path, said)
    return about | {"parts": parts}


def _check(path: Path, about: Mapping[str, Any]) -> None:
    if missing := [name for name in FIELDS if name not in about]:
        raise ValueError(f"{path.name}: the model does not say its {', '.join(missing)}")


def _header(path: Path) -> dict[str, Any]:
    """JSON header of a safetensors file that is as long as it says."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(_read(file, 8), "little")
            if length > LONGEST:
                raise ValueError("it does not begin like one")
            header: dict[str, Any] = json.loads(_read(file, length))
        ends = [about["data_offsets"][1] for name, about in header.items() if name[:2] != "__"]
        if path.stat().st_size != 8 + length + max(ends, default=0):
            raise ValueError("it is cut off or too long")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(
            f"{path.name}: not a readable model file ({error}); fetch or export it again"
        ) from error
    return header


def _read(file: Any, length: int) -> bytes:
    found: bytes = file.read(length)
    if len(found) < length:
        raise ValueError("it is cut off")
    return found
