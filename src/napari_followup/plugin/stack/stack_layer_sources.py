"""Visits that lie in layers of a viewer: one layer a visit, or one that holds several.

A layer is referred to weakly, and what is read of it is taken when it is read.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from napari.layers import Image
from napari.utils.transforms import Affine
from numpy.typing import NDArray

from napari_followup.plugin.layers.layers import (
    BARE_AXES,
    WORDS,
    Source,
    about,
    axes_choices,
    series_of,
    source_of,
    voxel_of,
)
from napari_followup.plugin.stack.stack_rows import AxesUnknown, Opener, Row
from napari_followup.series.stack import VisitStack

__all__ = ["LayerOrigin", "layer_rows", "meanings_of", "series_layers"]

NO_NAME = "subject"
SINGLE = {2: ("yx",), 3: ("zyx",)}  # axes of a layer that holds one visit


class LayerOrigin:
    """An image layer, as long as it is in its viewer."""

    def __init__(self, layer: Any) -> None:
        self.layer: Callable[[], Any] = weakref.ref(layer)
        self._name = str(layer.name)
        self.axes: str | None = None
        self.choices: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The layer's name as it is now, or was last."""
        layer = self.layer()
        if layer is not None:
            self._name = str(layer.name)
        return self._name

    def opener(self) -> Opener:
        """Make what takes the layer's visits apart; it holds the images, not the layer.

        Raises
        ------
        ValueError
            If the layer has gone, is in colour, or has too many axes.
        """
        layer = self.layer()
        if layer is None:
            raise ValueError("the layer was removed; take the row out, or add the layer again")
        choices = (self.axes,) if self.axes else meanings_of(layer)
        if len(choices) > 1:
            raise AxesUnknown(choices)
        source = _source(layer, choices[0])
        return lambda: _visits(source)

    def subject_of(self, stack: VisitStack) -> str:
        """Say whose visits it holds, as the layer's metadata tell."""
        return "" if stack.subject == NO_NAME else stack.subject

    def drop(self) -> None:
        """Forget the layer, which is no longer in its viewer."""
        self.layer = lambda: None

    def said(self) -> str:
        """Name of the layer."""
        return f"layer {self.name!r}"


def layer_rows(layers: Sequence[Any]) -> list[Row]:
    """Rows of layers, which may each hold one visit or several."""
    return [
        Row(name=layer.name, origin=LayerOrigin(layer), modality=_modality(layer))
        for layer in layers
    ]


def series_layers(viewer: Any) -> list[Any]:
    """List the image layers of a viewer that are no results of ours."""
    images = [each for each in viewer.layers if isinstance(each, Image)]
    return [layer for layer in images if "result" not in about(layer)]


def meanings_of(layer: Any) -> tuple[str, ...]:
    """List what the axes of a layer can mean, a single visit's among it.

    Raises
    ------
    ValueError
        If the layer is in colour, or has too few or too many axes.
    """
    labels = "".join(WORDS.get(str(label).lower(), "") for label in layer.axis_labels)
    if getattr(layer, "rgb", False):
        return axes_choices(layer)  # says what to do with colour
    if labels in ("yx", "zyx") and len(labels) == layer.ndim:
        return (labels,)
    if layer.ndim == 2:
        return SINGLE[2]
    found = axes_choices(layer)
    is_said = "axes" in about(layer) or "v" in labels or found != BARE_AXES.get(layer.ndim)
    return found if is_said else (*SINGLE.get(layer.ndim, ()), *found)


def _source(layer: Any, axes: str) -> Source:
    """Take what is needed of a layer; a single visit's gains an axis of visits."""
    if "v" in axes:
        source = source_of(layer, axes=axes)
    else:
        data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
        spacing, unit = voxel_of(layer, axes)
        source = Source(
            name=layer.name,
            data=data[None],
            axes=f"v{axes}",
            about=about(layer),
            spacing=spacing,
            unit=unit,
        )
    if "subject" not in source.about:
        source = replace(source, name=NO_NAME)
    if "affine" in source.about or source.unit != "mm":
        return source
    return replace(source, about={**source.about, "affine": _world(layer, axes, source)})


def _world(layer: Any, axes: str, source: Source) -> NDArray[np.float64]:
    """Affine from voxel (z, y, x) to world (x, y, z) in mm, by the layer's place in the viewer."""
    own = Affine(
        scale=layer.scale, translate=layer.translate, rotate=layer.rotate, shear=layer.shear
    )
    matrix = np.asarray(layer.affine.affine_matrix @ own.affine_matrix)
    letters = [letter for letter in "zyx" if letter in axes]
    kept = [axes.index(letter) for letter in letters]
    in_mm = source.spacing[2] / abs(float(layer.scale[axes.index("x")]))
    world = np.diag([source.spacing[0], 1.0, 1.0, 1.0])
    start = 3 - len(kept)
    world[start:3, start:3] = matrix[np.ix_(kept, kept)] * in_mm
    world[start:3, 3] = matrix[kept, -1] * in_mm
    return world[[2, 1, 0, 3]]


def _visits(source: Source) -> list[tuple[VisitStack, int]]:
    stacks = [series_of(source, subject).stack for subject in range(source.n_subjects)]
    return [(stack, index) for stack in stacks for index in range(stack.n_visits)]


def _modality(layer: Any) -> str:
    name = str(about(layer).get("modality", ""))
    return "" if name == "image" else name
