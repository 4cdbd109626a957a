from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from qtpy.QtWidgets import QApplication

from napari_followup.io import write_npz
from napari_followup.plugin.train.train_data import (
    HEALTHY,
    LAYERS,
    MASKS,
    PATH,
    TRUTH,
    LayerLabels,
    PathLabels,
    TrainData,
    has_truth,
    truth_of,
)
from napari_followup.plugin.train.train_subjects import Facts
from napari_followup.series.stack import VisitStack

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
    assert [stack.subject for stack in data.reader()().stacks] == ["a", "b"]


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


def marked(data: TrainData, name: str, *, size: int = 16, empty: bool = False) -> Any:
    """Add labels to the viewer of a widget, with a square at the last visit."""
    marks = np.zeros((2, size, size), np.uint8)
    marks[1, 4:8, 4:8] = 0 if empty else 1
    return data._viewer().add_labels(marks, name=name)


def test_labels_are_asked_for_where_the_method_can_learn_from_them(
    opened: Opened, qtbot: Any
) -> None:
    data = opened(scan("a"), scan("b"), scan("sick"))
    marked(data, "sick truth")
    assert [layer.name for layer in data.layers.layers] == ["a", "b"]
    assert data.labels.isHidden()

    data.plan_for("sadm", 0.1, 0)
    assert [layer.name for layer in data.layers.layers] == ["a", "b", "sick"]
    assert not data.labels.isHidden()
    assert facts(qtbot, data).text.endswith("; 1 of them with something abnormal")
    assert "has a truth beside it" not in data.notes.text()
    given = data.reader()()
    assert given.labels[:2] == [0, 0]
    assert np.argwhere(given.labels[2])[0].tolist() == [1, 0, 4, 4]

    data.plan_for("sdm", 0.1, 0)
    assert [layer.name for layer in data.layers.layers] == ["a", "b"]
    assert data.labels.isHidden()
    assert data.reader()().labels is None


def test_a_truth_that_is_not_used_is_still_asked_about(opened: Opened, qtbot: Any) -> None:
    data = opened(scan("a"), scan("b"), scan("sick"))
    marked(data, "sick truth")
    data.plan_for("anofpdm", 0.1, 0)
    data.labels.choose(data.layers.layers[2], None)

    facts(qtbot, data)

    assert "'sick' has a truth beside it: is it healthy?" in data.notes.text()
    assert data.reader()().labels is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"size": 8}, "'painted' has the shape (2, 8, 8), 'a' has (2, 16, 16)"),
        ({"empty": True}, "they mark nothing in any observed visit"),
    ],
)
def test_labels_that_do_not_fit_are_said_before_the_run(
    opened: Opened, qtbot: Any, settings: dict[str, Any], said: str
) -> None:
    data = opened(scan("a"), scan("b"))
    painted = marked(data, "painted", **settings)
    data.plan_for("sadm", 0.1, 0)
    data.labels.choose(data.layers.layers[0], painted)

    assert said in facts(qtbot, data).problem
    assert said in data.notes.text()


def test_everything_sick_and_nothing_to_make_are_said_before_the_run(
    opened: Opened, qtbot: Any
) -> None:
    data = opened(scan("a"), scan("b"))
    data.plan_for("sadm", 0.1, 0, makes=False)
    assert "SADM learns from labels alone where synthetic_anomalies is off" in (
        facts(qtbot, data).problem
    )
    for layer in data.layers.layers:
        marked(data, f"{layer.name} truth")

    assert "none of the 2 subjects is healthy at all visits" in facts(qtbot, data).problem


def test_painting_is_looked_at(opened: Opened, qtbot: Any) -> None:
    data = opened(scan("a"), scan("b"))
    painted = marked(data, "painted", empty=True)
    data.plan_for("sadm", 0.1, 0)
    data.labels.choose(data.layers.layers[0], painted)
    assert "mark nothing" in facts(qtbot, data).problem
    with qtbot.waitSignal(data.looked, timeout=10_000):
        painted.paint((1, 5, 5), 1)

    assert data.facts is not None
    assert not data.facts.problem


