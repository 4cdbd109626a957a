from __future__ import annotations

import napari.layers
import numpy as np
import pytest

from napari_followup.plugin.impute.cropping import cropped
from napari_followup.plugin.layers.layers import KEY, source_of
from napari_followup.series.plane_selection import Slicing

pytestmark = pytest.mark.viewer


def volumes() -> napari.layers.Image:
    affine = [[0, 0, 0.5, 7], [0, 1, 0, 8], [2, 0, 0, 9], [0, 0, 0, 1]]
    turn = np.deg2rad(30)
    rotate = np.eye(4)
    rotate[1:3, 1:3] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    return napari.layers.Image(
        np.random.rand(2, 6, 5, 4),
        scale=(1, 2, 1, 0.5),
        translate=(0, 10, 20, 30),
        rotate=rotate,
        metadata={KEY: {"axes": "vzyx", "affine": affine}},
    )


@pytest.mark.parametrize(
    "slicing", [Slicing("z", 1, 6, 2), Slicing("y", 2), Slicing("x", 0, 4, 3)], ids=repr
)
def test_planes_that_are_kept_lie_where_they_were(slicing: Slicing) -> None:
    layer = volumes()
    source = source_of(layer)

    small = cropped(source, slicing)

    kept = napari.layers.Image(small.data, **small.geometry)
    voxel, there = np.array([1, 1, 1, 1]), np.array([1, 1, 1, 1])
    place = "zyx".index(slicing.axis)
    there[1 + place] = slicing.first + slicing.step
    np.testing.assert_allclose(kept.data_to_world(voxel), layer.data_to_world(there))
    assert small.data[tuple(voxel)] == layer.data[tuple(there)]
    assert small.spacing[place] == source.spacing[place] * slicing.step
    np.testing.assert_allclose(
        np.array(small.about["affine"]) @ [1, 1, 1, 1],
        np.array(source.about["affine"]) @ [*there[1:], 1],
    )
    assert source.about["affine"][0][3] == 7


def test_a_source_of_all_planes_stays_as_it_is() -> None:
    source = source_of(volumes())

    assert cropped(source, None) is source
