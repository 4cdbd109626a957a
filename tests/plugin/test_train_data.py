from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_followup.plugin.train_data import LAYERS, PATH, TrainData
from napari_followup.plugin.train_subjects import Facts
from napari_followup.reading import write_npz
from napari_followup.stack import VisitStack

pytestmark = pytest.mark.viewer

Opened = Callable[..., TrainData]


@pytest.fixture
def opened(qtbot: Any, threads_end: None) -> Iterator[Opened]:
    viewers = []

    def make(*layers: Image) -> TrainData:
        viewer = ViewerModel()
        viewers.append(viewer)
        for layer in layers:
            viewer.add_layer(layer)
        data = TrainData(viewer)
        qtbot.addWidget(data)
        return data

    yield make
    viewers.clear()


def scan(name: str, axes: str | None = "vyx", **said: Any) -> Image:
    shape = (3, 2, 16, 16) if axes in (None, "svyx") else (2, 16, 16)
    images = np.random.default_rng(0).random(shape, dtype=np.float32)
    about = {"axes": axes, **said} if axes else {}
    return Image(images, name=name, metadata={"followup": about})


def facts(qtbot: Any, data: TrainData) -> Facts:
    data.refresh()
    qtbot.waitUntil(lambda: data.facts is not None, timeout=10_000)
    assert data.facts is not None
    return data.facts


def test_all_layers_but_results_are_learned_from(opened: Opened, qtbot: Any) -> None:
    data = opened(scan("a"), scan("b"), scan("a healthy", result="healthy"))

    assert [layer.name for layer in data.layers.layers] == ["a", "b"]
    assert facts(qtbot, data).text.startswith("2 subjects (1 held out), 4 visits")
    assert "2 series are few" in data.notes.text()
    assert [stack.subject for stack in data.reader()()] == ["a", "b"]


def test_what_is_checked_later_is_looked_at_again(opened: Opened, qtbot: Any) -> None:
    data = opened(scan("a"), scan("b"), scan("c"))
    facts(qtbot, data)
    with qtbot.waitSignal(data.looked, timeout=10_000):
        data.layers.layers = data.layers.layers[:2]

    assert data.found.text().startswith("2 subjects")


def test_a_layer_with_a_truth_is_not_checked_and_warned_of(opened: Opened, qtbot: Any) -> None:
    data = opened(scan("a"), scan("b"), scan("sick"))
    viewer = data._viewer()
    assert viewer is not None
    viewer.add_labels(np.zeros((2, 16, 16), np.uint8), name="sick truth")
    data.layers.reset_choices()
    assert [layer.name for layer in data.layers.layers] == ["a", "b"]

    data.layers.layers = [layer for layer in viewer.layers if isinstance(layer, Image)]
    facts(qtbot, data)
    assert "'sick' has a truth beside it: is it healthy?" in data.notes.text()


def test_axes_are_asked_for_where_a_layer_does_not_say(opened: Opened, qtbot: Any) -> None:
    data = opened(scan("bare", None))
    assert "choose it under 'axes'" in facts(qtbot, data).problem + facts(qtbot, data).text
    data.axes_combo.setCurrentIndex(data.axes_combo.findData("svyx"))

    assert facts(qtbot, data).text.startswith("3 subjects")
    assert data.axes_combo.currentData() == "svyx"


def test_a_folder_is_read_in_place_of_layers(opened: Opened, qtbot: Any, tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((4, 2, 16, 16))
    for stack in VisitStack.from_cohort(images):
        write_npz(tmp_path / f"{stack.subject}.npz", stack)
    data = opened()
    assert data.mode.currentText() == LAYERS
    data.mode.setCurrentText(PATH)
    data.path.setText(str(tmp_path))

    assert facts(qtbot, data).text.startswith("4 subjects")
    assert len(data.reader()()) == 4


@pytest.mark.parametrize(
    ("mode", "said"), [(LAYERS, "check the layers to learn from"), (PATH, "give a table, folder")]
)
def test_nothing_chosen_is_said(opened: Opened, mode: str, said: str) -> None:
    data = opened()
    data.mode.setCurrentText(mode)

    with pytest.raises(ValueError, match=said):
        data.reader()


def test_a_path_that_is_not_there_is_said(opened: Opened, qtbot: Any, tmp_path: Path) -> None:
    data = opened()
    data.mode.setCurrentText(PATH)
    data.path.setText(str(tmp_path / "nothing"))

    assert "there is no file or folder" in facts(qtbot, data).problem
    assert "there is no file or folder" in data.notes.text()


def test_a_method_of_change_looks_again(opened: Opened, qtbot: Any) -> None:
    data = opened(scan("a"), scan("b"))
    facts(qtbot, data)
    with qtbot.waitSignal(data.looked, timeout=10_000):
        data.plan_for("tdm", 0.5, 0)
    with qtbot.assertNotEmitted(data.looked, wait=500):
        data.plan_for("tdm", 0.5, 0)
