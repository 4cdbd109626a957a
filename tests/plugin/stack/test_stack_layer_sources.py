from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from napari.components import LayerList
from napari.layers import Image

from napari_followup.plugin.layers.stack_layers import stack_layers
from napari_followup.plugin.stack.stack_layer_sources import (
    LayerOrigin,
    layer_rows,
    meanings_of,
    series_layers,
)
from napari_followup.plugin.stack.stack_rows import AxesUnknown
from napari_followup.series.stack import VisitStack


def image(shape: tuple[int, ...], **settings: Any) -> Image:
    return Image(np.random.default_rng(0).random(shape).astype(np.float32), **settings)


@pytest.mark.parametrize(
    ("layer", "axes"),
    [
        (image((4, 4)), ("yx",)),
        (image((3, 4, 4)), ("zyx", "vyx")),
        (image((3, 4, 4), axis_labels=("z", "y", "x")), ("zyx",)),
        (image((3, 4, 4), axis_labels=("visit", "y", "x")), ("vyx",)),
        (image((3, 4, 4), metadata={"followup": {"axes": "vyx"}}), ("vyx",)),
        (image((2, 3, 4, 4)), ("vzyx", "svyx")),
        (image((2, 2, 3, 4, 4)), ("svzyx", "vmzyx")),
    ],
)
def test_what_the_axes_can_mean(layer: Image, axes: tuple[str, ...]) -> None:
    assert meanings_of(layer) == axes


def test_a_layer_in_doubt_is_asked_about() -> None:
    layer = image((3, 4, 4))
    origin = LayerOrigin(layer)
    with pytest.raises(AxesUnknown) as doubt:
        origin.opener()
    assert doubt.value.choices == ("zyx", "vyx")
    origin.axes = "zyx"
    ((stack, index),) = origin.opener()()

    assert (stack.shape, index) == ((1, 1, 3, 4, 4), 0)


def test_a_layer_with_visits_keeps_ages_and_subjects() -> None:
    about = {"axes": "svyx", "ages": [[1, 2], [3, 4]], "subject": ["anna", "bob"]}
    layer = image((2, 2, 4, 4), metadata={"followup": about})
    origin = LayerOrigin(layer)
    visits = origin.opener()()

    assert [origin.subject_of(stack) for stack, _ in visits] == ["anna", "anna", "bob", "bob"]
    assert [stack.ages[index] for stack, index in visits] == [1, 2, 3, 4]


def test_a_layer_that_names_no_subject_has_none() -> None:
    layer = image((2, 4, 4), name="scan", axis_labels=("visit", "y", "x"))
    origin = LayerOrigin(layer)

    assert origin.subject_of(origin.opener()()[0][0]) == ""
    assert origin.said() == "layer 'scan'"


def test_the_place_in_the_viewer_counts_where_the_layer_has_no_affine() -> None:
    layer = image(
        (3, 4, 4), scale=(3, 0.5, 0.5), translate=(9, 1, 2), units="mm", axis_labels=("z", "y", "x")
    )
    ((stack, _),) = LayerOrigin(layer).opener()()

    np.testing.assert_allclose(stack.affine @ [1, 2, 3, 1], [2 + 1.5, 1 + 1.0, 9 + 3.0, 1])
    assert stack.unit == "mm"


def test_a_plane_of_a_viewer_in_mm_has_its_place_too() -> None:
    layer = image((4, 4), scale=(0.5, 0.5), translate=(1, 2), units="mm")
    ((stack, _),) = LayerOrigin(layer).opener()()

    np.testing.assert_allclose(stack.affine @ [0, 2, 4, 1], [4, 2, 0, 1])


def test_the_affine_of_the_file_counts_where_there_is_one() -> None:
    made = VisitStack.from_array(np.ones((1, 2, 4, 4)), ages=[61], affine=np.diag([2, 2, 2, 1.0]))
    ((data, attributes, _),) = stack_layers(made)
    layer = Image(data, **attributes)
    ((stack, _),) = LayerOrigin(layer).opener()()

    np.testing.assert_array_equal(stack.affine, made.affine)
    assert stack.ages.tolist() == [61]


def test_a_layer_in_colour_is_refused() -> None:
    with pytest.raises(ValueError, match="is in colour"):
        LayerOrigin(Image(np.zeros((4, 4, 3), np.uint8), rgb=True)).opener()


def test_a_layer_that_has_gone_is_said() -> None:
    layer = image((4, 4), name="scan")
    origin = LayerOrigin(layer)
    del layer
    gc.collect()

    assert origin.name == "scan"
    with pytest.raises(ValueError, match="the layer was removed"):
        origin.opener()


def test_a_dropped_layer_counts_as_gone() -> None:
    layer = image((4, 4))
    origin = LayerOrigin(layer)
    origin.drop()

    with pytest.raises(ValueError, match="the layer was removed"):
        origin.opener()


def test_results_are_no_series() -> None:
    class Viewer:
        layers = LayerList([image((3, 4, 4), name="scan")])

    said = {"result": "score", "modality": "image"}
    Viewer.layers.append(image((3, 4, 4), metadata={"followup": said}))
    (found,) = series_layers(Viewer)

    assert found.name == "scan"
    assert [row.modality for row in layer_rows(Viewer.layers)] == ["", ""]
    found.metadata["followup"] = {"modality": "FLAIR"}
    assert layer_rows([found])[0].modality == "FLAIR"
