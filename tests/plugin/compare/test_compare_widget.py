from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_followup.plugin.compare.compare_widget import ChangeLegend

pytestmark = pytest.mark.viewer

Open = Callable[..., Any]
NAME = "Compare visits"


def scan(visits: int = 3, **said: Any) -> Image:
    """A bright block; at the last visit a part of it is brighter still."""
    images = np.random.default_rng(0).normal(size=(visits, 40, 40)).astype(np.float32)
    images[:, 4:-4, 4:-4] += 100
    images[-1, 18:24, 18:24] += 40
    ages = [60.0 + 1.25 * visit for visit in range(visits)]
    about = {"axes": "vyx", "ages": ages, "subject": "p", **said}
    return Image(images, name="scan", metadata={"followup": about})


def finish(qtbot: Any, widget: Any, start: Callable[[], Any] | None = None) -> None:
    with qtbot.waitSignal(widget.step.finished, timeout=60_000):
        (start or widget.step.run)()


def test_a_click_maps_the_change_and_sums_it_up(open_widget: Open, qtbot: Any) -> None:
    viewer, widget = open_widget(NAME, scan())
    earlier = widget.controls["first"].native
    assert [earlier.itemText(n) for n in range(3)] == [
        "visit 1, age 60.0",
        "visit 2, age 61.2",
        "visit 3, age 62.5",
    ]
    assert widget.chosen == (0, 2)
    finish(qtbot, widget, widget.step.button.click)

    assert widget.step.error == ""
    names = ["scan", "scan change 1 to 3", "scan regions 1 to 3"]
    assert [layer.name for layer in viewer.layers] == names
    change, regions = widget.step.layers
    assert change.contrast_limits == [-8.0, 8.0]
    assert change.ndim == 2
    assert set(np.unique(regions.data)) == {0, 1}
    text = widget.step.job.status.text()
    assert "visit 1 to 3, changes of 4 units of noise" in text
    assert "brighter: 1 region" in text
    assert "darker: nothing" in text
    assert "aligned: the correlation of the visits is" in text


def test_the_same_two_visits_fill_the_same_layers(open_widget: Open, qtbot: Any) -> None:
    viewer, widget = open_widget(NAME, scan())
    finish(qtbot, widget)
    widget.controls["threshold"].value = 6
    finish(qtbot, widget)

    assert len(viewer.layers) == 3
    assert widget.step.layers[0].contrast_limits == [-12.0, 12.0]
    widget.chosen = (0, 1)
    finish(qtbot, widget)
    assert [layer.name for layer in viewer.layers][3:] == [
        "scan change 1 to 2",
        "scan regions 1 to 2",
    ]


def test_the_legend_follows_the_threshold(open_widget: Open) -> None:
    _, widget = open_widget(NAME, scan())

    assert "brighter at the later visit" in widget.legend.meaning.text()
    assert "+8<" in widget.legend.numbers.text()
    widget.controls["threshold"].value = 2.5
    assert "−5<" in widget.legend.numbers.text()


def test_the_controls_give_the_arguments(open_widget: Open) -> None:
    viewer, widget = open_widget(NAME, scan(), Labels(np.ones((40, 40), int), name="marks"))
    widget.chosen = (1, 2)
    widget.controls["smoothing"].value = 2.5
    widget.controls["smallest"].value = 7
    widget.controls["regions"].value = False
    widget.mask_combo.layer = viewer.layers["marks"]

    settings = widget.settings

    assert (settings["first"], settings["second"]) == (1, 2)
    assert (settings["smoothing"], settings["smallest"]) == (2.5, 7)
    assert (settings["mask"].name, settings["regions"]) == ("marks", False)
    viewer.layers.remove("marks")
    assert widget.settings["mask"] == "foreground"


def test_an_aligned_series_is_chosen_before_other_results(open_widget: Open) -> None:
    aligned = scan(result="aligned")
    aligned.name = "scan aligned"
    score = scan(result="score")

    _, widget = open_widget(NAME, scan(), aligned, score)

    assert widget.series.layers.layer.name == "scan aligned"


def test_complaints_are_shown(open_widget: Open, qtbot: Any) -> None:
    _, widget = open_widget(NAME, scan())
    widget.chosen = (1, 1)
    finish(qtbot, widget)
    assert widget.step.error == "visit 2 was chosen twice; choose two different ones"
    with pytest.raises(ValueError, match="visit 3: the layer has 3, counted from 0"):
        widget.chosen = (0, 3)


def test_one_visit_cannot_be_compared(open_widget: Open, qtbot: Any) -> None:
    _, widget = open_widget(NAME, scan(1))
    finish(qtbot, widget)

    assert widget.step.error.startswith("'scan' holds one visit; run Align visits")


def test_a_layer_that_is_removed_ends_the_run(
    open_widget: Open, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from napari_followup.plugin.compare import compare_widget

    started = threading.Event()

    @functools.wraps(compare_widget.compare_visits)
    def work(*_: Any, report: Any, **settings: Any) -> Any:
        started.set()
        while True:
            report.check()

    monkeypatch.setattr(compare_widget, "compare_visits", work)
    viewer, widget = open_widget(NAME, scan())
    widget.step.run()
    assert started.wait(20)
    finish(qtbot, widget, lambda: viewer.layers.remove("scan"))

    assert "'scan' was removed" in widget.step.error
    assert len(viewer.layers) == 0


def test_its_own_results_are_neither_image_nor_mask(open_widget: Open, qtbot: Any) -> None:
    viewer, widget = open_widget(NAME, scan(), Labels(np.ones((40, 40), int), name="marks"))
    finish(qtbot, widget)
    assert len(viewer.layers) == 4

    images, masks = widget.series.layers, widget.mask_combo
    assert [images.itemText(n) for n in range(images.count())] == ["scan"]
    assert [masks.itemText(n) for n in range(2, masks.count())] == ["marks"]
    viewer.layers.remove("scan")
    assert widget.series.layers.layer is None


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
