from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_followup.plugin.forms.layer_choices import (
    CHECKED,
    UNCHECKED,
    LayerCombo,
    LayerList,
    MaskCombo,
)

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


@pytest.fixture
def model(qapp: Any) -> ViewerModel:
    return ViewerModel()


def marks() -> np.ndarray:
    return np.eye(4, dtype=np.uint8)


def test_fixed_choices_stand_before_the_labels_of_the_viewer(model: ViewerModel) -> None:
    combo = MaskCombo(model, "none", "brain")
    model.add_image(np.ones((4, 4)))
    model.add_labels(marks(), name="marks")

    assert [combo.itemText(index) for index in range(combo.count())] == ["none", "brain", "marks"]
    assert (combo.chosen, combo.layer, combo.given) == ("none", None, None)


def test_a_layer_that_is_chosen_gives_its_marks(model: ViewerModel) -> None:
    combo = MaskCombo(model, "none")
    layer = model.add_labels(marks(), name="marks")
    combo.layer = layer
    layer.name = "renamed"

    assert combo.chosen == ""
    assert combo.given is not None
    assert combo.given.name == "renamed"
    np.testing.assert_array_equal(combo.given.data, marks())


def test_the_choice_falls_back_when_its_layer_goes(model: ViewerModel) -> None:
    combo = MaskCombo(model, "none", "brain")
    combo.layer = model.add_labels(marks(), name="marks")
    model.layers.remove("marks")

    assert combo.chosen == "none"


def test_a_mask_of_another_viewer_is_refused(model: ViewerModel) -> None:
    combo = MaskCombo(model, "none")
    other = ViewerModel().add_labels(marks())

    with pytest.raises(ValueError, match="is no labels layer of this viewer"):
        combo.layer = other


def test_labels_that_do_not_fit_are_left_out(model: ViewerModel) -> None:
    combo = MaskCombo(model, "none", leave_out=lambda layer: layer.name == "regions")
    model.add_labels(marks(), name="regions")
    model.add_labels(marks(), name="marks")

    assert [combo.itemText(index) for index in range(combo.count())] == ["none", "marks"]
    combo.layer = model.layers["marks"]
    assert combo.layer is model.layers["marks"]


def test_a_list_without_a_viewer_waits_for_it(model: ViewerModel) -> None:
    combo = LayerCombo()
    assert combo.count() == 0
    model.add_image(marks().astype(float), name="scan")
    combo.watch(model)
    combo.watch(model)

    assert combo.layer is model.layers["scan"]
    model.add_labels(marks(), name="marks")
    assert combo.count() == 1
