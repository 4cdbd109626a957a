from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from qtpy.QtWidgets import QApplication

from napari_followup.plugin.train.train_labels import (
    HEALTHY,
    MASKS,
    TRUTH,
    LayerLabels,
    PathLabels,
    has_truth,
    truth_of,
)

pytestmark = pytest.mark.viewer

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
    with pytest.raises(ValueError, match="is not learned from; check it in the list first"):
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
