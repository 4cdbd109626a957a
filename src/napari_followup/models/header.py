"""Read and check the description of a model file, without loading its weights.

A safetensors file begins with 8 bytes for the length of a JSON header, and that header. The
description is JSON in the metadata of the header.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["DIGEST", "FIELDS", "FORMAT", "KEY", "SUFFIX", "digest_of", "read_about"]

FORMAT = 2  # rises when older versions cannot read a file; 1 has no parts
KEY = "napari_followup"
DIGEST = "description_digest"  # missing from files of earlier versions
SUFFIX = ".safetensors"
FIELDS = ("name", "method", "config", "healthy", "card", "version")
LONGEST = 2**24  # bytes of a header; our models have about 10 kB
TEXTS = ("name", "method", "version")
TABLES = ("config", "healthy", "card", "recipe")
DEEPEST = 6  # tables within tables of a description
MANY = 100_000  # values of a list, and the highest whole number, in a configuration or a recipe
LARGEST_PLANE = 2048  # pixels a side
MOST_MODALITIES = 64


def read_about(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the description in a file, and check it.

    Parameters
    ----------
    path
        A ``.safetensors`` file.

    Returns
    -------
    dict
        `FIELDS` and ``format``. ``parts`` holds the same for further models, by method. ``recipe``
        is there if the model has a recipe of its own. ``fingerprint``, also in parts, is missing
        from files of earlier versions.

    Raises
    ------
    ValueError
        If the file is truncated, no model of this package, or written by a newer version, or if the
        description has values of a wrong type or size.
    """
    path = Path(path)
    header = _header(path)
    metadata = header.get("__metadata__") or {}
    if KEY not in metadata:
        raise ValueError(f"{path.name}: a safetensors file, but not a model of napari-followup")
    try:
        about: dict[str, Any] = json.loads(metadata[KEY])
        written = int(about["format"])
        parts = dict(about.get("parts", {}))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path.name}: the description of the model cannot be read") from error
    if written > FORMAT:
        raise ValueError(
            f"{path.name}: written in format {written}, this version reads up to {FORMAT}; "
            "update napari-followup (pip install -U napari-followup)"
        )
    names = [name for name in header if name != "__metadata__"]
    for each in (about, *parts.values()):
        _check(path, each, len(names))
    if about.get(DIGEST, digest := digest_of(about)) != digest:
        raise ValueError(
            f"{path.name}: the model's description was changed or damaged; download or export it "
            "again"
        )
    return about | {"parts": parts}


def digest_of(about: Mapping[str, Any]) -> str:
    """Short hash of a description without its digest; it reveals changes."""
    plain = {name: value for name, value in about.items() if name != DIGEST}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def _check(path: Path, about: Any, tensors: int) -> None:
    """Refuse a description with missing fields, or with values that no model can have."""
    if not isinstance(about, dict):
        raise ValueError(f"{path.name}: the description of the model cannot be read")
    if missing := [name for name in FIELDS if name not in about]:
        raise ValueError(f"{path.name}: the model's description lacks {', '.join(missing)}")
    fingerprint = about.get("fingerprint", "")
    texts = {name: about[name] for name in TEXTS} | {"fingerprint": fingerprint}
    problems = [
        f"{name} is not text" for name, value in texts.items() if not isinstance(value, str)
    ]
    tables = {name: about.get(name, {}) for name in TABLES}
    problems += [
        f"{name} is not a table" for name, value in tables.items() if not isinstance(value, dict)
    ]
    if not problems:
        problems = [
            *_config_problems(about["config"], tensors),
            *_value_problems("recipe", tables["recipe"]),
            *_healthy_problems(about["healthy"]),
        ]
    if problems:
        raise ValueError(
            f"{path.name}: the model's description is damaged ({problems[0]}); download or export "
            "it again"
        )


def _config_problems(config: dict[str, Any], tensors: int) -> Iterator[str]:
    """Values of a configuration that no network with so many tensors can have."""
    yield from _value_problems("config", config)
    size: Any = config.get("image_size")
    span: Any = config.get("value_range")
    modalities: Any = config.get("modalities")
    if not (_are(size, int, 2) and all(1 <= side <= LARGEST_PLANE for side in size)):
        yield f"image_size is {size!r}, not two sides of 1 to {LARGEST_PLANE} pixels"
    if not (_are(span, int | float, 2) and span[0] < span[1]):
        yield f"value_range is {span!r}, not a lower and a higher number"
    if not (_are([modalities], int, 1) and 1 <= modalities <= MOST_MODALITIES):
        yield f"modalities is {modalities!r}, not 1 to {MOST_MODALITIES}"
    for name, value in config.items():
        if name.endswith("blocks") and not (_are([value], int, 1) and 0 <= value <= tensors):
            yield f"{name} is {value!r}, for {tensors} tensors in the file"


def _healthy_problems(healthy: dict[str, Any]) -> Iterator[str]:
    """Healthy scores that are not lists of numbers; `HealthyScores` checks their values."""
    wanted = {"shares", "heights", "maxima"}
    for scores in healthy.values():
        if not (isinstance(scores, dict) and set(scores) == wanted):
            yield f"healthy scores without {', '.join(sorted(wanted))}"
        elif not all(_are(values, int | float) for values in scores.values()):
            yield "healthy scores that are not lists of numbers"


def _value_problems(name: str, value: Any, depth: int = 0) -> Iterator[str]:
    """Values that are not plain: numbers of reasonable size, texts, lists and tables."""
    if depth > DEEPEST:
        yield f"{name} is nested too deeply"
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{name} is {value}"
    elif isinstance(value, int) and abs(value) > MANY:
        yield f"{name} is {value}, beyond {MANY}"
    elif isinstance(value, str | list | dict) and len(value) > MANY:
        yield f"{name} has {len(value)} values"
    elif isinstance(value, list):
        for each in value:
            yield from _value_problems(name, each, depth + 1)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _value_problems(key, each, depth + 1)


def _are(values: Any, kind: Any, count: int | None = None) -> bool:
    """Whether `values` is a list of numbers of this kind, and of this count if given."""
    return (
        isinstance(values, list)
        and count in (None, len(values))
        and all(isinstance(value, kind) and not isinstance(value, bool) for value in values)
    )


def _header(path: Path) -> dict[str, Any]:
    """JSON header of a safetensors file whose length fits the header."""
    if path.exists() and not path.is_file():  # reading a pipe or a device might never end
        raise ValueError(f"{path.name}: not a regular file; give a model file")
    try:
        with path.open("rb") as file:
            length = int.from_bytes(_read(file, 8), "little")
            if length > LONGEST:
                raise ValueError("its header is too long")
            header: dict[str, Any] = json.loads(_read(file, length))
        ends = [about["data_offsets"][1] for name, about in header.items() if name[:2] != "__"]
        if path.stat().st_size != 8 + length + max(ends, default=0):
            raise ValueError("it is truncated or too long")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path.name}: not a readable model file ({error}); download or export it again"
        ) from error
    return header


def _read(file: Any, length: int) -> bytes:
    found: bytes = file.read(length)
    if len(found) < length:
        raise ValueError("it is truncated")
    return found
