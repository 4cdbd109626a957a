from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_followup.plugin.train.example_layer import NAME, ExampleLayer, side_by_side

pytestmark = pytest.mark.viewer


def images(value: float, modalities: int = 1) -> Any:
    return np.full((3, modalities, 8, 4), value, np.float32) + np.eye(8, 4, dtype=np.float32)


def test_given_stands_left_of_healthy_and_modalities_below_each_other() -> None:
    pair = side_by_side(images(1, 2), images(5, 2))

    assert pair.shape == (3, 16, 8)
    np.testing.assert_array_equal(pair[0, 8:, :4], images(1)[0, 0])
    np.testing.assert_array_equal(pair[2, :8, 4:], images(5)[0, 0])


def test_one_layer_is_filled_again_and_again_from_run_to_run() -> None:
    viewer = ViewerModel()
    shown = ExampleLayer(viewer)
    shown.show(images(0), images(1))
    shown.show(images(0), images(2))
    shown.begin()
    shown.show(images(0), images(3))

    assert [layer.name for layer in viewer.layers] == [NAME]
    assert viewer.layers[0].data[0, 7, 4] == 3
    assert shown.layer is viewer.layers[0]


def test_it_lies_to_the_right_of_what_is_there_and_leaves_the_choice() -> None:
    viewer = ViewerModel()
    scan = viewer.add_image(np.zeros((3, 16, 16)), scale=(1, 2, 2), units=("pixel", "mm", "mm"))
    ExampleLayer(viewer).show(images(0), images(1))
    layer = viewer.layers[1]

    assert viewer.layers.selection.active is scan
    assert layer.scale[1] == pytest.approx(30 / 8, rel=0.1)  # as high as the scan
    assert layer.translate[2] > 30
    assert [str(unit) for unit in layer.units] == ["pixel", "millimeter", "millimeter"]


def test_a_layer_that_was_removed_stays_away_until_the_next_run() -> None:
    viewer = ViewerModel()
    shown = ExampleLayer(viewer)
    shown.show(images(0), images(1))
    viewer.layers.clear()
    shown.show(images(0), images(2))
    assert not len(viewer.layers)

    shown.begin()
    shown.show(images(0), images(2))
    assert len(viewer.layers) == 1


def test_the_viewer_may_be_gone() -> None:
    viewer = ViewerModel()
    shown = ExampleLayer(viewer)
    del viewer

    shown.show(images(0), images(1))
    assert shown.layer is None
