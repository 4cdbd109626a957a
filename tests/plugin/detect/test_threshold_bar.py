from __future__ import annotations

import math
from typing import Any

import pytest

from napari_followup.plugin.detect.threshold_bar import ThresholdBar

pytestmark = pytest.mark.viewer


@pytest.fixture
def bar(qtbot: Any) -> ThresholdBar:
    bar = ThresholdBar()
    qtbot.addWidget(bar)
    return bar


@pytest.mark.parametrize(
    ("highest", "threshold", "said"),
    [
        (0.0013, 2.956551e-05, "2.957e-05"),
        (0.0013, 0.000123456, "0.0001235"),
        (101.0, 14.23456, "14.23"),
        (5e8, 3.3333e8, "3.333e+08"),
        (1.5, 0.5, "0.5"),
        (0.25, math.inf, "0.25"),
        (0.0, math.inf, "1"),
    ],
)
def test_the_threshold_is_shown_whole_in_four_digits(
    bar: ThresholdBar, highest: float, threshold: float, said: str
) -> None:
    bar.show_score(highest, threshold)
    bar.resize(390, bar.sizeHint().height())
    bar.show()

    assert bar.number.text() == said
    assert bar.number.fontMetrics().horizontalAdvance(said) < bar.number.contentsRect().width() - 4


def test_the_number_follows_the_slider_and_the_slider_what_is_typed(
    bar: ThresholdBar, qtbot: Any
) -> None:
    bar.show_score(2e-4, 1e-4)
    bar.slider.setValue(1.5e-4)
    assert bar.number.text() == "0.00015"

    with qtbot.waitSignal(bar.moved) as moved:
        bar.number.selectAll()
        qtbot.keyClicks(bar.number, "3e-05")
        bar.number.editingFinished.emit()
    assert moved.args == [pytest.approx(3e-5)]
    bar.number.selectAll()
    qtbot.keyClicks(bar.number, "7")
    bar.number.editingFinished.emit()
    assert bar.slider.value() == pytest.approx(2e-4)  # the highest score
    assert bar.number.text() == "0.0002"


def test_a_number_that_is_only_looked_at_changes_nothing(bar: ThresholdBar, qtbot: Any) -> None:
    bar.show_score(2.0, 1 / 3)

    with qtbot.assertNotEmitted(bar.moved):
        bar.number.editingFinished.emit()
    assert bar.slider.value() == pytest.approx(1 / 3)
