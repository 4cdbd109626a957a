from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_followup.plugin.layers.layers import Source, series_of, source_of
from napari_followup.plugin.layers.visits import (
    covers,
    entry,
    go_to_visit,
    one_subject,
    outline,
    position,
    visit_kind,
    visit_kinds,
)

WHERE = {"v": 2, "y": 0, "x": 0}


class Lazy:
    """Array that counts how much of it is read."""

    def __init__(self, data: np.ndarray) -> None:
        self.data, self.shape, self.dtype, self.read = data, data.shape, data.dtype, 0

    def __getitem__(self, index: Any) -> np.ndarray:
        found = self.data[index]
        self.read += found.size
        return found


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"is_observed": [1, 1, 1, 1, 1]}, "observed"),
        ({"is_observed": [1, 1, 0, 1, 1], "is_imputed": [0, 0, 1, 0, 0]}, "imputed"),
        ({"is_observed": [1, 1, 0, 1, 1], "is_imputed": [0, 0, 0, 0, 0]}, "missing"),
        ({"is_observed": [1, 1, 0, 1, 1]}, "missing"),
        ({}, "missing"),
    ],
)
def test_the_kind_of_a_visit_is_said_or_seen(
    gappy: np.ndarray, said: dict[str, Any], kind: str
) -> None:
    assert visit_kind(gappy, {"axes": "vyx", **said}, WHERE) == kind


def test_a_visit_with_pixels_that_was_not_observed_is_imputed(gappy: np.ndarray) -> None:
    said = {"axes": "vyx", "is_observed": [0, 1, 0, 1, 1]}

    assert visit_kinds(gappy, said, WHERE)[:3] == ["imputed", "observed", "missing"]


def test_a_mask_cannot_tell_missing_from_imputed(gappy: np.ndarray) -> None:
    said = {"axes": "vyx", "is_observed": [1, 1, 0, 1, 1], "result": "mask"}

    assert visit_kind(gappy > 1, said, WHERE) == "not observed"


def test_only_one_plane_of_a_lazy_layer_is_read() -> None:
    data = Lazy(np.full((3, 5, 8, 8), np.nan, np.float32))
    said = {"axes": "vzyx", "is_observed": [True, False, True]}

    assert visit_kind(data, said, {"v": 1, "z": 2, "y": 0, "x": 0}) == "missing"
    assert data.read == 64
    assert visit_kinds(data, {"axes": "vzyx"}, {"v": 0, "z": 0}) == ["observed"] * 3
    assert data.read == 64


def test_an_entry_that_is_not_there_is_none() -> None:
    assert entry([1, 2], None, 5) is None
    assert entry(None, 0, 0) is None
    assert entry([[1, 2], [3, 4]], 1, 0) == 3
    assert entry([1, 2], 1, 0) == 1


def test_an_outline_has_the_ages_and_gaps_of_its_series(gappy: np.ndarray) -> None:
    source = source_of(Image(gappy), ages=np.array([64.0, 61, 62, 63, 60]))
    stack, whole = outline(source), series_of(source).stack

    assert stack.shape == (5, 1, 1, 1, 1)
    assert stack.ages.tolist() == whole.ages.tolist()
    assert stack.is_missing.tolist() == whole.is_missing.tolist() == [False, False, True, False, 0]


def test_a_subject_is_taken_out_with_its_place() -> None:
    about = {
        "axes": "svyx",
        "ages": [[1, 2, 3], [4, 5, 6]],
        "is_observed": [[True] * 3, [True, False, True]],
        "subject": ["anna", "bert"],
    }
    layer = Image(
        np.random.rand(2, 3, 8, 8),
        name="all",
        metadata={"followup": about},
        scale=(1, 1, 2, 3),
        translate=(9, 0, 4, 5),
        shear=np.arange(6.0),
        affine=np.diag([1, 1, 2, 2, 1]),
        axis_labels=("subject", "visit", "y", "x"),
    )
    one: Source = one_subject(source_of(layer), 1)
    placed = Image(one.data, **one.geometry)

    assert (one.name, one.subjects, one.axes) == ("all bert", ["bert"], "vyx")
    assert one.ages is not None
    assert one.ages.tolist() == [4, 5, 6]
    assert outline(one).is_observed.tolist() == [True, False, True]
    assert placed.scale.tolist() == [1, 2, 3]
    assert placed.shear.tolist() == [3, 4, 5]
    assert placed.axis_labels == ("visit", "y", "x")
    np.testing.assert_allclose(
        placed.data_to_world((1, 2, 3)), layer.data_to_world((0, 1, 2, 3))[1:]
    )


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
