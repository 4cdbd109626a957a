from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtWidgets import QScrollArea

from napari_followup.methods import method_recipe
from napari_followup.plugin.forms.preferences import RunSettings
from napari_followup.recipe.recipe import Lafm, Recipe, Yen
from napari_followup.series.plane_selection import Slicing

pytestmark = pytest.mark.viewer

NAME = "Detect anomalies"
Open = Callable[..., Any]


def image_of(data: np.ndarray, **more: Any) -> Image:
    """A layer with a place in the world, and ages."""
    about = {"axes": "vyx", "ages": [61, 62, 63, 64.5]}
    placed = {"scale": (1, 0.5, 0.5), "translate": (0, 3, 4), "units": ("pixel", "mm", "mm")}
    labels = {"axis_labels": ("visit", "y", "x"), "metadata": {"followup": about}}
    return Image(data, name="scan", **(placed | labels | more))


def finish(qtbot: Any, widget: Any, start: Callable[[], Any] | None = None) -> None:
    with qtbot.waitSignal(widget.finished, timeout=60_000):
        (start or widget.run)()


def test_a_click_brings_layers_that_lie_on_the_image(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, image_of(series))
    finish(qtbot, widget, widget.button.click)

    names = [layer.name for layer in viewer.layers]
    assert names == ["scan", "scan healthy", "scan score", "scan mask"]
    source = viewer.layers["scan"]
    for layer in list(viewer.layers)[1:]:
        assert layer.data.shape == series.shape
        assert layer.scale.tolist() == [1, 0.5, 0.5]
        assert layer.translate.tolist() == [0, 3, 4]
        assert layer.units == source.units
        assert layer.axis_labels == ("visit", "y", "x")
        provenance = layer.metadata["followup"]["provenance"]
        assert provenance["recipe"] == Recipe.default().as_dict()
        assert json.dumps(provenance)
    assert widget.error == ""
    assert widget.detection.image_score.shape == (4,)
    assert widget.results.verdict.text() == "scan: anomalies flagged at 1 of 4 visits"
    assert widget.job.status.text() == ""
    assert source.data is series


