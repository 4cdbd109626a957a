"""Put result tuples into a viewer, as new layers or into those of an earlier run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Layer

from napari_followup.plugin.layers.layers import KEY, LayerTuple, about

__all__ = ["show_layers"]

GROWING = ("imputed", "spread", "temporal residual")
ON_OTHER_GRIDS = ("aligned", "brain mask")


def show_layers(viewer: Any, layers: Sequence[LayerTuple], *, update: bool) -> list[Any]:
    """Add the layers, or put their data into the layers that the same source had of the same kind.

    Parameters
    ----------
    viewer
        Where to.
    layers
        Results, as `result_layer` made them.
    update
        Whether earlier results are replaced. Only layers that carry our metadata ever are.

    Returns
    -------
    list of napari.layers.Layer
        The layers that now show the results.
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
        viewer.layers.selection.active = active  # the user's choice stays
    return shown


def _earlier(viewer: Any, data: Any, attributes: dict[str, Any], kind: str) -> Any:
    wanted = attributes["metadata"][KEY]
    for layer in reversed(viewer.layers):
        said = about(layer)
        same = all(said.get(name) == wanted[name] for name in ("source", "result", "axes"))
        if same and type(layer).__name__.lower() == kind and _fits(layer.data, data, wanted):
            return layer
    return None


def _fits(earlier: Any, data: Any, said: dict[str, Any]) -> bool:
    """Whether the shapes agree; results that add visits, or cut the images, may have others."""
    shapes = [list(earlier.shape), list(data.shape)]
    if said["result"] in ON_OTHER_GRIDS:
        return len(shapes[0]) == len(shapes[1])
    if said["result"] in GROWING:
        for shape in shapes:
            shape[said["axes"].index("v")] = 0
    return shapes[0] == shapes[1]


def _refill(layer: Any, data: Any, attributes: dict[str, Any]) -> None:
    """Renew data, place and provenance; colours and visibility stay as the user set them."""
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
