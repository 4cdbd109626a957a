from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.layers import Image

from napari_followup.plugin.forms.preferences import RunSettings
from napari_followup.plugin.impute.impute_actions import ImputePlan
from napari_followup.prediction.gaps import STRATEGIES
from napari_followup.series.plane_selection import Slicing

pytestmark = pytest.mark.viewer

Open = Callable[..., Any]
NAME = "Impute visits"
ABOUT = {"axes": "vyx", "ages": [60, 61, 62, 63, 65]}


def scan(images: np.ndarray, **said: Any) -> Image:
    return Image(images, name="scan", metadata={"followup": {**ABOUT, **said}})


def finish(qtbot: Any, widget: Any, start: Callable[[], Any] | None = None) -> None:
    with qtbot.waitSignal(widget.step.finished, timeout=60_000):
        (start or widget.step.run)()


def test_a_click_fills_the_gaps(
    open_widget: Open, doors: Any, gappy: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, scan(gappy))
    assert widget.ages == [62, 64]
    finish(qtbot, widget, widget.step.button.click)

    assert widget.step.error == ""
    assert [layer.name for layer in viewer.layers] == ["scan", "scan imputed"]
    assert viewer.layers[0].data is gappy
    assert viewer.layers[1].data.shape == (6, 16, 16)
    assert viewer.layers.selection.active is viewer.layers[1]
    viewer.dims.set_current_step(0, 4)
    assert viewer.canvas.overlays.text.text == "visit 5 of 6, age 64.0, imputed"
    assert not widget.step.job.is_running


def test_a_second_run_fills_the_same_layer(
    open_widget: Open, doors: Any, gappy: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, scan(gappy))
    for ages in ([62.0], [62.0, 66.0]):
        widget.ages = ages
        finish(qtbot, widget)

    assert [layer.name for layer in viewer.layers] == ["scan", "scan imputed"]
    assert viewer.layers[1].data.shape == (6, 16, 16)


def test_the_controls_reach_the_door(
    open_widget: Open, doors: Any, gappy: np.ndarray, qtbot: Any
) -> None:
    _, widget = open_widget(NAME, scan(gappy))
    wanted = {"strategy": "chain", "draws": 3, "sampling_steps": 7, "residual": True}
    for name, value in (wanted | {"spread": True}).items():
        widget.controls[name].value = value
    widget.settings.value = RunSettings(device="cpu", seed=11)
    widget.visits.typed.setText("66")  # not added yet
    finish(qtbot, widget)
    asked = doors.calls[0]

    assert asked["strategy"] == "chain"
    assert (asked["draws"], asked["sampling_steps"], asked["device"], asked["seed"]) == (
        3,
        7,
        "cpu",
        11,
    )
    assert [layer.name for layer in widget.step.layers] == [
        "scan imputed",
        "scan temporal residual",
        "scan spread",
    ]
    assert widget.step.layers[0].metadata["followup"]["ages"][-1] == 66


def test_the_defaults_are_those_of_the_door(open_widget: Open, gappy: np.ndarray) -> None:
    _, widget = open_widget(NAME, scan(gappy))

    assert widget.plan == ImputePlan()
    controls = widget.controls
    assert controls["strategy"].choices == STRATEGIES
    assert controls["strategy"].tooltip == "From all observed visits at once"
    assert controls["spread"].enabled
    controls["draws"].value = 1
    assert not controls["spread"].enabled
    controls["draws"].value = 2
    controls["strategy"].value = "lerp-lerp"  # nothing is drawn
    assert not controls["spread"].enabled
    assert widget.plan.draws == 1


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ("", "no age is chosen"),
        ("soon", "cannot read 'soon'"),
        ("61", "61 is already observed"),
    ],
)
def test_bad_input_is_said_before_the_run(
    open_widget: Open, doors: Any, gappy: np.ndarray, qtbot: Any, typed: str, complaint: str
) -> None:
    viewer, widget = open_widget(NAME, scan(gappy))
    widget.ages = []
    widget.visits.typed.setText(typed)
    finish(qtbot, widget)

    assert complaint in widget.step.error
    assert complaint in widget.step.job.status.text()
    assert not doors.loaded
    assert len(viewer.layers) == 1


def test_a_complaint_about_a_typed_age_is_shown(open_widget: Open, gappy: np.ndarray) -> None:
    _, widget = open_widget(NAME, scan(gappy))
    widget.visits.typed.setText("soon")
    widget.visits.add_button.click()

    assert "cannot read 'soon'" in widget.step.job.status.text()


def test_without_a_layer_it_is_said(open_widget: Open, doors: Any, qtbot: Any) -> None:
    _, widget = open_widget(NAME)
    finish(qtbot, widget)

    assert "there is no image layer" in widget.step.error


def test_a_single_visit_comes_with_a_note(open_widget: Open, gappy: np.ndarray) -> None:
    _, widget = open_widget(NAME, scan(gappy[:1], ages=[60]))

    assert "Only one visit is observed" in widget.visits.note.text()


def test_a_bare_array_counts_its_visits(
    open_widget: Open, doors: Any, gappy: np.ndarray, qtbot: Any
) -> None:
    _, widget = open_widget(NAME, Image(gappy, name="bare"))
    assert widget.ages == [2]
    finish(qtbot, widget)

    assert not np.isnan(widget.step.layers[0].data).any()


