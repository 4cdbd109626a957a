from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtWidgets import QStyleOptionComboBox

from napari_followup.plugin.forms.forms import WIDTH
from napari_followup.plugin.forms.layer_choices import LayerCombo
from napari_followup.plugin.forms.series_input import PlanesForm, SeriesInput
from napari_followup.series.plane_selection import Slicing

pytestmark = pytest.mark.viewer


@pytest.fixture
def viewer() -> Iterator[ViewerModel]:
    viewer = ViewerModel()
    yield viewer
    viewer.layers.clear()


def series_of(viewer: ViewerModel, qtbot: Any, **settings: Any) -> SeriesInput:
    series = SeriesInput(viewer, **settings)
    qtbot.addWidget(series)
    return series


def image(name: str, result: str | None = None) -> Image:
    about = {"axes": "vyx", "result": result}
    return Image(np.zeros((2, 8, 8)), name=name, metadata={"followup": about} if result else {})


def test_layers_come_and_go_and_are_renamed(viewer: ViewerModel, qtbot: Any) -> None:
    combo = LayerCombo(viewer)
    qtbot.addWidget(combo)
    assert combo.layer is None
    viewer.add_layer(image("a"))
    viewer.add_layer(image("b"))
    viewer.add_labels(np.zeros((2, 8, 8), int))
    assert [combo.itemText(index) for index in range(combo.count())] == ["a", "b"]
    assert combo.layer is viewer.layers["a"]  # the choice stays
    viewer.layers["a"].name = "c"
    assert combo.currentText() == "c"
    viewer.layers.remove("c")
    assert combo.layer is viewer.layers["b"]


def test_results_are_not_chosen_unless_wished(viewer: ViewerModel, qtbot: Any) -> None:
    for layer in (image("scan"), image("scan healthy", "healthy"), image("scan fam", "fam")):
        viewer.add_layer(layer)

    for wished, expected in (((), "scan"), (("healthy",), "scan healthy"), (("fam",), "scan fam")):
        combo = LayerCombo(viewer, results=wished)
        qtbot.addWidget(combo)
        assert combo.currentText() == expected


def test_a_long_name_loses_its_middle_and_is_whole_in_the_tool_tip(
    viewer: ViewerModel, qtbot: Any
) -> None:
    name = "a patient of a long name seen in many visits score"
    combo = LayerCombo(viewer)
    qtbot.addWidget(combo)
    viewer.add_layer(image(name))
    combo.resize(150, 24)
    option = QStyleOptionComboBox()
    combo.initStyleOption(option)
    shown = combo.shown_text(option)

    assert shown.startswith("a p")
    assert shown.endswith("ore")
    assert "…" in shown
    assert combo.toolTip() == name
    assert not combo.grab().isNull()


def test_no_layer_is_kept_alive(viewer: ViewerModel, qtbot: Any) -> None:
    series = series_of(viewer, qtbot)
    layer = weakref.ref(viewer.add_layer(image("a")))
    assert series.layers.layer is layer()
    viewer.add_layer(image("b"))
    viewer.layers.remove("a")
    gc.collect()

    assert layer() is None
    assert series.layers.layer is viewer.layers["b"]


def test_a_layer_of_another_viewer_is_refused(viewer: ViewerModel, qtbot: Any) -> None:
    combo = LayerCombo(viewer)
    qtbot.addWidget(combo)

    with pytest.raises(ValueError, match="no image layer of this viewer"):
        combo.layer = image("elsewhere")


def test_axes_are_asked_only_where_they_are_not_said(viewer: ViewerModel, qtbot: Any) -> None:
    series = series_of(viewer, qtbot)
    viewer.add_image(np.zeros((2, 3, 8, 8)), name="bare")
    assert not series.axes_combo.isHidden()
    assert series.axes is None
    series.axes = "svyx"
    assert series.source().axes == "svyx"
    assert series.found.text().startswith("2 subjects, 3 visits")
    with pytest.raises(ValueError, match="this layer can have vzyx, svyx"):
        series.axes = "vyx"

    viewer.add_layer(image("said"))
    series.layers.layer = viewer.layers["said"]
    assert series.axes_combo.isHidden()
    assert series.axes == "vyx"


