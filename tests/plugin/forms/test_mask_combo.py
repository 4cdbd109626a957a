from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_followup.plugin.forms.mask_combo import MaskCombo

pytestmark = pytest.mark.viewer


@pytest.fixture
def viewer(qapp: Any) -> ViewerModel:
    return ViewerModel()


def marks() -> np.ndarray:
    return np.eye(4, dtype=np.uint8)


def test_fixed_choices_stand_before_the_labels_of_the_viewer(viewer: ViewerModel) -> None:
    combo = MaskCombo(viewer, "none", "brain")
    viewer.add_image(np.ones((4, 4)))
    viewer.add_labels(marks(), name="marks")

    assert [combo.itemText(index) for index in range(combo.count())] == ["none", "brain", "marks"]
    assert (combo.chosen, combo.layer, combo.given) == ("none", None, None)


def test_a_layer_that_is_chosen_gives_its_marks(viewer: ViewerModel) -> None:
    combo = MaskCombo(viewer, "none")
    layer = viewer.add_labels(marks(), name="marks")
    combo.layer = layer
    layer.name = "renamed"

    assert combo.chosen == ""
    assert combo.given is not None
    assert combo.given.name == "renamed"
    np.testing.assert_array_equal(combo.given.data, marks())


def test_the_choice_falls_back_when_its_layer_goes(viewer: ViewerModel) -> None:
    combo = MaskCombo(viewer, "none", "brain")
    combo.layer = viewer.add_labels(marks(), name="marks")
    viewer.layers.remove("marks")

    assert combo.chosen == "none"


def test_a_layer_of_another_viewer_is_refused(viewer: ViewerModel) -> None:
    combo = MaskCombo(viewer, "none")
    other = ViewerModel().add_labels(marks())

    with pytest.raises(ValueError, match="is no labels layer of this viewer"):
        combo.layer = other


def test_labels_that_do_not_fit_are_left_out(viewer: ViewerModel) -> None:
    combo = MaskCombo(viewer, "none", leave_out=lambda layer: layer.name == "regions")
    viewer.add_labels(marks(), name="regions")
    viewer.add_labels(marks(), name="marks")

    assert [combo.itemText(index) for index in range(combo.count())] == ["none", "marks"]
    combo.layer = viewer.layers["marks"]
    assert combo.layer is viewer.layers["marks"]
