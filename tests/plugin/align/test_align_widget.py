from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_followup.plugin.align import align_widget
from napari_followup.series.results import Cancelled
from napari_followup.series.stack import VisitStack

pytestmark = pytest.mark.viewer

Open = Callable[..., Any]
NAME = "Align visits"


class Registration:
    """Stands in for `align`: puts visits onto the first one's grid by cutting or padding."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.started, self.wait = threading.Event(), False

    def __call__(self, stacks: Any, **settings: Any) -> VisitStack:
        self.asked.append({"stacks": stacks, **settings})
        self.started.set()
        while self.wait:
            if settings["on_step"](0, 3) is False:
                raise Cancelled("stopped")
        first = stacks[0]
        images = np.zeros((0, *first.shape[1:]), np.float32)
        for stack in stacks:
            part = np.zeros((stack.n_visits, *first.shape[1:]), np.float32)
            size = tuple(map(min, part.shape, stack.shape))
            where = tuple(map(slice, size))
            part[where] = stack.images[where]
            images = np.concatenate([images, part])
        ages = np.concatenate([stack.ages for stack in stacks])
        seen = np.ones(len(images), bool)
        return first.with_images(images, ages=ages, is_observed=seen)


@pytest.fixture
def registration(monkeypatch: pytest.MonkeyPatch) -> Registration:

    fake = Registration()
    monkeypatch.setattr("napari_followup.alignment.align.align", fake)
    monkeypatch.setattr(align_widget, "has_simpleitk", lambda: True)
    return fake


def visit(age: float, size: int = 12, **said: Any) -> Image:
    images = np.zeros((1, 4, size, size), np.float32)
    images[0, 1:3, 3:9, 4:8] = 50.0 + age
    about = {"axes": "vzyx", "subject": "p", "modality": "image", "ages": [age], **said}
    return Image(images, name=f"p, age {age:g}", metadata={"followup": about})


def series(**said: Any) -> Image:
    images = np.concatenate([visit(age).data for age in (60.0, 61.0)])
    about = {"axes": "vzyx", "subject": "p", "ages": [60.0, 61.0], **said}
    return Image(images, name="scan", metadata={"followup": about})


def finish(qtbot: Any, widget: Any, start: Callable[[], Any] | None = None) -> None:
    with qtbot.waitSignal(widget.step.finished, timeout=60_000):
        (start or widget.step.run)()


def test_layers_of_one_visit_are_taken_together_by_themselves(
    open_widget: Open, registration: Registration, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, visit(60.0), visit(61.2, 16))

    assert not widget.visits.in_one_layer
    assert widget.visits.found.text() == "2 visits, ages 60.0 to 61.2 years"
    combo = widget.form.controls["reference"].native
    choices = [combo.itemText(number) for number in range(combo.count())]
    assert choices == ["the first visit", "visit 1, age 60", "visit 2, age 61.2"]
    finish(qtbot, widget, widget.step.button.click)

    assert widget.step.error == ""
    assert [layer.name for layer in widget.step.layers] == ["p aligned"]
    assert widget.step.layers[0].data.shape == (2, 4, 12, 12)
    assert [layer.visible for layer in viewer.layers] == [False, False, True]
    assert viewer.layers.selection.active is widget.step.layers[0]
    assert viewer.canvas.overlays.text.text.startswith("visit")


def test_one_layer_can_hold_all_visits(
    open_widget: Open, registration: Registration, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, series())
    before = viewer.layers[0].data.copy()

    finish(qtbot, widget)

    assert widget.visits.in_one_layer
    assert [layer.name for layer in viewer.layers] == ["scan", "scan aligned"]
    np.testing.assert_array_equal(viewer.layers[0].data, before)


def test_the_controls_give_the_arguments_of_the_function(
    open_widget: Open, registration: Registration
) -> None:
    _, widget = open_widget(NAME, series())
    controls = widget.form.controls
    controls["reference"].value = 1
    controls["spacing"].value = 0.5
    controls["even_shading"].value = True
    widget.form.mask_combo.setCurrentText("brain (simple)")
    controls["blank_outside"].value = False
    controls["percentile"].value = 95
    controls["margin"].value = 3
    controls["interpolation"].value = "cubic"
    controls["seed"].value = 4

    assert widget.form.settings == {
        "register": True,
        "reference": 1,
        "modality": 0,
        "spacing": 0.5,
        "even_shading": True,
        "mask": "brain",
        "blank_outside": False,
        "percentile": 95,
        "margin": 3,
        "interpolation": "cubic",
        "seed": 4,
    }


def test_a_second_run_fills_the_same_layers_on_another_grid(
    open_widget: Open, registration: Registration, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, series())
    finish(qtbot, widget)
    widget.form.controls["margin"].value = 0.0
    finish(qtbot, widget)

    assert [layer.name for layer in viewer.layers] == ["scan", "scan aligned"]
    assert viewer.layers[1].data.shape == (2, 2, 6, 4)
    assert viewer.layers[1].translate.tolist() == [0, 1, 3, 4]
    widget.form.mode.setCurrentText("add new layers")
    finish(qtbot, widget)
    assert len(viewer.layers) == 3


def test_a_labels_layer_can_be_the_mask(
    open_widget: Open, registration: Registration, qtbot: Any
) -> None:
    marks = np.zeros((4, 12, 12), np.uint8)
    marks[1, 3:5, 4:8] = 1
    viewer, widget = open_widget(NAME, series(), Labels(marks, name="marks"))
    widget.form.mask_combo.layer = viewer.layers["marks"]
    finish(qtbot, widget)

    image, labels = widget.step.layers
    assert image.data[0].sum() == 110 * 8
    assert (labels.name, labels.data.sum()) == ("scan brain mask", 8)


def test_a_stop_adds_nothing(open_widget: Open, registration: Registration, qtbot: Any) -> None:
    viewer, widget = open_widget(NAME, series())
    registration.wait = True
    widget.step.run()
    assert registration.started.wait(20)
    finish(qtbot, widget, widget.step.stop)

    assert len(viewer.layers) == 1
    assert widget.step.error.startswith("Stopped")


def test_a_layer_of_the_run_that_is_removed_ends_it(
    open_widget: Open, registration: Registration, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, visit(60.0), visit(61.0), Image(np.ones((4, 4)), name="x"))
    registration.wait = True
    widget.step.run()
    assert registration.started.wait(20)
    viewer.layers.remove("x")
    assert widget.step.job.is_running
    finish(qtbot, widget, lambda: viewer.layers.remove("p, age 61"))

    assert "'p, age 61' was removed" in widget.step.error
    assert len(viewer.layers) == 1


def test_one_visit_is_not_enough(open_widget: Open, registration: Registration, qtbot: Any) -> None:
    _, widget = open_widget(NAME, visit(60.0))
    finish(qtbot, widget)

    assert "there is one visit only" in widget.step.error
    widget.visits.mode.setCurrentIndex(1)
    widget.visits.others.layers = []
    finish(qtbot, widget)
    assert "no layer is chosen" in widget.step.error


def test_bare_images_can_be_checked_and_get_ages(
    open_widget: Open, registration: Registration, qtbot: Any
) -> None:
    bare = [Image(np.random.default_rng(n).random((4, 8, 8)), name=f"bare {n}") for n in (1, 2)]
    viewer, widget = open_widget(NAME, *bare)
    widget.visits.mode.setCurrentIndex(1)
    widget.visits.others.layers = list(viewer.layers)
    widget.visits.ages_edit.setText("51, 50")
    finish(qtbot, widget)

    assert widget.step.error == ""
    assert widget.step.layers[0].name == "bare 2 aligned"
    assert [stack.ages.tolist() for stack in registration.asked[0]["stacks"]] == [[51.0], [50.0]]


def test_without_simpleitk_the_widget_says_so_before_the_click(
    open_widget: Open, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    _, widget = open_widget(NAME, series())

    assert 'pip install "napari-followup[mri]"' in widget.form.missing.text()
    assert not widget.form.missing.isHidden()
    assert not widget.form.controls["register"].enabled
    assert not widget.form.settings["register"]
    widget.form.controls["margin"].value = 5.0
    finish(qtbot, widget)
    assert [layer.name for layer in widget.step.layers] == ["scan aligned"]
    widget.form.controls["even_shading"].value = True
    finish(qtbot, widget)
    assert 'pip install "napari-followup[mri]"' in widget.step.error


def test_other_modalities_of_the_series_are_offered(
    open_widget: Open, registration: Registration, qtbot: Any
) -> None:
    other = series(modality="T2")
    other.name = "scan T2"
    _, widget = open_widget(NAME, other, series(modality="T1"))

    assert [layer.name for layer in widget.visits.others.layers] == ["scan T2"]
    finish(qtbot, widget)
    assert [layer.name for layer in widget.step.layers] == ["scan aligned", "scan T2 aligned"]
