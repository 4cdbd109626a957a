from __future__ import annotations

import gc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtWidgets import QWidget

from napari_followup.plugin.layers.visit_text import VisitText, visit_line


def shown(images: np.ndarray, visit: int, **said: Any) -> str:
    """Text of a viewer without a window, at a visit of a layer."""
    viewer = ViewerModel()
    viewer.add_image(images, metadata={"followup": {"axes": "vyx", **said}})
    canvas = SimpleNamespace(overlays=SimpleNamespace(text=SimpleNamespace(text="")))
    watched = Watched(viewer, canvas)
    text = VisitText(watched)
    viewer.dims.set_current_step(0, visit)
    assert text is not None
    return str(canvas.overlays.text.text)


class Watched:
    """The parts of a viewer that the text asks for."""

    def __init__(self, viewer: Any, canvas: Any) -> None:
        self.dims, self.layers, self.canvas = viewer.dims, viewer.layers, canvas


def test_a_visit_is_said_with_its_age() -> None:
    assert visit_line({"ages": [60, 61.24]}, {"v": 1}, 2) == "visit 2 of 2, age 61.2"


def test_ages_that_were_made_up_are_not_said() -> None:
    said = {"ages": [0, 1], "ages_known": False}

    assert visit_line(said, {"v": 1}, 2) == "visit 2 of 2"
    assert visit_line({"ages": None}, {"v": 1}, 2) == "visit 2 of 2"


@pytest.mark.parametrize("kind", ["imputed", "missing", "not observed"])
def test_a_visit_that_was_not_observed_is_said(kind: str) -> None:
    said = {"ages": [60, 61], "is_observed": [True, False]}

    assert visit_line(said, {"v": 1}, 2, kind) == f"visit 2 of 2, age 61.0, {kind}"


def test_a_subject_of_a_cohort_is_named_with_its_own_age() -> None:
    said = {
        "ages": [[60, 61], [70, 71]],
        "is_observed": [[True, True], [True, False]],
        "subject": ["anna", "bert"],
    }

    assert visit_line(said, {"s": 1, "v": 0}, 2) == "bert, visit 1 of 2, age 70.0"
    assert visit_line(said, {"s": 1, "v": 1}, 2) == "bert, visit 2 of 2, age 71.0"


def test_a_cohort_can_share_its_ages() -> None:
    assert visit_line({"ages": [60, 61]}, {"s": 1, "v": 0}, 2) == "visit 1 of 2, age 60.0"


def test_the_text_tells_imputed_from_missing(gappy: np.ndarray) -> None:
    said = {"ages": [60, 61, 62, 63, 65], "is_observed": [True, True, False, False, True]}

    assert shown(gappy, 1, **said) == "visit 2 of 5, age 61.0"
    assert shown(gappy, 2, **said) == "visit 3 of 5, age 62.0, missing"
    assert shown(gappy, 3, **said) == "visit 4 of 5, age 63.0, imputed"
    marks = [False, False, True, False, False]
    assert shown(gappy, 2, **said, is_imputed=marks) == "visit 3 of 5, age 62.0, imputed"


def test_fewer_ages_than_visits_are_not_said(gappy: np.ndarray) -> None:
    assert shown(gappy, 4, ages=[60, 61]) == "visit 5 of 5"


def test_a_visit_by_itself_has_no_number() -> None:
    assert visit_line({"ages": [61.2]}, {"v": 0}, 1) == "age 61.2"
    assert visit_line({"ages": None}, {"v": 0}, 1) == ""


def test_visits_in_layers_of_their_own_are_told_by_the_one_that_is_shown() -> None:
    viewer = ViewerModel()
    for number, age in enumerate((61.2, 62.4)):
        about = {"axes": "vyx", "ages": [age]}
        viewer.add_image(np.ones((1, 4, 4)), translate=(number, 0, 0), metadata={"followup": about})
    canvas = SimpleNamespace(overlays=SimpleNamespace(text=SimpleNamespace(text="")))
    watched = Watched(viewer, canvas)
    text = VisitText(watched)

    told = []
    for visit in (0, 1):
        viewer.dims.set_point(0, visit)
        text.refresh()
        told.append(canvas.overlays.text.text)

    assert told == ["age 61.2", "age 62.4"]


