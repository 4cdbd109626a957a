from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_followup.plugin.layers.layers import LayerTuple, result_layer, source_of
from napari_followup.plugin.layers.result_layers import shared_provenance, show_layers


def test_what_subjects_share_is_said_once() -> None:
    said = [{"model": "m", "threshold": 0.5}, None, {"model": "m", "threshold": 0.7}]

    assert shared_provenance(["a", "b", "c"], said) == {
        "model": "m",
        "subjects": {"a": {"threshold": 0.5}, "b": {}, "c": {"threshold": 0.7}},
    }


def test_one_subject_keeps_its_provenance_as_it_is() -> None:
    assert shared_provenance(["a"], [{"model": "m"}]) == {"model": "m"}


def result(value: float, shape: tuple[int, ...] = (2, 8, 8), name: str = "scan") -> LayerTuple:
    source = source_of(Image(np.zeros(shape), name=name))
    data = np.full(shape, value)
    return result_layer(source, data, "score", "image", {"v": value}, contrast_limits=(0, value))


@pytest.mark.parametrize(("update", "count"), [(True, 1), (False, 2)])
def test_an_earlier_result_is_filled_anew_or_left(update: bool, count: int) -> None:
    viewer = ViewerModel()
    show_layers(viewer, [result(1.0)], update=update)
    (shown,) = show_layers(viewer, [result(2.0)], update=update)

    assert len(viewer.layers) == count
    assert shown.data.max() == 2
    assert shown.contrast_limits == [0, 2]
    assert shown.metadata["followup"]["provenance"] == {"v": 2.0}


def test_results_of_another_series_or_shape_are_left_alone() -> None:
    viewer = ViewerModel()
    show_layers(viewer, [result(1.0)], update=True)
    show_layers(viewer, [result(2.0, name="other")], update=True)
    show_layers(viewer, [result(3.0, shape=(3, 8, 8))], update=True)

    assert [layer.data.max() for layer in viewer.layers] == [1, 2, 3]


def test_the_active_layer_stays_active() -> None:
    viewer = ViewerModel()
    mine = viewer.add_image(np.zeros((2, 8, 8)))
    show_layers(viewer, [result(1.0)], update=True)

    assert viewer.layers.selection.active is mine


@pytest.mark.parametrize("name", ["imputed", "spread", "temporal residual"])
def test_a_result_with_other_visits_fills_the_earlier_one(name: str) -> None:
    viewer = ViewerModel()
    for visits in (2, 3):
        source = source_of(Image(np.zeros((visits, 8, 8)), name="scan"))
        layer = result_layer(source, np.zeros((visits, 8, 8)), name, "image", {})
        (shown,) = show_layers(viewer, [layer], update=True)

    assert [each.data.shape for each in viewer.layers] == [(3, 8, 8)]
    assert shown.name == f"scan {name}"