@pytest.mark.parametrize("choice", [TRUTH, MASKS])
def test_files_are_read_with_their_truth_or_masks(
    opened: Opened, qtbot: Any, tmp_path: Path, choice: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "masks").mkdir()
    truth = np.zeros((2, 16, 16), bool)
    truth[1, 4:8, 4:8] = True
    for number, stack in enumerate(
        VisitStack.from_cohort(np.random.default_rng(0).random((4, 2, 16, 16)))
    ):
        more = {"truth": truth} if number == 2 else {}
        write_npz(tmp_path / "data" / f"{stack.subject}.npz", stack, more)
    np.savez(tmp_path / "masks" / "subject-0001_mask.npz", images=truth)
    np.savez(tmp_path / "masks" / "subject-0002_mask.npz", images=truth)
    data = opened()
    data.mode.setCurrentText(PATH)
    data.path.setText(str(tmp_path / "data"))
    assert data.path_labels.isHidden()
    assert "marked as sick" in facts(qtbot, data).problem

    data.plan_for("sadm", 0.1, 0)
    assert not data.path_labels.isHidden()
    data.path_labels.choice.setCurrentText(choice)
    data.path_labels.path.setText(str(tmp_path / "masks"))

    count = 1 if choice == TRUTH else 2
    assert facts(qtbot, data).text.endswith(f"; {count} of them with something abnormal")


def test_axes_are_asked_for_where_a_layer_does_not_say(opened: Opened, qtbot: Any) -> None:
    data = opened(scan("bare", None))
    assert "choose them under 'axes'" in facts(qtbot, data).problem + facts(qtbot, data).text
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
    assert len(data.reader()().stacks) == 4


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


def test_labels_that_may_not_be_meant_are_warned_of(opened: Opened, qtbot: Any) -> None:
    data = opened(scan("a"), scan("b"), scan("c"), scan("d"))
    painted, blank = marked(data, "painted"), marked(data, "blank", empty=True)
    data.plan_for("sadm", 0.1, 0)
    for layer, labels in zip(data.layers.layers, (painted, painted, blank), strict=False):
        data.labels.choose(layer, labels)

    assert not facts(qtbot, data).problem
    lines = data.notes.text().splitlines()
    assert "⚠ 'painted' is chosen for 'a' and 'b': is it of both?" in lines
    assert "⚠ 'blank' is empty: 'c' counts as healthy" in lines


ABOUT = {"followup": {"axes": "vyx"}}


@pytest.fixture
def viewer(qapp: Any) -> ViewerModel:
    viewer = ViewerModel()
    for name in ("a", "b"):
        viewer.add_image(np.random.rand(2, 16, 16), name=name, metadata=ABOUT)
    viewer.add_labels(np.ones((2, 16, 16), int), name="b truth")
    return viewer


@pytest.fixture
def labels(viewer: ViewerModel, qtbot: Any) -> LayerLabels:
    labels = LayerLabels(viewer)
    qtbot.addWidget(labels)
    labels.show_layers([viewer.layers["a"], viewer.layers["b"]])
    return labels


def chosen(labels: LayerLabels, *layers: Image) -> list[str | None]:
    given = [labels.given(layer) for layer in layers]
    return [None if mask is None else mask.name for mask in given]


def test_a_truth_on_the_pixels_of_its_layer_is_chosen_at_first(
    viewer: ViewerModel, labels: LayerLabels
) -> None:
    a, b = viewer.layers["a"], viewer.layers["b"]
    assert chosen(labels, a, b) == [None, "b truth"]

    viewer.add_labels(np.ones((2, 8, 8), int), name="a truth")
    assert has_truth(viewer, a)
    assert truth_of(viewer, a) is None
    assert chosen(labels, a, b) == [None, "b truth"]
    viewer.layers["a truth"].name = "other"
    viewer.add_labels(np.ones((2, 16, 16), int), name="a truth")
    assert chosen(labels, a, b) == ["a truth", "b truth"]
    viewer.layers.remove("b truth")
    assert chosen(labels, a, b) == ["a truth", None]


def test_a_truth_lies_on_all_modalities(viewer: ViewerModel) -> None:
    about = {"followup": {"axes": "vmzyx"}}
    both = viewer.add_image(np.random.rand(2, 3, 4, 16, 16), name="c", metadata=about)
    truth = viewer.add_labels(np.ones((2, 4, 16, 16), int), name="c truth")

    assert truth_of(viewer, both) is truth


