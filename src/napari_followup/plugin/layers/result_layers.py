"""Results as layer tuples (healthy images, score map, mask), and how a viewer shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray

from napari_followup.plugin.layers.layers import (
    KEY,
    LayerTuple,
    Series,
    Source,
    about,
    result_layer,
    to_layer_axes,
)
from napari_followup.series.results import Detection

__all__ = [
    "RESULTS",
    "Found",
    "detection_layers",
    "mask_of",
    "score_layer",
    "shared_provenance",
    "show_layers",
]

RESULTS = ("healthy", "score", "mask")
MASK_COLORS = {0: "transparent", 1: "#ff2d55", None: "#ffd60a"}


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """Detections of a layer's subjects, in its order; None for a subject that was left out."""

    source: Source
    series: tuple[Series | None, ...]
    detections: tuple[Detection | None, ...]
    notes: tuple[str, ...] = ()

    def at_threshold(self, threshold: float) -> Found:
        """Segment every subject anew."""
        found = tuple(
            None if each is None else each.at_threshold(threshold) for each in self.detections
        )
        return replace(self, detections=found)

    @property
    def provenance(self) -> dict[str, Any]:
        """Provenance of the detections; what differs between subjects is under ``"subjects"``."""
        provenances = [
            None if each is None else each.provenance | {"threshold": each.threshold}
            for each in self.detections
        ]
        return shared_provenance(self.source.subjects, provenances)


def shared_provenance(
    subjects: Sequence[str], provenances: Sequence[dict[str, Any] | None]
) -> dict[str, Any]:
    """Join provenances: what the subjects share on top, the rest under ``"subjects"``."""
    given = [each for each in provenances if each is not None]
    if len(provenances) == 1:
        return given[0]
    shared = {
        name: value
        for name, value in given[0].items()
        if all(each.get(name) == value for each in given)
    }
    own = {
        subject: {}
        if each is None
        else {name: value for name, value in each.items() if name not in shared}
        for subject, each in zip(subjects, provenances, strict=True)
    }
    return shared | {"subjects": own}


def detection_layers(found: Found, wanted: Sequence[str] = RESULTS) -> list[LayerTuple]:
    """Make the layers of a detection; the mask is last and so on top."""
    makers = {"healthy": _healthy_layer, "score": _score_layer, "mask": _mask_layer}
    made = [makers[result](found) for result in RESULTS if result in wanted]
    return [layer for layer in made if layer is not None]


def mask_of(found: Found) -> NDArray[np.uint8]:
    """Give the masks of all subjects as labels, in the shape of the layer."""
    masks = [None if each is None else each.mask for each in found.detections]
    return to_layer_axes(found.source, found.series, masks).astype(np.uint8)


def score_layer(
    source: Source,
    series: Sequence[Series | None],
    values: Sequence[NDArray[Any] | None],
    result: str,
    provenance: dict[str, Any],
    *,
    visible: bool = True,
) -> LayerTuple:
    """Make the score maps of all subjects an image layer over the source (additive)."""
    data = to_layer_axes(source, series, values)
    top = float(np.nanmax(data)) if np.isfinite(data).any() else 0.0
    return result_layer(
        source,
        data,
        result,
        "image",
        provenance,
        colormap="inferno",
        blending="additive",
        opacity=0.7,
        visible=visible,
        contrast_limits=(0.0, top if top > 0 else 1.0),
    )


def _healthy_layer(found: Found) -> LayerTuple | None:
    values = [None if each is None else each.healthy for each in found.detections]
    if all(value is None for value in values):
        return None
    data = to_layer_axes(found.source, found.series, values)
    shown = {**found.source.display, "visible": False}
    return result_layer(found.source, data, "healthy", "image", found.provenance, **shown)


def _score_layer(found: Found) -> LayerTuple:
    values = [None if each is None else each.score for each in found.detections]
    return score_layer(found.source, found.series, values, "score", found.provenance)


def _mask_layer(found: Found) -> LayerTuple:
    colors = {"colormap": MASK_COLORS, "opacity": 0.6}
    return result_layer(found.source, mask_of(found), "mask", "labels", found.provenance, **colors)


GROWING = ("imputed", "spread", "temporal residual")
ON_OTHER_GRIDS = ("aligned", "brain mask")


def show_layers(viewer: Any, layers: Sequence[LayerTuple], *, update: bool) -> list[Any]:
    """Add results of `result_layer` to a viewer, and return the layers that show them.

    With `update`, an earlier result of the same kind and source gets the new data instead. Layers
    without our metadata are never changed.
    """
    active = viewer.layers.selection.active
    shown = []
    for data, attributes, kind in layers:
        earlier = _earlier(viewer, data, attributes, kind) if update else None
        if earlier is None:
            shown.append(viewer.add_layer(Layer.create(data, attributes, kind)))
        else:
            _refill(earlier, data, attributes)
            shown.append(earlier)
    if active is not None and active in viewer.layers:
        viewer.layers.selection.active = active  # as the user chose
    return shown


def _earlier(viewer: Any, data: Any, attributes: dict[str, Any], kind: str) -> Any:
    wanted = attributes["metadata"][KEY]
    for layer in reversed(viewer.layers):
        meta = about(layer)
        same = all(meta.get(name) == wanted[name] for name in ("source", "result", "axes"))
        if same and type(layer).__name__.lower() == kind and _fits(layer.data, data, wanted):
            return layer
    return None


def _fits(earlier: Any, data: Any, meta: dict[str, Any]) -> bool:
    """Whether the shapes agree; results may add visits, aligned ones may have another grid."""
    shapes = [list(earlier.shape), list(data.shape)]
    if meta["result"] in ON_OTHER_GRIDS:
        return len(shapes[0]) == len(shapes[1])
    if meta["result"] in GROWING:
        for shape in shapes:
            shape[meta["axes"].index("v")] = 0
    return shapes[0] == shapes[1]


def _refill(layer: Any, data: Any, attributes: dict[str, Any]) -> None:
    """Replace data, place and provenance; keep the user's colours and visibility."""
    layer.data = data
    layer.metadata = {**layer.metadata, **attributes["metadata"]}
    for name in ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels"):
        setattr(layer, name, attributes[name])
    low, high = attributes.get("contrast_limits", (0.0, 1.0))
    if (
        about(layer)["result"] not in ("healthy", "imputed")
        and hasattr(layer, "contrast_limits")
        and np.isfinite(high)
    ):
        layer.contrast_limits = (low, high)
