from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_followup.plugin.layers.cursor import covers, go_to_visit, position


@pytest.fixture
def viewer() -> ViewerModel:
    """A cohort, and over it a series that was moved and stretched."""
    viewer = ViewerModel()
    viewer.add_layer(Image(np.zeros((3, 5, 8, 8)), name="cohort"))
    viewer.add_layer(
        Image(np.zeros((5, 8, 8)), name="series", scale=(2, 1, 1), translate=(10, 0, 0))
    )
    return viewer


def test_the_place_of_the_sliders_is_found_in_a_layer(viewer: ViewerModel) -> None:
    viewer.dims.set_point([0, 1], [2, 4])

    where = position(viewer, viewer.layers["cohort"], "svyx")

    assert (where["s"], where["v"]) == (2, 4)


def test_a_place_beside_the_layer_is_its_nearest_visit(viewer: ViewerModel) -> None:
    viewer.dims.set_point(1, 0)

    assert position(viewer, viewer.layers["series"], "vyx")["v"] == 0


@pytest.mark.parametrize(
    ("layer", "axes", "point", "is_covered"),
    [
        ("series", "vyx", 8, False),
        ("series", "vyx", 10, True),
        ("series", "vyx", 18, True),
        ("cohort", "svyx", 4, True),
        ("cohort", "svyx", 6, False),
        ("cohort", "szyx", 6, True),
    ],
)
def test_a_layer_covers_its_visits_alone(
    viewer: ViewerModel, layer: str, axes: str, point: int, is_covered: bool
) -> None:
    viewer.dims.set_point(1, point)

    assert covers(viewer, viewer.layers[layer], axes) == is_covered


@pytest.mark.parametrize("visit", [0, 3, 4])
def test_the_slider_goes_to_a_visit_wherever_the_layer_lies(
    viewer: ViewerModel, visit: int
) -> None:
    layer = viewer.layers["series"]
    go_to_visit(viewer, layer, "vyx", visit)

    assert viewer.dims.point[1] == 10 + 2 * visit
    assert position(viewer, layer, "vyx")["v"] == visit