def test_what_the_user_chose_stays(viewer: ViewerModel, labels: LayerLabels) -> None:
    a, b = viewer.layers["a"], viewer.layers["b"]
    painted = viewer.add_labels(np.ones((2, 16, 16), int), name="painted")
    labels.choose(a, painted)
    labels.choose(b, None)
    viewer.add_labels(np.ones((2, 16, 16), int), name="a truth")
    viewer.add_image(np.random.rand(2, 16, 16), name="c", metadata=ABOUT)
    labels.show_layers([b, viewer.layers["c"], a])

    assert chosen(labels, a, b, viewer.layers["c"]) == ["painted", None, None]
    labels.show_layers([a])
    assert chosen(labels, a, b) == ["painted", None]
    with pytest.raises(ValueError, match="is not used; check it in the list first"):
        labels.choose(b, None)


def test_another_choice_and_another_stroke_are_told_once(
    viewer: ViewerModel, labels: LayerLabels, qtbot: Any
) -> None:
    told: list[int] = []
    labels.changed.connect(lambda: told.append(1))
    painted = viewer.add_labels(np.zeros((2, 16, 16), int), name="painted")
    assert told == []

    labels.choose(viewer.layers["a"], painted)
    assert told == [1]
    painted.paint((0, 3, 3), 1)
    assert told == [1, 1]
    labels.choose(viewer.layers["a"], None)
    painted.paint((0, 5, 5), 1)
    assert told == [1, 1, 1]


def test_it_is_as_high_as_its_first_rows(viewer: ViewerModel, labels: LayerLabels) -> None:
    two = labels.height()
    for number in range(9):
        viewer.add_image(np.random.rand(2, 16, 16), name=f"{number}", metadata=ABOUT)
    labels.show_layers([each for each in viewer.layers if isinstance(each, Image)])

    assert two < labels.height() < 3 * two


def test_layers_that_go_are_not_kept(viewer: ViewerModel, labels: LayerLabels) -> None:
    a = viewer.layers["a"]
    viewer.layers.remove("b")
    viewer.layers.remove("b truth")
    labels.show_layers([a])

    assert chosen(labels, a) == [None]
    assert [each for each in viewer.layers if isinstance(each, Labels)] == []


def test_files_are_healthy_or_have_a_truth_or_masks(qtbot: Any) -> None:
    labels = PathLabels()
    qtbot.addWidget(labels)
    assert (labels.choice.currentText(), labels.paths) == (HEALTHY, None)
    labels.choice.setCurrentText(TRUTH)
    assert labels.paths == ()
    assert labels.path.isHidden()

    with qtbot.waitSignal(labels.changed):
        labels.choice.setCurrentText(MASKS)
    with pytest.raises(ValueError, match="labels: give a file or folder of masks"):
        _ = labels.paths
    labels.path.setText("masks")
    assert labels.paths == (Path("masks"),)
    assert not labels.path.isHidden()


def rows(labels: LayerLabels) -> list[str]:
    """Names from the top to the bottom."""
    labels.show()
    QApplication.processEvents()
    names = [row.name for row in labels._rows]
    return [name.text() for name in sorted(names, key=lambda name: name.geometry().y())]


def test_layers_with_labels_stand_first_and_no_row_goes_from_under_the_cursor(
    viewer: ViewerModel, labels: LayerLabels
) -> None:
    assert rows(labels) == ["b", "a"]
    c = viewer.add_image(np.random.rand(2, 16, 16), name="c", metadata=ABOUT)
    layers = [viewer.layers["a"], viewer.layers["b"], c]
    labels.show_layers(layers)
    assert rows(labels) == ["b", "a", "c"]

    labels.choose(c, viewer.layers["b truth"])
    labels.show_layers(layers)
    assert rows(labels) == ["b", "a", "c"]
    viewer.add_labels(np.ones((2, 16, 16), int), name="other")
    assert rows(labels) == ["b", "c", "a"]
    assert chosen(labels, *layers) == [None, "b truth", "b truth"]
