"""Stacks as image layers: what the reader and the sample data hand to napari."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.plugin.layers.layers import KEY, NAMES, LayerTuple
from napari_followup.plugin.layers.result_layers import MASK_COLORS
from napari_followup.series.stack import VisitStack

__all__ = ["cohort_layers", "contrast_of", "stack_layers", "truth_layer"]

SAMPLE, MANY = 1_000_000, 100_000  # voxels that are looked at, and from which on they are many
TRUTH_COLORS = {0: "transparent", 1: "#00d5c8", None: "#ffd60a"}


def stack_layers(stack: VisitStack) -> list[LayerTuple]:
    """Make an image layer a modality: ``(visit, z, y, x)``, or ``(visit, y, x)`` if planar.

    The visit axis keeps scale 1 and unit pixel, so that its slider counts visits; ages are in the
    metadata.
    """
    return [
        _image_layer([stack], modality, _name(stack.subject, stack, modality))
        for modality in range(stack.shape[1])
    ]


def cohort_layers(stacks: Sequence[VisitStack], name: str = "cohort") -> list[LayerTuple]:
    """Put subjects of one shape into one layer; those that differ get a layer each.

    ``(subject, visit, z, y, x)``, or ``(subject, visit, y, x)`` if planar.
    """
    first = stacks[0]
    alike = all(
        (stack.shape, stack.spacing, stack.unit) == (first.shape, first.spacing, first.unit)
        for stack in stacks
    )
    if len(stacks) == 1 or not alike:
        return [layer for stack in stacks for layer in stack_layers(stack)]
    return [
        _image_layer(stacks, modality, _name(name, first, modality), is_cohort=True)
        for modality in range(first.shape[1])
    ]


def truth_layer(stack: VisitStack, truth: NDArray[np.bool_], name: str) -> LayerTuple:
    """Make a mask ``(visit, z, y, x)`` of a series labels that lie on its image layer."""
    axes = _axes(stack)
    values = truth[:, 0] if "z" not in axes else truth
    shown = {"colormap": TRUTH_COLORS, "opacity": 0.8}
    attributes = {"name": name, **_placed([stack], axes), **shown}
    return values.astype(np.uint8), attributes, "labels"


def _image_layer(
    stacks: Sequence[VisitStack], modality: int, name: str, *, is_cohort: bool = False
) -> LayerTuple:
    first = stacks[0]
    axes = ("s" if is_cohort else "") + _axes(first)
    images = [s.images[:, modality] if "z" in axes else s.images[:, modality, 0] for s in stacks]
    data = np.stack(images) if is_cohort else images[0]
    attributes = {"name": name, **_placed(stacks, axes), "colormap": "gray"}
    attributes["metadata"][KEY]["modality"] = first.modalities[modality]
    if isinstance(said := first.provenance.get("layer"), dict):
        return _saved_layer(data, attributes, said)
    if isinstance(data, np.ndarray):
        attributes["contrast_limits"] = contrast_of(data)
    return data, attributes, "image"


def _saved_layer(data: Any, attributes: dict[str, Any], said: dict[str, Any]) -> LayerTuple:
    """Give a layer that was saved its kind back, and what it said of its visits."""
    about = attributes["metadata"][KEY]
    kept: dict[str, Any] = {name: said[name] for name in ("result", "source") if name in said}
    for name in ("is_observed", "is_imputed"):
        if np.shape(said.get(name, 0)) == np.shape(about[name]):
            kept[name] = said[name]
    attributes["metadata"] = {KEY: about | kept}
    if "result" in said:
        attributes["name"] = f"{attributes['name']} {said['result']}"
    if said.get("kind") == "labels" and data.dtype.kind in "ui":
        return data, attributes | {"colormap": MASK_COLORS, "opacity": 0.6}, "labels"
    if isinstance(data, np.ndarray):
        attributes["contrast_limits"] = contrast_of(data)
    return data, attributes, "image"


def _placed(stacks: Sequence[VisitStack], axes: str) -> dict[str, Any]:
    """Scale, units, axis labels and metadata."""
    first = stacks[0]
    scale = dict(zip("zyx", first.spacing, strict=True))
    about: dict[str, Any] = {
        "axes": axes,
        "ages": [stack.ages.tolist() for stack in stacks],
        "is_observed": [stack.is_observed.tolist() for stack in stacks],
        "is_imputed": [(~stack.is_observed & ~stack.is_missing).tolist() for stack in stacks],
        "subject": [stack.subject for stack in stacks],
    }
    if "s" not in axes:
        about = {name: values if name == "axes" else values[0] for name, values in about.items()}
    about |= {"ages_known": all(s.ages_known for s in stacks), "affine": first.affine.tolist()}
    if provenance := {name: said for name, said in first.provenance.items() if name != "layer"}:
        about["provenance"] = provenance
    return {
        "scale": tuple(scale.get(letter, 1.0) for letter in axes),
        "units": tuple(first.unit if letter in scale else "pixel" for letter in axes),
        "axis_labels": tuple(NAMES[letter] for letter in axes),
        "metadata": {KEY: about},
    }


def _axes(stack: VisitStack) -> str:
    return "vyx" if stack.shape[2] == 1 else "vzyx"


def _name(name: str, stack: VisitStack, modality: int) -> str:
    return name if stack.shape[1] == 1 else f"{name} {stack.modalities[modality]}"


def contrast_of(data: NDArray[Any]) -> tuple[float, float]:
    """Darkest and brightest value; of many, a few very bright ones must not darken the rest.

    napari looks at the first visit alone, which may be missing.
    """
    seen = data.ravel()[:: max(1, data.size // SAMPLE)]
    seen = seen[np.isfinite(seen)]
    shares = (0.5, 99.8) if seen.size >= MANY else (0.0, 100.0)
    low, high = np.percentile(seen, shares).tolist() if seen.size else (0.0, 1.0)
    return low, high if low < high else low + 1.0
