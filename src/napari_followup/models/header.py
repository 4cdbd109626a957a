"""What a model file says of itself, read from its header without loading a weight.

A safetensors file begins with the length of a JSON header, 8 bytes, and that header; ours stands
in its metadata, as JSON in JSON.
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

FORMAT = 2  # rises when a file can no longer be read by older versions; 1 has no parts
KEY = "napari_followup"
DIGEST = "description_digest"  # missing from files of earlier versions
SUFFIX = ".safetensors"
FIELDS = ("name", "method", "config", "healthy", "card", "version")
LONGEST = 2**24  # bytes of a header; those of our models have some 10 kB
TEXTS = ("name", "method", "version")
TABLES = ("config", "healthy", "card", "recipe")
DEEPEST = 6  # tables within tables of a description
MANY = 100_000  # values of a list, and the highest whole number, in a configuration or a recipe
LARGEST_PLANE = 2048  # pixels a side
MOST_MODALITIES = 64


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
        If the file is truncated, not a model of ours, written by a newer version, or describes a
        model with values of a wrong type or beyond reason.
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
        raise ValueError(f"{path.name}: what the model says of itself cannot be read") from error
    if written > FORMAT:
        raise ValueError(
            f"{path.name}: written in format {written}, this version reads up to {FORMAT}; "
            "update napari-followup (pip install -U napari-followup)"
        )
    names = [name for name in header if name != "__metadata__"]
    for said in (about, *parts.values()):
        _check(path, said, len(names))
    if about.get(DIGEST, digest := digest_of(about)) != digest:
        raise ValueError(
            f"{path.name}: the model's description was changed or damaged; fetch or export it again"
        )
    return about | {"parts": parts}


def digest_of(about: Mapping[str, Any]) -> str:
    """Short hash of a description, its own digest left out, by which changes are found."""
    plain = {name: value for name, value in about.items() if name != DIGEST}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def _check(path: Path, about: Any, tensors: int) -> None:
    """Refuse a description whose fields are missing, or of values that no model can have."""
    if not isinstance(about, dict):
        raise ValueError(f"{path.name}: what the model says of itself cannot be read")
    if missing := [name for name in FIELDS if name not in about]:
        raise ValueError(f"{path.name}: the model does not say its {', '.join(missing)}")
    fingerprint = about.get("fingerprint", "")
    texts = {name: about[name] for name in TEXTS} | {"fingerprint": fingerprint}
    problems = [f"{name} is no text" for name, value in texts.items() if not isinstance(value, str)]
    tables = {name: about.get(name, {}) for name in TABLES}
    problems += [
        f"{name} is no table" for name, value in tables.items() if not isinstance(value, dict)
    ]
    if not problems:
        problems = [
            *_config_problems(about["config"], tensors),
            *_value_problems("recipe", tables["recipe"]),
            *_healthy_problems(about["healthy"]),
        ]
    if problems:
        raise ValueError(
            f"{path.name}: the model's description is damaged ({problems[0]}); fetch or export it "
            "again"
        )


def _config_problems(config: dict[str, Any], tensors: int) -> Iterator[str]:
    """Say what no network of so many tensors can be configured as."""
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
    """Whether scores of healthy subjects are lists; `HealthyScores` checks their values."""
    wanted = {"shares", "heights", "maxima"}
    for scores in healthy.values():
        if not (isinstance(scores, dict) and set(scores) == wanted):
            yield f"healthy scores without {', '.join(sorted(wanted))}"
        elif not all(_are(values, int | float) for values in scores.values()):
            yield "healthy scores that are no lists of numbers"


def _value_problems(name: str, value: Any, depth: int = 0) -> Iterator[str]:
    """Say which values are no plain ones: numbers within reason, words, lists and tables."""
    if depth > DEEPEST:
        yield f"{name} lies too deep"
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
    """Whether they are a list of numbers of a kind, of so many where a count is given."""
    return (
        isinstance(values, list)
        and count in (None, len(values))
        and all(isinstance(value, kind) and not isinstance(value, bool) for value in values)
    )


def _header(path: Path) -> dict[str, Any]:
    """JSON header of a safetensors file that is as long as it says."""
    if path.exists() and not path.is_file():  # a pipe would be waited for, a device has no end
        raise ValueError(f"{path.name}: not a regular file; give a model file")
    try:
        with path.open("rb") as file:
            length = int.from_bytes(_read(file, 8), "little")
            if length > LONGEST:
                raise ValueError("it does not begin like one")
            header: dict[str, Any] = json.loads(_read(file, length))
        ends = [about["data_offsets"][1] for name, about in header.items() if name[:2] != "__"]
        if path.stat().st_size != 8 + length + max(ends, default=0):
            raise ValueError("it is cut off or too long")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path.name}: not a readable model file ({error}); fetch or export it again"
        ) from error
    return header


def _read(file: Any, length: int) -> bytes:
    found: bytes = file.read(length)
    if len(found) < length:
        raise ValueError("it is cut off")
    return found
