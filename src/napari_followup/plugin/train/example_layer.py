"""One layer that shows, during a training, what the model makes of a held-out subject by now."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_followup.plugin.forms.series_input import unwrapped
from napari_followup.plugin.layers.layers import KEY, about

__all__ = ["NAME", "ExampleLayer", "side_by_side"]

NAME = "given | healthy (training)"
RESULT = "training example"
GAP = 0.05  # of the width, between the layers that are there and this one
Images = NDArray[np.float32]


def side_by_side(given: Images, healthy: Images) -> Images:
    """Put what was given to the left of what the model made of it.

    Parameters
    ----------
    given, healthy
        ``(plane, modality, y, x)``.

    Returns
    -------
    ndarray
        ``(plane, y, x)``, modalities one below the other.
    """
    pair = np.concatenate([given, healthy], axis=3)
    planes, modalities, y, x = pair.shape
    return pair.reshape(planes, modalities * y, x)


class ExampleLayer:
    """Adds the layer with the first example of a run, and fills it anew with those that follow.

    It lies to the right of what is there. A layer that the user removes stays away until the next
    run.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = weakref.ref(unwrapped(viewer))
        self._layer: Any = None  # a weak reference, once there is a layer in this run

    def begin(self) -> None:
        """Begin a run: the layer of an earlier one is used again."""
        self._layer = None

    @property
    def layer(self) -> Any:
        """The layer, if it is in the viewer."""
        layer, viewer = None if self._layer is None else self._layer(), self._viewer()
        return layer if viewer is not None and layer in viewer.layers else None

    def show(self, given: Images, healthy: Images) -> None:
        """Show an example."""
        viewer = self._viewer()
        if viewer is None or (self._layer is not None and self.layer is None):
            return
        data = side_by_side(given, healthy)
        layer = self.layer or _earlier(viewer, data.ndim)
        if layer is None:
            layer = self._added(viewer, data, (float(given.min()), float(given.max())))
        else:
            layer.data = data
        self._layer = weakref.ref(layer)

    def _added(self, viewer: Any, data: Images, limits: tuple[float, float]) -> Any:
        low, high = limits
        active = viewer.layers.selection.active
        layer = viewer.add_image(
            data,
            name=NAME,
            colormap="gray",
            contrast_limits=(low, high if high > low else low + 1.0),
            axis_labels=("visit", "y", "x"),
            metadata={KEY: {"axes": "vyx", "result": RESULT}},
            **_place(viewer, data.shape),
        )
        if active is not None:
            viewer.layers.selection.active = active
            viewer.reset_view()
        visits = viewer.dims.ndim - data.ndim
        if viewer.dims.current_step[visits] >= len(data):  # it has few visits, and is to be seen
            viewer.dims.set_current_step(visits, 0)
        return layer


def _earlier(viewer: Any, ndim: int) -> Any:
    found = [each for each in viewer.layers if about(each).get("result") == RESULT]
    return next((each for each in found if each.ndim == ndim), None)


def _place(viewer: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    """Scale, translation and units right of all layers, as high as they are."""
    if not len(viewer.layers):
        return {}
    (top, left), (bottom, right) = np.asarray(viewer.layers.extent.world)[:, -2:]
    pixel = float(bottom - top) / shape[1] or 1.0
    start = float(right) + GAP * float(right - left)
    units = [layer.units for layer in viewer.layers if layer.ndim >= 3]
    known = {"units": units[0][-3:]} if units else {}
    return {"scale": (1.0, pixel, pixel), "translate": (0.0, float(top), start), **known}