def test_the_line_of_a_widget_that_has_gone_is_taken_over() -> None:
    viewer = ViewerModel()
    viewer.add_image(np.ones((2, 4, 4)), metadata={"followup": {"axes": "vyx", "ages": [60, 61]}})
    overlay = SimpleNamespace(text="bert, visit 1 of 2, age 70.0")
    watched = Watched(viewer, SimpleNamespace(overlays=SimpleNamespace(text=overlay)))

    text = VisitText(watched)
    text.refresh()

    assert overlay.text.endswith(("visit 1 of 2, age 60.0", "visit 2 of 2, age 61.0"))
    assert "bert" not in overlay.text


@pytest.mark.viewer
def test_the_line_goes_with_its_widget(make_napari_viewer: Any, qtbot: Any) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(np.ones((2, 4, 4)), metadata={"followup": {"axes": "vyx", "ages": [60, 61]}})
    widget = QWidget()
    widget.text = VisitText(viewer)
    widget.text.follow(widget)
    assert viewer.canvas.overlays.text.text

    widget.deleteLater()
    del widget

    qtbot.waitUntil(lambda: not viewer.canvas.overlays.text.text)


def series(**said: Any) -> Image:
    about = {"axes": "vyx", "ages": [60, 61], **said}
    return Image(np.ones((2, 4, 4)), metadata={"followup": about})


@pytest.mark.viewer
def test_the_line_goes_with_a_dock_that_python_collects_late(
    open_widget: Callable[..., Any], qtbot: Any
) -> None:
    viewer, widget = open_widget("Compare visits", series())
    overlay = viewer.canvas.overlays.text
    viewer.dims.set_current_step(0, 0)
    assert overlay.text == "visit 1 of 2, age 60.0"
    viewer.window.remove_dock_widget(widget)
    del widget
    qtbot.wait(10)
    gc.collect()
    qtbot.waitUntil(lambda: not overlay.text)
    viewer.dims.set_current_step(0, 1)
    assert overlay.text == ""
    viewer.window.add_plugin_dock_widget("napari-followup", "Align visits")

    assert overlay.text == "visit 2 of 2, age 61.0"


@pytest.mark.viewer
def test_the_line_stays_while_another_widget_wants_it(make_napari_viewer: Any, qtbot: Any) -> None:
    viewer = make_napari_viewer()
    viewer.add_layer(series())
    viewer.dims.set_current_step(0, 1)
    first, second = QWidget(), QWidget()
    for widget in (first, second):
        VisitText(viewer).follow(widget)
    with qtbot.waitSignal(first.destroyed):
        first.deleteLater()
    assert viewer.canvas.overlays.text.text == "visit 2 of 2, age 61.0"
    with qtbot.waitSignal(second.destroyed):
        second.deleteLater()

    qtbot.waitUntil(lambda: not viewer.canvas.overlays.text.text)


def test_layers_without_visits_are_passed_over() -> None:
    viewer = ViewerModel()
    viewer.add_layer(series())
    beside = Image(np.ones((2, 4, 4)), translate=(5, 0, 0), metadata={"followup": {"axes": "vyx"}})
    for metadata in ({"ages": [1]}, {"axes": "zyx"}, {"axes": "vzyx"}):
        viewer.add_image(np.ones((9, 4, 4)), metadata={"followup": metadata})
    viewer.add_layer(beside)
    canvas = SimpleNamespace(overlays=SimpleNamespace(text=SimpleNamespace(text="")))
    watched = Watched(viewer, canvas)
    viewer.dims.set_point(0, 1)
    text = VisitText(watched)
    assert canvas.overlays.text.text == "visit 2 of 2, age 61.0"
    viewer.dims.set_point(0, 3)
    text.refresh()

    assert canvas.overlays.text.text == ""
