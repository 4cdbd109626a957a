from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_followup.plugin.train.loss_plot import Curves, LossPlot

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
