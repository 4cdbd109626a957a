from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image

from napari_followup.plugin.layers.geometry import on_voxels, with_visits, without_axis
from napari_followup.plugin.layers.layers import source_of


def layer(ndim: int = 3) -> Image:
    """An image that is scaled, shifted, turned and sheared."""
    angle = np.radians(30)
    rotate = np.eye(ndim)
    rotate[-2:, -2:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = np.eye(ndim + 1)
    affine[-2, -1] = 7.0
    shear = np.zeros(ndim * (ndim - 1) // 2)
    shear[-1] = 0.2
    return Image(
        np.zeros((4,) * ndim),
        scale=np.arange(1.0, ndim + 1),
        translate=np.arange(2.0, ndim + 2),
        rotate=rotate,
        shear=shear,
        affine=affine,
    )


def placed(geometry: dict[str, object], ndim: int) -> Image:
    return Image(np.zeros((4,) * ndim), **geometry)


def test_a_layer_with_an_axis_of_visits_lies_where_it_lay() -> None:
    bare = layer()

    with_them = placed(with_visits(source_of(bare, axes="zyx").geometry), 4)

    assert with_them.axis_labels[0] == "visit"
    for point in ((0, 0, 0), (1, 2, 3)):
        np.testing.assert_allclose(
            with_them.data_to_world((5, *point)), (5, *bare.data_to_world(point))
        )


def test_the_axis_of_visits_can_be_taken_away_again() -> None:
    geometry = source_of(layer(), axes="zyx").geometry

    back = placed(without_axis(with_visits(geometry), 0), 3)

    np.testing.assert_allclose(back.data_to_world((1, 2, 3)), layer().data_to_world((1, 2, 3)))


@pytest.mark.parametrize("axes", ["vyx", "vzyx"])
def test_other_voxels_lie_in_the_same_place(axes: str) -> None:
    old = layer(len(axes))
    voxels = np.diag([0.5, 2.0, 0.25, 1.0])
    voxels[:3, 3] = 3.0, 1.0, -2.0
    point = np.array([1.0, 2.0, 3.0])
    before = voxels[:3, :3] @ point + voxels[:3, 3]
    count = len(axes) - 1

    new = placed(on_voxels(source_of(old, axes=axes).geometry, axes, voxels), len(axes))

    np.testing.assert_allclose(
        new.data_to_world((1, *point[-count:])), old.data_to_world((1, *before[-count:]))
    )