def test_one_subject_of_a_cohort_is_chosen(
    open_widget: Open, doors: Any, gappy: np.ndarray, qtbot: Any
) -> None:
    about = {"axes": "svyx", "ages": [[60, 61, 62, 63, 65], [70, 71, 72, 73, 74]]}
    _, widget = open_widget(NAME, scan(np.nan_to_num(np.stack([gappy] * 2)), **about))
    assert widget.subject_combo.currentIndex() == 1  # nobody misses a visit
    widget.subject_combo.setCurrentIndex(2)
    widget.ages = [75.0]
    finish(qtbot, widget)

    assert widget.step.layers[0].name == "scan subject-0001 imputed"
    assert widget.step.layers[0].data.shape == (6, 16, 16)
    assert widget.step.layers[0].metadata["followup"]["ages"][-1] == 75


def test_all_subjects_get_their_own_missing_visits(
    open_widget: Open, doors: Any, gappy: np.ndarray, qtbot: Any
) -> None:
    cohort = np.stack([gappy, np.nan_to_num(gappy), gappy])
    _, widget = open_widget(NAME, scan(cohort, axes="svyx"))
    assert widget.visits.note.text().startswith("2 missing visits of 2 subjects")
    assert widget.ages == []
    finish(qtbot, widget)

    assert widget.step.error == ""
    assert widget.step.layers[0].data.shape == cohort.shape
    assert not np.isnan(widget.step.layers[0].data).any()


def test_a_subject_without_any_visit_is_named(
    open_widget: Open, doors: Any, gappy: np.ndarray, qtbot: Any
) -> None:
    cohort = np.stack([gappy, np.full_like(gappy, np.nan)])
    _, widget = open_widget(NAME, scan(cohort, axes="svyx"))
    finish(qtbot, widget)

    assert "'subject-0001': no visit is observed" in widget.step.error
    widget.subject_combo.setCurrentIndex(2)
    assert "no visit is observed" in widget.visits.note.text()


@pytest.mark.parametrize("partial", [True, False])
def test_a_stop_keeps_what_is_finished(
    open_widget: Open, doors: Any, gappy: np.ndarray, qtbot: Any, partial: bool
) -> None:
    viewer, widget = open_widget(NAME, scan(gappy))
    doors.steps, doors.pause, doors.partial = 10_000, 0.01, partial
    widget.step.run()
    qtbot.waitUntil(lambda: widget.step.job.bar.value() > 0)
    finish(qtbot, widget, widget.step.stop)

    assert len(viewer.layers) == 1 + partial
    assert ("stopped: 1 of 2 visits imputed" in widget.step.job.status.text()) is partial
    assert widget.step.button.isEnabled()


def test_a_second_stop_drops_it_at_once(
    open_widget: Open, doors: Any, gappy: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, scan(gappy))
    doors.steps, doors.pause, doors.partial = 10_000, 0.2, True
    widget.step.run()
    qtbot.waitUntil(lambda: widget.step.job.bar.value() > 0)
    widget.step.stop()
    assert "Stopping" in widget.step.job.status.text()
    finish(qtbot, widget, widget.step.stop)

    assert widget.step.error == "Stopped; nothing was added."
    assert len(viewer.layers) == 1


def test_a_layer_removed_in_mid_run_ends_it(
    open_widget: Open, doors: Any, gappy: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, scan(gappy))
    doors.steps, doors.pause = 10_000, 0.01
    widget.step.run()
    qtbot.waitUntil(lambda: widget.step.job.bar.value() > 0)
    finish(qtbot, widget, lambda: viewer.layers.remove("scan"))

    assert "'scan' was removed" in widget.step.error


def test_another_layer_may_go_in_mid_run(
    open_widget: Open, doors: Any, gappy: np.ndarray, qtbot: Any
) -> None:
    viewer, widget = open_widget(NAME, scan(gappy))
    other = viewer.add_image(np.zeros((8, 8)), name="other")
    widget.series.layers.layer = viewer.layers["scan"]
    doors.steps, doors.pause = 10_000, 0.01
    widget.step.run()
    qtbot.waitUntil(lambda: widget.step.job.bar.value() > 0)
    viewer.layers.remove(other)

    assert widget.step.job.is_running
    finish(qtbot, widget, widget.step.stop)


def test_a_model_without_a_tdm_is_named(
    open_widget: Open,
    kept: SimpleNamespace,
    tiny_model: Path,
    tiny_tdm_model: Path,
    gappy: np.ndarray,
    qtbot: Any,
) -> None:
    _, widget = open_widget(NAME, scan(gappy))
    widget.model_combo.chosen = str(tiny_model)
    finish(qtbot, widget)
    assert "has no tdm" in widget.step.error
    widget.model_combo.chosen = str(tiny_tdm_model)
    finish(qtbot, widget)

    assert widget.step.error == ""
    assert np.isfinite(widget.step.layers[0].data).all()


def test_planes_of_volumes_are_part_of_the_plan(open_widget: Open, doors: Any) -> None:
    images = np.random.rand(5, 6, 8, 8).astype(np.float32)
    _, widget = open_widget(NAME, scan(images, axes="vzyx"))
    assert not widget.series.planes.isHidden()
    assert widget.plan.planes is None

    widget.series.planes.last.setValue(3)

    assert widget.plan.planes == Slicing("z", 0, 4)