def test_what_is_found_follows_what_is_typed(viewer: ViewerModel, qtbot: Any) -> None:
    series = series_of(viewer, qtbot)
    viewer.add_layer(image("a"))
    series.ages_edit.setText("61, 62")
    assert series.found.text() == "2 visits, ages 61.0 to 62.0 years"
    series.ages_edit.setText("61")
    assert series.found.text() == "2 visits, but 1 age"
    with pytest.raises(ValueError, match="ages: got 1 for the 2 visits of 'a'"):
        series.source()
    series.ages_edit.setText("61, old")
    assert "cannot read" in series.found.text()


def test_a_removed_layer_is_announced(viewer: ViewerModel, qtbot: Any) -> None:
    series = series_of(viewer, qtbot)
    layer = viewer.add_layer(image("a"))
    gone: list[Any] = []
    series.layer_removed.connect(gone.append)
    viewer.layers.remove(layer)

    assert gone == [layer]


def test_layers_that_do_not_fit_are_left_out(viewer: ViewerModel, qtbot: Any) -> None:
    series = series_of(viewer, qtbot, leave_out=lambda layer: layer.name == "map")
    viewer.add_layer(image("map"))
    assert series.layers.layer is None
    viewer.add_layer(image("a"))

    assert series.layers.layer is viewer.layers["a"]
    assert series.layers.count() == 1


def test_one_visit_has_one_age(viewer: ViewerModel, qtbot: Any) -> None:
    series = series_of(viewer, qtbot)
    viewer.add_image(np.zeros((1, 8, 8)), name="one")
    assert series.found.text() == "1 visit, age not known"
    series.ages_edit.setText("62.4")

    assert series.found.text() == "1 visit, age 62.4"
    viewer.add_image(np.zeros((2, 1, 8, 8)), name="two")
    series.layers.layer = viewer.layers["two"]
    series.axes = "svyx"
    series.ages_edit.setText("60; 62.4")
    assert series.found.text() == "2 subjects, 1 visit, ages 60.0 to 62.4 years"


@pytest.fixture
def form(qtbot: object) -> PlanesForm:
    form = PlanesForm()
    qtbot.addWidget(form)
    return form


def test_planar_series_offer_no_planes(form: PlanesForm) -> None:
    for sizes in (None, (1, 64, 48)):
        form.show_grid(sizes)

        assert form.isHidden()
        assert form.slicing is None


def test_volumes_offer_all_planes_across_z_first(form: PlanesForm) -> None:
    form.show_grid((20, 64, 48))

    assert not form.isHidden()
    assert (form.first.value(), form.last.value(), form.step.value()) == (0, 19, 1)
    assert form.slicing is None


def test_the_last_plane_is_among_those_that_are_looked_at(form: PlanesForm) -> None:
    form.show_grid((20, 64, 48))
    form.first.setValue(5)
    form.last.setValue(14)
    form.step.setValue(3)

    assert form.slicing == Slicing("z", 5, 15, 3)
    assert form.last.minimum() == 5
    assert form.first.maximum() == 14


def test_another_axis_begins_with_all_of_its_planes(form: PlanesForm) -> None:
    form.show_grid((20, 64, 48))
    form.first.setValue(5)

    form.axis.setCurrentText("x")

    assert form.slicing == Slicing("x")
    assert form.last.value() == 47


def test_planes_can_be_set_by_a_script_and_stay_for_a_layer_of_the_same_grid(
    form: PlanesForm,
) -> None:
    form.show_grid((20, 64, 48))
    form.slicing = Slicing("y", 10, 20, 2)

    form.show_grid((20, 64, 48))
    assert form.slicing == Slicing("y", 10, 20, 2)
    form.show_grid((30, 64, 48))
    assert form.slicing is None


def test_all_boxes_fit_into_the_width_of_a_widget(form: PlanesForm) -> None:
    form.show_grid((2000, 64, 48))

    assert form.minimumSizeHint().width() < WIDTH
