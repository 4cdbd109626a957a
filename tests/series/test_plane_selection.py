from __future__ import annotations

import json

import dask.array
import numpy as np
import pytest

from napari_followup.series.plane_selection import Slicing
from napari_followup.series.stack import VisitStack


@pytest.fixture
def volumes() -> VisitStack:
    """Two visits of 4 x 5 x 6 voxels, all different, with a tilted affine."""
    images = np.arange(2 * 4 * 5 * 6, dtype=np.float32).reshape(2, 1, 4, 5, 6)
    affine = np.array([[0, 0.1, 1, 9], [0.1, 2, 0, 8], [3, 0, 0.1, 7], [0, 0, 0, 1.0]])
    return VisitStack.from_array(images, ages=[60.0, 61.0], affine=affine, subject="p7")


def test_planes_are_counted_as_python_counts(volumes: VisitStack) -> None:
    assert list(range(4)[Slicing(first=1, last=3).of(volumes)]) == [1, 2]
    assert list(range(6)[Slicing("x", step=2).of(volumes)]) == [0, 2, 4]
    assert Slicing().is_whole
    assert not Slicing("y").is_whole


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_what_was_turned_is_turned_back(volumes: VisitStack, axis: str) -> None:
    slicing = Slicing(axis)

    turned = slicing.turned(volumes.images)

    place = "zyx".index(axis)
    np.testing.assert_array_equal(turned[:, :, 2], np.take(volumes.images, 2, axis=2 + place))
    np.testing.assert_array_equal(slicing.turned_back(turned), volumes.images)
    assert np.shares_memory(slicing.turned_back(turned), volumes.images)


def test_lazy_images_stay_lazy(volumes: VisitStack) -> None:
    lazy = dask.array.from_array(volumes.images)

    turned = Slicing("x").turned(lazy)

    assert isinstance(turned, dask.array.Array)
    assert Slicing("x").turned_back(turned).shape == lazy.shape


@pytest.mark.parametrize(
    "slicing", [Slicing("z", 1, 4, 2), Slicing("y", 2), Slicing("x", 1, None, 3)], ids=repr
)
def test_a_cropped_stack_lies_where_its_planes_were(volumes: VisitStack, slicing: Slicing) -> None:
    small = slicing.crop(volumes)

    voxel = np.array([1, 1, 1, 1])
    there = voxel.copy()
    place = "zyx".index(slicing.axis)
    there[place] = slicing.first + slicing.step
    np.testing.assert_allclose(small.affine @ voxel, volumes.affine @ there)
    assert small.images[1, 0, 1, 1, 1] == volumes.images[(1, 0, *there[:3])]
    assert small.spacing[place] == pytest.approx(volumes.spacing[place] * slicing.step)
    assert small.subject == "p7"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"axis": "t"}, "axis: got 't'; planes are taken across z, y or x"),
        ({"axis": "zy"}, "axis: got 'zy'"),
        ({"first": -1}, "got first -1 and step 1; count from 0"),
        ({"step": 0}, "got first 0 and step 0"),
        ({"first": 3, "last": 3}, "got 3 to 3, which holds none"),
    ],
)
def test_planes_that_cannot_be_are_refused(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Slicing(**settings)


@pytest.mark.parametrize(
    ("slicing", "problem"),
    [
        (Slicing(last=5), "got 0 to 5 across z, and 'p7' has 4; first can be 3 at most, last 4"),
        (Slicing("x", 6), "got from 6 across x, and 'p7' has 6"),
    ],
)
def test_planes_beyond_the_stack_are_refused(
    volumes: VisitStack, slicing: Slicing, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        slicing.of(volumes)


def test_a_provenance_says_which_planes_they_were(volumes: VisitStack) -> None:
    slicing = Slicing("y", 1, None, 2)

    said = slicing.as_dict(volumes)

    assert json.loads(json.dumps(said)) == {"axis": "y", "first": 1, "last": 5, "step": 2}
    assert slicing.note(volumes) == (
        "planes 1 to 3 across y were examined, every 2 planes: 2 of 5, counted from 0"
    )
