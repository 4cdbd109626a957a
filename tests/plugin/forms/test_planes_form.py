from __future__ import annotations

import pytest

from napari_followup.plugin.forms.forms import WIDTH
from napari_followup.plugin.forms.planes_form import PlanesForm
from napari_followup.series.plane_selection import Slicing

pytestmark = pytest.mark.viewer


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
