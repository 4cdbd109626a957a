from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.layers import Image

from napari_followup.recipe.recipe import Fam, Lafm

pytestmark = pytest.mark.viewer

Open = Callable[..., Any]
CHAIN = ["Reconstruct (SDM)", "Feature attention (FAM)", "Longitudinal fusion (LAFM)"]


def finish(qtbot: Any, widget: Any, start: Callable[[], Any] | None = None) -> None:
    with qtbot.waitSignal(widget.step.finished, timeout=60_000):
        (start or widget.step.run)()


def test_the_steps_are_chained_by_hand(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    about = {"axes": "vyx", "ages": [1, 2, 3, 4]}
    image = Image(series, name="scan", scale=(1, 2, 2), metadata={"followup": about})
    for name, layers in zip(CHAIN, ([image], [], []), strict=True):
        viewer, widget = open_widget(name, *layers)
        finish(qtbot, widget, widget.step.button.click)
        assert widget.step.error == ""

    names = ["scan", "scan healthy", "scan pixel", "scan fam", "scan fam fused"]
    assert [layer.name for layer in viewer.layers] == names
    assert all(layer.scale.tolist() == [1, 2, 2] for layer in viewer.layers)
    assert [layer.name for layer in widget.step.layers] == names[-1:]


def test_notes_of_a_step_are_said(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    _, widget = open_widget(CHAIN[0], Image(series, name="scan"))
    doors.notes = ["ages were made up"]
    finish(qtbot, widget)

    assert widget.step.job.status.text().splitlines() == ["made 'scan healthy'", *doors.notes]


def test_the_real_steps_are_chained_by_hand(
    open_widget: Open, kept: SimpleNamespace, tiny_model: Path, series: np.ndarray, qtbot: Any
) -> None:
    kept.model = str(tiny_model)
    viewer, reconstruct = open_widget(CHAIN[0], Image(series, name="scan"))
    reconstruct["options"].value = {"sampling_steps": 2, "draws": 1}
    finish(qtbot, reconstruct)
    _, score = open_widget(CHAIN[1])
    score.score.value = Fam(levels=(1, 2))
    finish(qtbot, score)
    _, fuse = open_widget(CHAIN[2])
    fuse.fusion.value = Lafm(sigma=0.0)
    finish(qtbot, fuse)

    assert [reconstruct.step.error, score.step.error, fuse.step.error] == ["", "", ""]
    assert viewer.layers[-1].name == "scan fam fused"


@pytest.mark.parametrize("name", CHAIN)
def test_without_layers_every_step_says_what_it_needs(
    open_widget: Open, doors: Any, qtbot: Any, name: str
) -> None:
    _, widget = open_widget(name)
    finish(qtbot, widget)

    assert "there is no image layer" in widget.step.error


def test_fam_asks_for_healthy_images_of_the_series(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(
        CHAIN[1], Image(series[:2], name="other"), Image(series, name="scan")
    )
    widget.image.value = viewer.layers["scan"]
    widget.healthy.value = viewer.layers["other"]
    finish(qtbot, widget)

    assert "choose the healthy images of this series" in widget.step.error


def test_a_step_can_be_stopped(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(CHAIN[0], Image(series))
    doors.steps, doors.pause = 10_000, 0.01
    widget.step.run()
    qtbot.waitUntil(lambda: widget.step.job.bar.value() > 0)
    finish(qtbot, widget, widget.step.stop)

    assert len(viewer.layers) == 1
    assert widget.step.button.isEnabled()


def test_a_layer_removed_in_mid_run_ends_the_step(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(CHAIN[0], Image(series, name="scan"))
    doors.steps, doors.pause = 10_000, 0.01
    widget.step.run()
    qtbot.waitUntil(lambda: widget.step.job.bar.value() > 0)
    finish(qtbot, widget, lambda: viewer.layers.remove("scan"))

    assert "'scan' was removed" in widget.step.error


def test_a_step_is_a_function_in_a_script_too(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    _, widget = open_widget(CHAIN[0], Image(series, name="scan"))
    widget.seed.value = 3
    widget["options"].value = {"draws": 2}
    ((data, attributes, kind),) = widget()

    assert (data.shape, attributes["name"], kind) == (series.shape, "scan healthy", "image")
    assert (doors.calls[0]["seed"], doors.calls[0]["options"]) == (3, {"draws": 2})
    assert widget.seed.tooltip.startswith("Source of all noise")


def test_a_second_run_adds_layers_where_that_is_chosen(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(CHAIN[0], Image(series, name="scan"))
    for update in (True, True, False):
        widget.then.value = update
        finish(qtbot, widget)

    assert [layer.name for layer in viewer.layers] == ["scan", "scan healthy", "scan healthy [1]"]


def test_a_step_lists_the_layers_of_the_viewer_that_it_is_docked_in(
    make_napari_viewer: Callable[[], Any], kept: SimpleNamespace, series: np.ndarray, qtbot: Any
) -> None:
    first, second = make_napari_viewer(), make_napari_viewer()
    first.add_image(series, name="mine")
    second.add_image(series, name="other")
    _, widget = first.window.add_plugin_dock_widget("napari-followup", CHAIN[2])

    assert widget.image.native.layer is first.layers["mine"]
    assert widget.image.native.layers.count() == 1
