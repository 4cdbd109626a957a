from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_followup.plugin.forms.layer_list import CHECKED, UNCHECKED, LayerList

pytestmark = pytest.mark.viewer


@pytest.fixture
def viewer(qapp: Any) -> ViewerModel:
    viewer = ViewerModel()
    for name in ("a", "b", "c"):
        viewer.add_image(np.ones((4, 4)), name=name)
    viewer.add_labels(np.ones((4, 4), int), name="labels")
    return viewer


def names(listed: LayerList) -> list[str]:
    return [layer.name for layer in listed.layers]


def test_images_that_fit_are_listed_and_those_wanted_are_checked(viewer: ViewerModel) -> None:
    listed = LayerList(viewer)
    listed.offer(lambda layer: layer.name != "b", lambda layer: layer.name == "c")

    assert [listed.item(row).text() for row in range(listed.count())] == ["a", "c"]
    assert names(listed) == ["c"]


def test_what_the_user_checked_stays_when_layers_come_and_go(viewer: ViewerModel) -> None:
    listed = LayerList(viewer)
    listed.item(0).setCheckState(CHECKED)
    viewer.add_image(np.ones((4, 4)), name="d")
    viewer.layers.remove("b")

    assert [listed.item(row).text() for row in range(listed.count())] == ["a", "c", "d"]
    assert names(listed) == ["a"]
    viewer.layers.remove("a")
    assert names(listed) == []


def test_a_check_is_told(viewer: ViewerModel) -> None:
    listed, told = LayerList(viewer), []
    listed.changed.connect(lambda: told.append(names(listed)))
    listed.item(1).setCheckState(CHECKED)
    listed.item(1).setCheckState(UNCHECKED)

    assert told == [["b"], []]


def test_layers_can_be_checked_from_a_script(viewer: ViewerModel) -> None:
    listed = LayerList(viewer)
    listed.layers = [viewer.layers["c"], viewer.layers["a"]]

    assert names(listed) == ["a", "c"]
    with pytest.raises(ValueError, match="is not in the list"):
        listed.layers = [viewer.layers["labels"]]


def test_eight_layers_are_seen_at_once(viewer: ViewerModel, qtbot: Any) -> None:
    listed = LayerList(viewer)
    qtbot.addWidget(listed)
    for number in range(5):
        viewer.add_image(np.ones((4, 4)), name=f"more {number}")
    listed.show()

    last = listed.visualItemRect(listed.item(listed.count() - 1))
    assert listed.count() == 8
    assert last.bottom() <= listed.viewport().height()
