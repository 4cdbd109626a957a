"""Which model is trained: a preset, changed by name, and checked against what a method knows."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from napari_followup.methods import method_presets
from napari_followup.training.samples import Form

__all__ = ["chosen_config", "form_of", "read_setting"]

MULTIPLE, LARGEST = 16, 128  # pixels; sides are multiples of 16 at least, see `_size_like`


def chosen_config(
    method: str,
    preset: str,
    settings: Mapping[str, Any],
    shape: tuple[int, ...],
) -> Any:
    """Find the configuration of the model to train.

    Parameters
    ----------
    method
        A name of the methods table.
    preset
        One of its presets.
    settings
        Fields of its configuration that shall be others than the preset's. Without `image_size`,
        planes keep their size, brought to a multiple of 16 (or 32) and to at most 128 pixels.
    shape
        Of the images of one series, ``(visit, modality, z, y, x)``.

    Returns
    -------
    dataclass
        Of the method's ``config_type``.

    Raises
    ------
    ValueError
        If the method has no such preset or field, or a value does not suit it.
    """
    presets = method_presets(method)
    if preset not in presets:
        raise ValueError(f"method {method!r} has no preset {preset!r}; it has {', '.join(presets)}")
    known = {field.name: getattr(presets[preset], field.name) for field in fields(presets[preset])}
    if unknown := [name for name in settings if name not in known]:
        raise ValueError(
            f"settings: {method} has no {', '.join(unknown)}; it has {', '.join(known)}"
        )
    given = {name: _like(name, value, known[name]) for name, value in settings.items()}
    return replace(
        presets[preset],
        **{"modalities": shape[1], "image_size": _size_like(shape[-2:], known | given), **given},
    )


def form_of(model: Any, *, labelled: bool = False) -> Form:
    """Form of the samples that a model learns from, by its configuration and its labels.

    Masks go with planes; labels of planes make other samples of them.
    """
    takes = getattr(model, "takes_labels", None)
    of_planes = labelled and takes is not None and takes.per == "plane"
    config, kind = model.config, "labelled" if of_planes else model.samples
    depth = getattr(config, "depth", None) if kind == "volumes" else None
    return Form(
        kind=kind, image_size=config.image_size, value_range=config.value_range, depth=depth
    )


def read_setting(text: str) -> tuple[str, Any]:
    """Name and value of ``name=value``; what is no number, tuple, true or false is a word.

    Raises
    ------
    ValueError
        If there is no name.
    """
    name, equals, value = text.partition("=")
    if not (equals and name.strip()):
        raise ValueError(f"set: got {text!r}; give name=value, such as channels=32,64,96")
    words = {"true": True, "false": False, "none": None}
    if value.strip().lower() in words:
        return name.strip(), words[value.strip().lower()]
    try:
        return name.strip(), ast.literal_eval(value.strip())
    except (SyntaxError, ValueError):
        return name.strip(), value.strip()


def _like(name: str, value: Any, example: Any) -> Any:
    """Value in the type of `example`, or an error that names the type."""
    if isinstance(example, tuple):
        items = tuple(value) if isinstance(value, list | tuple) else (value,)
        kind = type(example[0]) if example else None
        if kind is None or all(_suits(item, kind) for item in items):
            return tuple(kind(item) if kind is float else item for item in items)
    elif example is None or _suits(value, type(example)):
        return float(value) if isinstance(example, float) else value
    raise ValueError(f"settings: {name} is like {example!r}, got {value!r}")


def _suits(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is kind


def _size_like(plane: tuple[int, ...], config: Mapping[str, Any]) -> tuple[int, int]:
    """Shape of `plane` with its longer side at most `LARGEST`, and sides the network can halve."""
    halvings = len(config.get("channels", ())) - 1
    multiple = max(MULTIPLE, config.get("unshuffle", 1) * 2 ** max(0, halvings))
    shrink = min(1.0, LARGEST / max(plane))
    height, width = (max(1, round(side * shrink / multiple)) * multiple for side in plane)
    return height, width