def test_the_work_is_done_in_another_thread(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    import threading

    _, widget = open_widget(NAME, image_of(series))
    finish(qtbot, widget)

    assert doors.threads
    assert threading.get_ident() not in doors.threads


def test_the_real_door_answers_a_click(
    open_widget: Open, tiny_model: Path, series: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, image_of(series))
    widget.model = str(tiny_model)
    widget.recipe = Recipe(options={"noise_levels": (250,), "draws": 1, "sampling_steps": 2})
    finish(qtbot, widget, widget.button.click)

    assert widget.error == ""
    assert len(viewer.layers) == 4
    assert "no healthy scores" in widget.results.notes.text()


def test_stop_ends_a_run_within_a_second_and_adds_nothing(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    from qtpy.QtCore import QThreadPool

    viewer, widget = open_widget(NAME, image_of(series))
    doors.steps, doors.pause = 10_000, 0.01
    widget.run()
    qtbot.waitUntil(lambda: widget.job.bar.value() > 0)

    begun = time.monotonic()
    finish(qtbot, widget, widget.job.stop_button.click)
    assert QThreadPool.globalInstance().waitForDone(1000)

    assert time.monotonic() - begun < 1
    assert len(viewer.layers) == 1
    assert widget.error == "Stopped; nothing was added."
    assert widget.button.isEnabled()
    assert not widget.job.is_running


@pytest.mark.parametrize("moment", [0, 0.02, 0.1])
def test_stop_works_at_any_moment_and_the_next_run_is_whole(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any, moment: float
) -> None:
    viewer, widget = open_widget(NAME, image_of(series))
    doors.pause = 0.05
    widget.run()
    qtbot.wait(int(1000 * moment))
    widget.stop()
    finish(qtbot, widget)

    assert widget.error == ""
    assert len(viewer.layers) == 4


def test_stop_before_anything_runs_does_nothing(open_widget: Open, doors: Any) -> None:
    _, widget = open_widget(NAME)
    widget.stop()

    assert widget.detection is None


def test_progress_is_shown_in_the_widget_and_in_the_activity_dock(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    from napari.utils import progress

    _, widget = open_widget(NAME, image_of(series))
    doors.steps, doors.pause = 30, 0.02
    widget.run()
    qtbot.waitUntil(lambda: widget.job.bar.value() > 3)

    assert widget.job.status.text() == "Detecting"
    assert widget.job.bar.maximum() == 30
    (bar,) = progress._all_instances
    assert (bar.total, bar.n) == (30, widget.job.bar.value())
    assert not widget.button.isEnabled()
    finish(qtbot, widget, lambda: None)
    assert not progress._all_instances
    assert widget.button.isEnabled()


def test_a_layer_removed_in_mid_run_ends_it_quietly(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, image_of(series))
    doors.steps, doors.pause = 1000, 0.01
    widget.run()
    qtbot.waitUntil(lambda: widget.job.bar.value() > 0)
    finish(qtbot, widget, lambda: viewer.layers.remove("scan"))

    assert "'scan' was removed" in widget.error
    assert len(viewer.layers) == 0


def test_another_layer_removed_in_mid_run_changes_nothing(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, Image(series, name="other"), image_of(series))
    widget.layer = viewer.layers["scan"]
    doors.steps, doors.pause = 20, 0.01
    widget.run()
    qtbot.waitUntil(lambda: widget.job.bar.value() > 0)
    finish(qtbot, widget, lambda: viewer.layers.remove("other"))

    assert "scan mask" in viewer.layers


def test_the_widget_closed_in_mid_run_ends_it_quietly(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    from napari.utils import progress
    from qtpy.QtCore import QThreadPool

    viewer, widget = open_widget(NAME, image_of(series))
    doors.steps, doors.pause = 10_000, 0.01
    widget.run()
    qtbot.waitUntil(lambda: widget.job.bar.value() > 0)
    viewer.window.remove_dock_widget("all")
    widget = None
    qtbot.wait(100)
    gc.collect()
    assert QThreadPool.globalInstance().waitForDone(1000)
    qtbot.wait(50)

    assert len(viewer.layers) == 1
    assert not progress._all_instances


def test_a_viewer_closed_in_mid_run_ends_it_quietly(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    _, widget = open_widget(NAME, image_of(series))
    doors.steps, doors.pause = 10_000, 0.01
    widget.run()
    qtbot.waitUntil(lambda: widget.job.bar.value() > 0)
    # the fixtures close the viewer now, then wait for the thread


def test_a_second_run_updates_the_results_and_keeps_their_colours(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, image_of(series))
    finish(qtbot, widget)
    viewer.layers["scan score"].colormap = "green"
    viewer.layers["scan healthy"].visible = True
    series[0, 10:14, 10:14] += 2.0
    finish(qtbot, widget)

    assert len(viewer.layers) == 4
    assert viewer.layers["scan score"].colormap.name == "green"
    assert viewer.layers["scan healthy"].visible
    assert viewer.layers["scan mask"].data[0].any()


def test_a_second_run_adds_layers_where_that_is_wished(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, image_of(series))
    widget.settings.widgets["update_existing"].value = False
    widget.settings.widgets["layers"].value = ("mask",)
    finish(qtbot, widget)
    finish(qtbot, widget)

    assert [layer.name for layer in viewer.layers] == ["scan", "scan mask", "scan mask [1]"]


def test_a_users_layer_of_the_same_name_is_never_overwritten(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    mine = Image(np.zeros_like(series), name="scan score")
    viewer, widget = open_widget(NAME, image_of(series), mine)
    widget.layer = viewer.layers["scan"]
    finish(qtbot, widget)

    assert not mine.data.any()
    assert "scan score [1]" in viewer.layers


def test_the_threshold_slider_segments_the_finished_score_at_once(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, image_of(series))
    finish(qtbot, widget)
    mask, score = viewer.layers["scan mask"], viewer.layers["scan score"]
    before = mask.data.copy()
    widget.results.threshold.slider.setValue(0.0)

    assert mask.data.all()
    assert widget.detection.threshold == 0
    assert mask.metadata["followup"]["provenance"]["threshold"] == 0
    widget.results.threshold.slider.setValue(1.25)
    np.testing.assert_array_equal(mask.data, score.data >= widget.detection.threshold)
    assert len(doors.calls) == 1
    widget.results.threshold.back.click()
    np.testing.assert_array_equal(mask.data, before)
    assert widget.detection.threshold == 0.5


def test_the_verdict_follows_the_threshold_slider(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    _, widget = open_widget(NAME, image_of(series))
    finish(qtbot, widget)
    results = widget.results
    results.threshold.slider.setValue(0.0)
    by_hand = "; the threshold was set by hand"
    assert results.verdict.text() == f"scan: anomalies flagged at 4 of 4 visits{by_hand}"
    assert results.plot.points.is_flagged.tolist() == [True] * 4
    assert results.plot.points.threshold == 0

    results.threshold.back.click()
    assert results.verdict.text() == "scan: anomalies flagged at 1 of 4 visits"
    assert results.plot.points.is_flagged.tolist() == [False, False, False, True]
    assert results.plot.points.threshold == 0.5


def test_results_are_shown_only_beside_their_series(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, Image(series, name="other"), image_of(series))
    widget.layer = viewer.layers["scan"]
    finish(qtbot, widget)
    assert not widget.results.isHidden()
    widget.layer = viewer.layers["other"]
    assert widget.results.isHidden()
    widget.layer = viewer.layers["scan"]
    assert not widget.results.isHidden()
    viewer.layers.remove("scan mask")
    assert widget.results.isHidden()


def test_a_run_whose_series_is_no_longer_chosen_names_it(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, Image(series, name="other"), image_of(series))
    widget.layer = viewer.layers["scan"]
    doors.pause = 0.05
    widget.run()
    widget.layer = viewer.layers["other"]
    finish(qtbot, widget, lambda: None)
    assert widget.results.isHidden()
    assert widget.job.status.text() == "scan: anomalies flagged at 1 of 4 visits"

    widget.layer = viewer.layers["scan"]
    assert not widget.results.isHidden()
    assert widget.job.status.text() == ""


def test_results_are_hidden_while_the_next_ones_are_made(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    _, widget = open_widget(NAME, image_of(series))
    finish(qtbot, widget)
    doors.steps, doors.pause = 10_000, 0.01
    widget.run()
    assert widget.results.isHidden()
    finish(qtbot, widget, widget.stop)

    assert not widget.results.isHidden()  # the layers of the run before are still there


def test_a_subject_without_a_result_has_no_timeline(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    about = {"axes": "svyx"}
    cohort = np.stack([series, np.full_like(series, np.nan)])
    viewer, widget = open_widget(NAME, Image(cohort, name="many", metadata={"followup": about}))
    finish(qtbot, widget)
    viewer.dims.set_current_step(0, 1)

    assert widget.detection is None
    assert widget.results.plot.points is None
    assert not widget.results.threshold.isEnabled()
    assert "subject-0001 was left out" in widget.results.notes.text()


def test_notes_stand_under_the_verdict_and_wrap(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    _, widget = open_widget(NAME, image_of(series))
    doors.notes = ["the images are unlike those of the training", "ages were made up"]
    finish(qtbot, widget)
    notes = widget.results.notes

    assert notes.text().splitlines() == doors.notes
    assert notes.wordWrap()
    assert not notes.isHidden()
    doors.notes = []
    finish(qtbot, widget)
    assert notes.isHidden()


def test_a_floor_is_said_and_drawn_until_the_slider_moves(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    _, widget = open_widget(NAME, image_of(series))
    doors.floor = 0.75
    finish(qtbot, widget)
    results = widget.results
    assert results.threshold.floor.text() == "a region must reach 0.75"
    assert not results.threshold.floor.isHidden()
    assert results.plot.points.threshold == 0.75

    results.threshold.slider.setValue(0.25)
    assert results.threshold.floor.isHidden()
    assert results.plot.points.threshold == pytest.approx(0.25, abs=0.01)


def test_a_rescaled_score_has_no_line_in_the_plot(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    _, widget = open_widget(NAME, image_of(series))
    widget.recipe = Recipe(rescale=True, floor=0.9)
    doors.floor = 0.75
    finish(qtbot, widget)

    assert widget.results.plot.points.threshold is None
    assert widget.results.threshold.floor.text() == "a pixel must reach 0.75"


def test_the_threshold_slider_outlives_its_mask(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, image_of(series))
    finish(qtbot, widget)
    viewer.layers.clear()
    widget.results.threshold.slider.setValue(0.1)
    widget.results.plot.visit_clicked.emit(1)

    assert widget.detection.threshold == pytest.approx(0.1, abs=0.01)


def test_a_click_on_the_timeline_goes_to_the_visit(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, image_of(series))
    finish(qtbot, widget)
    plot = widget.results.plot
    assert plot.points.ages.tolist() == [61, 62, 63, 64.5]
    plot.visit_clicked.emit(2)

    assert viewer.dims.current_step[0] == 2
    assert plot.current == 2


def test_a_bare_layer_of_four_axes_is_asked_about(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, Image(np.stack([series, series[::-1]]), name="many"))
    finish(qtbot, widget)
    assert "does not say what its 4 axes are" in widget.error
    assert not widget.series.axes_combo.isHidden()

    widget.axes = "svyx"
    finish(qtbot, widget)
    assert widget.error == ""
    assert viewer.layers["many mask"].data.shape == (2, 4, 16, 16)
    assert viewer.layers["many mask"].axis_labels == ("subject", "visit", "y", "x")
    assert len(widget.detections) == 2
    viewer.dims.set_current_step(0, 1)
    assert widget.detection is widget.detections[1]
    assert widget.results.plot.points.values.argmax() == 0


def test_a_layer_that_says_its_axes_is_not_asked_about(
    open_widget: Open, doors: Any, series: np.ndarray
) -> None:
    _, widget = open_widget(NAME, image_of(series))

    assert widget.series.axes_combo.isHidden()
    assert widget.series.found.text() == "4 visits, ages 61.0 to 64.5 years"


def test_typed_ages_are_used(open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any) -> None:
    viewer, widget = open_widget(NAME, Image(series, name="scan"))
    assert "ages not known" in widget.series.found.text()
    widget.set_ages([70, 69, 68, 67])
    finish(qtbot, widget)

    assert doors.calls[0]["stack"].ages.tolist() == [67, 68, 69, 70]
    assert viewer.layers["scan mask"].metadata["followup"]["ages"] == [70, 69, 68, 67]
    assert viewer.layers["scan mask"].data[3].any()


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (lambda: Image(np.zeros((4, 8, 8, 3), np.uint8), rgb=True), "is in colour"),
        (lambda: Image(np.zeros((8, 8))), "has 2 axes"),
        (lambda: Image(np.full((3, 8, 8), np.nan), contrast_limits=(0, 1)), "no visit is observed"),
        (lambda: Image(np.full((3, 8, 8), np.inf), contrast_limits=(0, 1)), "infinite values"),
    ],
)
def test_bad_images_are_said_and_nothing_is_lost(
    open_widget: Open, doors: Any, qtbot: Any, layer: Callable[[], Image], said: str
) -> None:
    viewer, widget = open_widget(NAME, layer())
    finish(qtbot, widget)

    assert said in widget.error
    assert widget.job.status.text() == widget.error
    assert len(viewer.layers) == 1
    assert widget.button.isEnabled()


@pytest.mark.parametrize(
    ("ages", "said"), [("61, 62", "got 2 for the 4 visits"), ("61, x", "cannot read '61, x'")]
)
def test_bad_ages_are_said(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any, ages: str, said: str
) -> None:
    _, widget = open_widget(NAME, image_of(series))
    widget.series.ages_edit.setText(ages)
    finish(qtbot, widget)

    assert said in widget.error
    assert not doors.loaded  # said before the model is loaded


def test_no_layer_is_said(open_widget: Open, doors: Any, qtbot: Any) -> None:
    _, widget = open_widget(NAME)
    finish(qtbot, widget)

    assert "there is no image layer" in widget.error


@pytest.mark.parametrize("content", [b"", b"\x10\x00\x00\x00\x00\x00\x00\x00{", b"x" * 999])
def test_a_broken_model_file_is_said(
    open_widget: Open, series: np.ndarray, qtbot: Any, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    viewer, widget = open_widget(NAME, image_of(series))
    widget.model = str(path)
    finish(qtbot, widget)

    assert "broken.safetensors" in widget.error
    assert len(viewer.layers) == 1


def test_an_error_nobody_foresaw_is_said_and_the_last_result_stays(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, image_of(series))
    finish(qtbot, widget)
    before = widget.detection
    doors.error = ZeroDivisionError("by nothing")
    finish(qtbot, widget)

    assert "ZeroDivisionError: by nothing" in widget.error
    assert widget.detection is before
    assert len(viewer.layers) == 4


def test_constant_images_are_refused_and_said(
    open_widget: Open, tiny_model: Path, qtbot: Any
) -> None:
    images = np.full((3, 16, 16), 7.0)
    _, widget = open_widget(NAME, Image(images, name="scan", contrast_limits=(0, 8)))
    widget.model = str(tiny_model)
    finish(qtbot, widget)

    assert "the same value everywhere" in widget.error


def test_single_visits_are_examined(open_widget: Open, tiny_model: Path, qtbot: Any) -> None:
    images = np.random.default_rng(0).random((1, 16, 16))
    viewer, widget = open_widget(NAME, Image(images, name="scan"))
    widget.model = str(tiny_model)
    finish(qtbot, widget)

    assert widget.error == ""
    assert viewer.layers["scan mask"].data.shape == images.shape


def test_the_visit_is_said_in_the_canvas(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    viewer, _ = open_widget(NAME, image_of(series))
    overlay = viewer.canvas.overlays.text
    viewer.dims.set_current_step(0, 3)
    assert overlay.text == "visit 4 of 4, age 64.5"
    assert overlay.visible

    viewer.add_image(np.zeros((8, 8)), name="no series")
    assert overlay.text == ""
    assert not overlay.visible


def test_typed_ages_are_said_in_the_canvas(
    open_widget: Open, doors: Any, series: np.ndarray
) -> None:
    viewer, widget = open_widget(NAME, Image(series, name="bare"))
    viewer.dims.set_current_step(0, 2)
    assert viewer.canvas.overlays.text.text == "visit 3 of 4"
    widget.set_ages([70, 71, 72.5, 74])
    assert viewer.canvas.overlays.text.text == "visit 3 of 4, age 72.5"


def test_the_text_of_somebody_else_is_left_alone(
    open_widget: Open, doors: Any, series: np.ndarray
) -> None:
    viewer, _ = open_widget(NAME)
    viewer.canvas.overlays.text.text = "mine"
    viewer.add_layer(image_of(series))
    viewer.dims.set_current_step(0, 3)

    assert viewer.canvas.overlays.text.text == "mine"


def test_settings_are_remembered_and_can_be_reset(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any, kept: SimpleNamespace
) -> None:
    viewer, widget = open_widget(NAME, image_of(series))
    widget.settings.value = RunSettings(seed=7, layers=("mask",))
    widget.recipe = Recipe(fusion=Lafm(sigma=3.5), threshold=Yen())
    finish(qtbot, widget)
    assert (kept.seed, kept.layers) == (7, "mask")

    viewer.window.remove_dock_widget("all")
    _, again = open_widget(NAME)
    assert again is not widget
    assert again.recipe == widget.recipe
    assert again.preset.currentText() == "as set below"
    assert again.settings.value == RunSettings(seed=7, layers=("mask",))
    assert again.model == widget.model
    again.reset_button.click()
    assert again.recipe == Recipe.default()
    assert (kept.seed, kept.recipe, kept.layers) == (0, "", "healthy, score, mask")


def test_a_remembered_recipe_that_cannot_be_read_gives_the_default(
    open_widget: Open, doors: Any, kept: SimpleNamespace
) -> None:
    kept.recipe = '{"score": {"kind": "Magic"}}'
    _, widget = open_widget(NAME)

    assert widget.recipe == Recipe.default()


def test_presets_fill_the_form_and_the_form_names_the_preset(
    open_widget: Open, doors: Any, kept: SimpleNamespace
) -> None:
    kept.sampling_steps = 9
    _, widget = open_widget(NAME)
    assert widget.preset.currentText() == "default"
    assert widget.recipe.options["sampling_steps"] == 9

    widget.preset.setCurrentText("published")
    assert widget.recipe == Recipe.published()
    widget.form.widgets["median"].value = 3
    assert widget.preset.currentText() == "as set below"
    widget.form.widgets["median"].value = 5
    assert widget.preset.currentText() == "published"
    widget.form.options_form.widgets["noise_levels"].native.setText("none")
    widget.form.changed.emit()
    assert widget.preset.currentText() == "as set below"
    widget.preset.setCurrentText("default")
    assert widget.recipe.options["sampling_steps"] == 9


def test_a_script_opens_the_first_widget_without_its_name(open_widget: Open, doors: Any) -> None:
    viewer, widget = open_widget(None)

    assert type(widget).__name__ == "DetectWidget"
    assert viewer.window.dock_widgets["Detect anomalies (napari-followup)"] is widget


def test_opening_the_widget_loads_no_torch() -> None:
    script = """
import sys, napari
viewer = napari.Viewer(show=False)
viewer.window.add_plugin_dock_widget("napari-followup", "Detect anomalies")
print(sorted({"torch", "monai", "matplotlib", "lightning"} & set(sys.modules)))
viewer.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )

    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_planes_can_be_chosen_of_volumes_only(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, image_of(series))
    planes = widget.series.planes
    assert planes.isHidden()

    about = {"axes": "vzyx", "ages": [61, 62]}
    volume = Image(np.random.rand(2, 6, 8, 8), name="volume", metadata={"followup": about})
    viewer.add_layer(volume)
    widget.layer = volume
    assert not planes.isHidden()
    planes.first.setValue(2)
    planes.step.setValue(2)
    finish(qtbot, widget)

    assert widget.error == ""
    assert doors.calls[0]["planes"] == Slicing("z", 2, None, 2)
    widget.layer = viewer.layers["scan"]
    assert planes.isHidden()
    assert widget.series.slicing is None


def test_a_model_of_another_method_shows_its_options_and_finds_with_them(
    open_widget: Open, tiny_andi_model: Path, series: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, image_of(series))
    widget.model = str(tiny_andi_model)
    controls = widget.form.options_form.widgets
    assert list(controls) == ["first_step", "last_step", "stride", "noise", "mean", "floor"]
    assert widget.preset.currentText() == "default"
    assert widget.recipe == method_recipe("andi")
    controls["stride"].value = 50
    controls["mean"].value = "arithmetic"
    assert widget.preset.currentText() == "as set below"
    finish(qtbot, widget, widget.button.click)

    assert widget.error == ""
    assert [layer.name for layer in viewer.layers] == ["scan", "scan score", "scan mask"]
    provenance = viewer.layers["scan score"].metadata["followup"]["provenance"]
    assert provenance["method"] == "andi"
    assert provenance["recipe"]["options"] == {"stride": 50, "mean": "arithmetic"}


def test_models_of_several_methods_are_used_in_turn(
    open_widget: Open,
    tiny_model: Path,
    tiny_andi_model: Path,
    tiny_cddpm_model: Path,
    series: np.ndarray,
    qtbot: Any,
) -> None:
    viewer, widget = open_widget(NAME, image_of(series))
    used = []
    for model in (tiny_cddpm_model, tiny_andi_model, tiny_model, tiny_andi_model):
        widget.model = str(model)
        finish(qtbot, widget)
        assert widget.error == ""
        about = viewer.layers["scan score"].metadata["followup"]["provenance"]
        assert about["recipe_name"] == "default"
        used.append((about["method"], next(iter(about["recipe"]["options"]))))

    steps, levels = ("andi", "stride"), "noise_levels"
    assert used == [("cddpm", levels), steps, ("sdm", levels), steps]


def test_a_recipe_that_the_model_cannot_follow_is_refused_before_a_run(
    open_widget: Open, doors: Any, header_of: Callable[..., Path], series: np.ndarray, qtbot: Any
) -> None:
    _, widget = open_widget(NAME, image_of(series))
    widget.model = str(header_of("andi"))
    widget.recipe = Recipe()
    finish(qtbot, widget)

    assert "ANDi gives no healthy image to compare with" in widget.error
    assert widget.job.status.text() == widget.error
    assert not doors.loaded


def test_images_of_other_modalities_than_the_model_s_are_said_at_once_and_refused(
    open_widget: Open, doors: Any, header_of: Callable[..., Path], series: np.ndarray, qtbot: Any
) -> None:
    both = np.stack([series, series], axis=1)[:, :, None]
    viewer, widget = open_widget(NAME, Image(both, name="two"), image_of(series))
    widget.model = str(header_of("cddpm", config={"modalities": 1}))
    assert widget.job.status.text() == ""

    widget.layer = viewer.layers["two"]
    widget.axes = "vmzyx"

    assert "modalities: 'two' has 2, the model was trained on 1" in widget.job.status.text()
    finish(qtbot, widget)
    assert "choose a layer of that many, or another model" in widget.error
    assert not doors.loaded


def test_a_recipe_of_another_method_is_not_remembered_for_this_model(
    open_widget: Open, doors: Any, kept: SimpleNamespace, header_of: Callable[..., Path]
) -> None:
    kept.recipe = json.dumps(Recipe(options={"draws": 3}).as_dict())
    kept.model = str(header_of("disyre"))
    _, widget = open_widget(NAME)

    assert widget.recipe == method_recipe("disyre")
    assert "default recipe is used" in widget.recipes.note.text()
    assert not widget.recipes.note.isHidden()
    widget.model = str(header_of("sdm"))
    assert widget.recipe == Recipe.default()


def test_a_recipe_of_the_model_s_method_is_remembered(
    open_widget: Open, doors: Any, kept: SimpleNamespace, header_of: Callable[..., Path]
) -> None:
    mine = replace(method_recipe("andi"), options={"stride": 25})
    kept.recipe, kept.model = json.dumps(mine.as_dict()), str(header_of("andi"))
    _, widget = open_widget(NAME)

    assert widget.recipe == mine
    assert widget.preset.currentText() == "as set below"
    assert widget.remembered.recipe == kept.recipe
    widget.reset_button.click()
    assert widget.recipe == widget.recipes.facts.recipes["default"]


def test_results_go_when_the_next_run_fails(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    _, widget = open_widget(NAME, image_of(series))
    finish(qtbot, widget)
    doors.error = ValueError("the score is not finite")
    finish(qtbot, widget)
    assert widget.job.status.text() == "the score is not finite"
    assert widget.results.isHidden()

    doors.error = None
    finish(qtbot, widget)
    assert not widget.results.isHidden()
    widget.form.options_form.widgets["noise_levels"].native.setText("high")
    finish(qtbot, widget)
    assert "noise levels: got 'high'" in widget.job.status.text()
    assert widget.results.isHidden()


def test_results_are_shown_only_beside_their_model(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any, tmp_path: Path
) -> None:
    _, widget = open_widget(NAME, image_of(series))
    first, other = widget.model, tmp_path / "other.safetensors"
    other.write_bytes(b"")
    finish(qtbot, widget)
    widget.model = str(other)
    assert widget.results.isHidden()
    widget.model = first
    assert not widget.results.isHidden()

    doors.pause = 0.05
    widget.run()
    widget.model = str(other)
    finish(qtbot, widget, lambda: None)
    assert widget.results.isHidden()
    assert widget.job.status.text() == "scan: anomalies flagged at 1 of 4 visits"


def test_what_is_said_is_scrolled_to(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, image_of(series))
    viewer.window._qt_window.resize(900, 500)
    viewer.window._qt_window.show()
    widget.advanced.expand(animate=False)
    bar = widget.findChild(QScrollArea).verticalScrollBar()

    def is_seen(part: Any) -> bool:
        return not part.visibleRegion().isEmpty()

    qtbot.waitUntil(lambda: bar.maximum() > 0)
    widget.form.options_form.widgets["noise_levels"].native.setText("high")
    bar.setValue(0)
    assert not is_seen(widget.job)
    finish(qtbot, widget)
    qtbot.waitUntil(lambda: is_seen(widget.job.status))

    widget.form.options_form.widgets["noise_levels"].native.setText("250")
    bar.setValue(0)
    finish(qtbot, widget)
    qtbot.waitUntil(lambda: is_seen(widget.results.verdict))
