from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels
from qtpy.QtCore import Qt

pytestmark = pytest.mark.viewer

Open = Callable[..., Any]
VERTICAL = Qt.Orientation.Vertical
SAID = {"axes": "vyx", "ages": [60, 61, 62, 63, 65], "is_observed": [1, 1, 0, 0, 1]}


def image(data: np.ndarray, **said: Any) -> Image:
    return Image(data, name="scan", metadata={"followup": said})


def states(widget: Any) -> list[str]:
    return [widget.plot.points.kind(visit) for visit in range(len(widget.plot.points.ages))]


def test_visits_of_the_active_layer_are_shown(open_widget: Open, gappy: np.ndarray) -> None:
    viewer, widget = open_widget("Timeline", image(gappy, **SAID))
    viewer.dims.set_current_step(0, 3)

    assert states(widget) == ["observed", "observed", "missing", "imputed", "observed"]
    assert widget.plot.points.ages.tolist() == SAID["ages"]
    assert widget.plot.current == 3
    assert widget.line.text() == "visit 4 of 5, age 63.0, imputed"


def test_a_click_and_the_arrow_keys_move_the_slider(
    open_widget: Open, gappy: np.ndarray, qtbot: Any
) -> None:
    from qtpy.QtCore import QPoint, Qt

    viewer, widget = open_widget("Timeline", image(gappy, **SAID))
    plot = widget.plot
    (x, y) = plot.points.place(plot.width(), plot.height())[4]
    qtbot.mouseClick(plot, Qt.MouseButton.LeftButton, pos=QPoint(round(x), round(y)))
    assert viewer.dims.current_step[0] == 4
    qtbot.keyClick(plot, Qt.Key.Key_Left)
    assert viewer.dims.current_step[0] == 3
    qtbot.keyClick(plot, Qt.Key.Key_Right)
    assert viewer.dims.current_step[0] == 4
    qtbot.keyClick(plot, Qt.Key.Key_Right)

    assert viewer.dims.current_step[0] == 4
    assert widget.plot.current == 4


def test_without_ages_visits_are_counted(open_widget: Open, gappy: np.ndarray) -> None:
    _, widget = open_widget("Timeline", Image(gappy, name="bare"))

    assert widget.plot.points.ages.tolist() == [0, 1, 2, 3, 4]
    assert not widget.plot.points.ages_known
    assert states(widget)[2] == "missing"
    assert widget.plot.points.describe(1) == "visit 2 of 5"


def test_the_subject_of_the_slider_is_shown(open_widget: Open) -> None:
    about = {"axes": "svyx", "ages": [[60, 61], [70, 75]], "subject": ["anna", "bert"]}
    viewer, widget = open_widget("Timeline", image(np.zeros((2, 2, 8, 8)), **about))
    viewer.dims.set_current_step(0, 0)
    viewer.dims.set_current_step(1, 0)
    assert widget.plot.points.ages.tolist() == [60, 61]
    viewer.dims.set_current_step(0, 1)

    assert widget.plot.points.ages.tolist() == [70, 75]
    assert widget.line.text() == "bert, visit 1 of 2, age 70.0"
    widget.go_to(1)
    assert viewer.dims.current_step[:2] == (1, 1)


def test_without_visits_there_is_a_hint(open_widget: Open, gappy: np.ndarray) -> None:
    viewer, widget = open_widget("Timeline")
    assert "Select an image series" in widget.line.text()
    assert widget.plot.isHidden()
    viewer.add_image(np.zeros((2, 3, 8, 8)), name="what")
    assert "'what': it is unknown which axis is the visit" in widget.line.text()
    viewer.add_points(np.zeros((2, 3)))
    assert widget.plot.points is None
    viewer.add_layer(image(gappy, **SAID))
    assert not widget.plot.isHidden()
    viewer.layers.clear()

    assert "Select an image series" in widget.line.text()


def test_other_images_in_the_same_layer_are_seen(open_widget: Open, gappy: np.ndarray) -> None:
    viewer, widget = open_widget("Timeline", image(gappy, **SAID))
    layer = viewer.layers[0]
    layer.data = gappy[:3]  # the metadata does not fit for a moment
    layer.metadata = {"followup": {"axes": "vyx", "ages": [1, 2, 3], "is_observed": [1, 1, 1]}}

    assert widget.plot.points.ages.tolist() == [1, 2, 3]
    assert states(widget) == ["observed"] * 3


def test_a_mask_has_a_timeline_too(open_widget: Open) -> None:
    about = {"axes": "vyx", "ages": [1, 2], "is_observed": [True, False], "result": "mask"}
    labels = Labels(np.zeros((2, 8, 8), np.uint8), metadata={"followup": about})
    _, widget = open_widget("Timeline", labels)

    assert states(widget) == ["observed", "missing"]
    assert widget.plot.points.ages.tolist() == [1, 2]


def test_no_visit_is_marked_where_the_slider_stands_beside_the_layer(
    open_widget: Open, gappy: np.ndarray
) -> None:
    first = Image(gappy, name="before", translate=(-5, 0, 0))
    viewer, widget = open_widget("Timeline", first, image(gappy, **SAID))
    viewer.dims.set_point(0, 0)
    assert widget.plot.current == 0
    viewer.dims.set_point(0, -1)
    assert widget.plot.current is None
    assert "no visit of 'scan'" in widget.line.text()
    assert not widget.plot.isHidden()
    widget.go_to(2)

    assert widget.plot.current == 2
    assert widget.line.text() == "visit 3 of 5, age 62.0, missing"


def test_the_timeline_leaves_the_height_to_its_neighbours(
    open_widget: Open, gappy: np.ndarray, qtbot: Any
) -> None:
    viewer, above = open_widget("Impute visits", image(gappy, **SAID))
    window = viewer.window
    dock, widget = window.add_plugin_dock_widget("napari-followup", "Timeline")
    window._qt_window.resize(1400, 950)
    window._qt_window.resizeDocks([above.parent(), dock], [1, 5], VERTICAL)
    qtbot.wait(50)

    assert widget.maximumHeight() <= 240
    assert widget.height() <= widget.maximumHeight()
    assert widget.sizeHint().height() <= widget.maximumHeight()
