from __future__ import annotations

from typing import Any

import pytest

from napari_followup.plugin.compare.change_legend import ChangeLegend

pytestmark = pytest.mark.viewer


def test_the_bar_runs_from_darker_over_nothing_to_brighter(qtbot: Any) -> None:
    legend = ChangeLegend()
    qtbot.addWidget(legend)
    legend.resize(200, 60)
    legend.show_threshold(4.0)

    image = legend.bar.grab().toImage()
    left, middle, right = (
        image.pixelColor(int(part * (image.width() - 1)), image.height() // 2)
        for part in (0.02, 0.5, 0.98)
    )

    assert left.blue() > left.red() + 100
    assert right.red() > right.blue() + 100
    assert max(middle.red(), middle.green(), middle.blue()) < 10
    assert "−8" in legend.numbers.text()
    assert "+8" in legend.numbers.text()
