from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_followup.plugin.train.train_view import (
    NAME,
    Curves,
    ExampleLayer,
    LossPanel,
    LossPlot,
    side_by_side,
)

pytestmark = pytest.mark.viewer

LOSSES = [(batch, 1.0 / batch) for batch in range(1, 101)]
VALIDATIONS = [(50, 0.04), (100, 0.02)]


def test_the_course_is_a_mean_of_neighbours() -> None:
    course = Curves(losses=[(1, 4.0), (2, 2.0), (3, 0.0)]).course

    assert course == [(1, 3.0), (2, 2.0), (3, 1.0)]
    long = Curves(losses=[(n, float(n % 2)) for n in range(80)]).course  # two on either side
    assert long[40][1] == pytest.approx(2 / 5)


@pytest.mark.parametrize("is_log", [False, True])
def test_points_lie_inside_and_lower_losses_lower(is_log: bool) -> None:
    curves = Curves(losses=LOSSES, validations=VALIDATIONS, is_log=is_log)
    places = curves.place(curves.course, 300, 190)

    assert (places >= 0).all()
    assert (places <= [300, 190]).all()
    assert (np.diff(places[:, 0]) > 0).all()
    assert places[-1, 1] > places[0, 1]
    assert curves.place(VALIDATIONS, 300, 190)[1, 1] > curves.place(VALIDATIONS, 300, 190)[0, 1]


def test_the_axes_are_labelled_with_round_numbers() -> None:
    curves = Curves(losses=[(batch, 0.9) for batch in range(1, 1201)])

    assert curves.batches() == [0, 500, 1000]
    assert curves.heights() == [0.0, 0.2, 0.4, 0.6, 0.8]
    wide = Curves(losses=[(1, 1.0)], validations=[(2, 0.02)], is_log=True)
    assert wide.heights() == [0.02, 0.05, 0.1, 0.2, 0.5, 1.0]
    wider = Curves(losses=[(1, 1.0)], validations=[(2, 0.0002)], is_log=True)
    assert wider.heights() == [0.001, 0.01, 0.1, 1.0]


@pytest.mark.parametrize("losses", [[], [(1, 0.0)], [(1, 0.5), (2, 0.5)], [(5, -1.0)]])
@pytest.mark.parametrize("is_log", [False, True])
def test_few_equal_and_odd_losses_have_a_span(losses: list[Any], is_log: bool) -> None:
    low, high = Curves(losses=losses, is_log=is_log).span

    assert low < high


def test_it_is_drawn(qtbot: Any) -> None:
    plot = LossPlot()
    qtbot.addWidget(plot)
    plot.resize(300, 190)
    empty = plot.grab().toImage()
    plot.show_losses(LOSSES, VALIDATIONS)
    linear = plot.grab().toImage()
    plot.set_log(True)

    assert linear != empty
    assert plot.grab().toImage() != linear
    assert plot.curves.losses == LOSSES


FIRST, SECOND = [(1, 1.0), (2, 0.5)], [(1, 8.0)]


@pytest.fixture
def panel(qtbot: Any) -> LossPanel:
    panel = LossPanel()
    qtbot.addWidget(panel)
    return panel


def test_one_phase_needs_no_choice(panel: LossPanel) -> None:
    panel.show_losses("denoise", FIRST, [(2, 0.6)])

    assert panel.plot.curves.losses == FIRST
    assert panel.plot.curves.validations == [(2, 0.6)]
    assert panel.stage.isHidden()


def test_a_phase_that_begins_is_shown_and_the_one_before_can_be_chosen(panel: LossPanel) -> None:
    panel.show_losses("denoise", FIRST, [])
    panel.show_losses("features", SECOND, [])
    assert panel.plot.curves.losses == SECOND

    panel.stage.setCurrentIndex(0)
    assert panel.plot.curves.losses == FIRST
    panel.show_losses("features", [*SECOND, (2, 7.0)], [])
    assert panel.plot.curves.losses == FIRST  # the user's choice stays


def test_the_scale_stays_when_losses_come(panel: LossPanel) -> None:
    panel.log_box.setChecked(True)
    panel.show_losses("denoise", FIRST, [])

    assert panel.plot.curves.is_log


def test_another_run_begins_with_nothing(panel: LossPanel) -> None:
    panel.show_losses("denoise", FIRST, [])
    panel.clear()

    assert panel.plot.curves.losses == ()
    assert panel.stage.count() == 0


def images(value: float, modalities: int = 1) -> Any:
    return np.full((3, modalities, 8, 4), value, np.float32) + np.eye(8, 4, dtype=np.float32)


def test_given_stands_left_of_healthy_and_modalities_below_each_other() -> None:
    pair = side_by_side(images(1, 2), images(5, 2))

    assert pair.shape == (3, 16, 8)
    np.testing.assert_array_equal(pair[0, 8:, :4], images(1)[0, 0])
    np.testing.assert_array_equal(pair[2, :8, 4:], images(5)[0, 0])


def test_one_layer_is_filled_again_and_again_from_run_to_run() -> None:
    viewer = ViewerModel()
    shown = ExampleLayer(viewer)
    shown.show(images(0), images(1))
    shown.show(images(0), images(2))
    shown.begin()
    shown.show(images(0), images(3))

    assert [layer.name for layer in viewer.layers] == [NAME]
    assert viewer.layers[0].data[0, 7, 4] == 3
    assert shown.layer is viewer.layers[0]


def test_it_lies_to_the_right_of_what_is_there_and_leaves_the_choice() -> None:
    viewer = ViewerModel()
    scan = viewer.add_image(np.zeros((3, 16, 16)), scale=(1, 2, 2), units=("pixel", "mm", "mm"))
    ExampleLayer(viewer).show(images(0), images(1))
    layer = viewer.layers[1]

    assert viewer.layers.selection.active is scan
    assert layer.scale[1] == pytest.approx(30 / 8, rel=0.1)  # as high as the scan
    assert layer.translate[2] > 30
    assert [str(unit) for unit in layer.units] == ["pixel", "millimeter", "millimeter"]


def test_a_layer_that_was_removed_stays_away_until_the_next_run() -> None:
    viewer = ViewerModel()
    shown = ExampleLayer(viewer)
    shown.show(images(0), images(1))
    viewer.layers.clear()
    shown.show(images(0), images(2))
    assert not len(viewer.layers)

    shown.begin()
    shown.show(images(0), images(2))
    assert len(viewer.layers) == 1


def test_the_viewer_may_be_gone() -> None:
    viewer = ViewerModel()
    shown = ExampleLayer(viewer)
    del viewer

    shown.show(images(0), images(1))
    assert shown.layer is None
