from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QThreadPool
from qtpy.QtWidgets import QFileDialog

from napari_followup.io import write_stack
from napari_followup.plugin.stack import stack_sources
from napari_followup.plugin.stack.stack_rows import Listed
from napari_followup.plugin.stack.visits_panel import ColumnsForm, RowBar, SourceBar, VisitsPanel
from napari_followup.series.stack import VisitStack

pytestmark = pytest.mark.viewer

IMAGES = np.random.default_rng(0).random((3, 4, 8, 8)).astype(np.float32)


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def panel(viewer: ViewerModel, qtbot: Any, qapp: Any) -> Iterator[VisitsPanel]:
    panel = VisitsPanel(viewer)
    qtbot.addWidget(panel)
    yield panel
    panel.reading.stop(reason="over")
    assert QThreadPool.globalInstance().waitForDone(5000)
    qapp.processEvents()


def write(folder: Path, name: str, visit: int = 0) -> Path:
    stack = VisitStack.from_array(IMAGES[visit : visit + 1], spacing=(3, 1, 1))
    return write_stack(folder / name, stack)


def settle(qtbot: Any, panel: VisitsPanel) -> None:
    qtbot.waitUntil(lambda: not panel.is_busy, timeout=20_000)


def scan(**settings: Any) -> Image:
    return Image(IMAGES[0], name="scan", axis_labels=("z", "y", "x"), **settings)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    read = stack_sources.read_file

    def slowly(*given: Any) -> Any:
        time.sleep(0.3)
        return read(*given)

    monkeypatch.setattr(stack_sources, "read_file", slowly)


def test_the_window_goes_on_while_files_are_read(
    panel: VisitsPanel, tmp_path: Path, qtbot: Any, slow: None
) -> None:
    path = write(tmp_path, "a.nii")
    start = time.monotonic()
    panel.add_paths([path])
    assert time.monotonic() - start < 0.3
    assert panel.is_busy
    panel.table.edited.emit(0, "when", "61")
    panel.add_paths([write(tmp_path, "b.nii", 1)])  # while the first is read
    settle(qtbot, panel)

    assert [row.when for row in panel.model.rows] == ["61", ""]
    assert all(row.facts for row in panel.model.rows)


def test_reading_can_be_stopped_and_taken_up_again(
    panel: VisitsPanel, tmp_path: Path, qtbot: Any, slow: None
) -> None:
    panel.add_paths([write(tmp_path, f"{n}.nii", n) for n in range(3)])
    panel.reading.stop()
    settle(qtbot, panel)
    assert "not read: reading was stopped" in panel.model.rows[2].error
    panel.bar.again_button.click()
    settle(qtbot, panel)

    assert [row.error for row in panel.model.rows] == [""] * 3


def test_a_second_stop_leaves_all_unread(
    panel: VisitsPanel, tmp_path: Path, qtbot: Any, slow: None
) -> None:
    panel.add_paths([write(tmp_path, f"{n}.nii", n) for n in range(3)])
    panel.reading.stop()
    panel.reading.stop()

    assert not panel.is_busy
    assert all("not read" in row.error for row in panel.model.rows)


def test_what_cannot_be_listed_is_said_and_the_rest_is_read(
    panel: VisitsPanel, tmp_path: Path, qtbot: Any
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "v.csv").write_text("")
    panel.add_paths([tmp_path / "empty", tmp_path / "v.csv", write(tmp_path, "a.nii")])
    settle(qtbot, panel)

    said = panel.reading.status.text()
    assert "'empty': the folder 'empty' holds no series" in said
    assert "'v.csv': has no rows" in said
    assert [row.is_pending for row in panel.model.rows] == [False]
    panel.add_paths([write(tmp_path, "b.nii", 1)])
    settle(qtbot, panel)
    assert panel.reading.status.text() == ""


def test_a_table_without_ages_shows_its_rows_and_asks(
    panel: VisitsPanel, tmp_path: Path, qtbot: Any
) -> None:
    write(tmp_path, "a.nii")
    (tmp_path / "v.csv").write_text("path,alter\na.nii,61\n")
    panel.add_paths([tmp_path / "v.csv"])
    settle(qtbot, panel)
    assert [row.when for row in panel.model.rows] == [""]
    panel.columns.boxes["age"].setCurrentText("alter")
    panel.columns.use_button.click()
    settle(qtbot, panel)

    assert [row.when for row in panel.model.rows] == ["61"]


def test_files_that_are_dropped_are_added(panel: VisitsPanel, tmp_path: Path, qtbot: Any) -> None:
    panel.table.dropped.emit([write(tmp_path, "a.nii")])
    settle(qtbot, panel)

    assert [row.name for row in panel.model.rows] == ["a.nii"]


def test_no_layer_to_add_is_said(panel: VisitsPanel) -> None:
    panel.add_layers()

    assert "There is no image layer" in panel.reading.status.text()


def test_a_layer_that_is_removed_is_an_error_at_its_row(
    panel: VisitsPanel, viewer: ViewerModel, qtbot: Any
) -> None:
    layer = viewer.add_layer(scan())
    panel.add_layers()
    settle(qtbot, panel)
    viewer.layers.remove(layer)
    assert "the layer was removed" in panel.model.rows[0].error
    panel.bar.again_button.click()
    settle(qtbot, panel)

    assert "the layer was removed" in panel.model.rows[0].error


def test_a_layer_can_be_added_anew_after_it_was_removed(
    panel: VisitsPanel, viewer: ViewerModel, qtbot: Any
) -> None:
    layer = viewer.add_layer(scan())
    panel.add_layers()
    settle(qtbot, panel)
    viewer.layers.remove(layer)
    viewer.add_layer(layer)
    panel.add_layers()
    settle(qtbot, panel)

    assert [bool(row.error) for row in panel.model.rows] == [True, False]


@pytest.mark.parametrize(
    ("button", "door", "answer"),
    [
        ("files_button", "getOpenFileNames", (["a.nii", "b.nii"], "")),
        ("folder_button", "getExistingDirectory", "folder"),
        ("table_button", "getOpenFileName", ("v.csv", "")),
    ],
)
def test_what_is_chosen_is_told(
    qtbot: Any, monkeypatch: pytest.MonkeyPatch, button: str, door: str, answer: Any
) -> None:
    bar = SourceBar()
    qtbot.addWidget(bar)
    monkeypatch.setattr(QFileDialog, door, lambda *_: answer)
    with qtbot.waitSignal(bar.chosen) as told:
        getattr(bar, button).click()

    assert [Path(path).suffix for path in told.args[0]] in ([".nii", ".nii"], [""], [".csv"])


def test_a_dialog_that_is_left_tells_nothing(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bar = SourceBar()
    qtbot.addWidget(bar)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")
    with qtbot.assertNotEmitted(bar.chosen):
        bar.folder_button.click()


def test_the_menu_tells_which_layers(qtbot: Any) -> None:
    bar = SourceBar()
    qtbot.addWidget(bar)
    for action, alone in zip(bar.layers_button.menu().actions(), (False, True), strict=True):
        with qtbot.waitSignal(bar.layers_wanted) as told:
            action.trigger()
        assert told.args == [alone]


def test_buttons_are_offered_where_they_do_something(qtbot: Any) -> None:
    bar = RowBar()
    qtbot.addWidget(bar)
    bar.enable(0, 0)
    assert not bar.sort_button.isEnabled()
    assert bar.missing_button.isEnabled()
    bar.enable(2, 0)
    assert bar.sort_button.isEnabled()
    assert not bar.up_button.isEnabled()
    bar.enable(2, 1)

    assert bar.remove_button.isEnabled()


def test_the_columns_that_are_chosen_are_told(qtbot: Any) -> None:
    form = ColumnsForm()
    qtbot.addWidget(form)
    assert form.isHidden()
    form.ask(Listed(path=Path("v.csv"), names=("wo", "wann"), columns={"date": "wann"}))

    assert not form.isHidden()
    assert "'v.csv'" in form.title.text()
    assert form.columns == {"date": "wann"}
    assert not form.use_button.isEnabled()
    form.boxes["path"].setCurrentText("wo")
    with qtbot.waitSignal(form.chosen) as told:
        form.use_button.click()
    assert told.args == [Path("v.csv"), {"path": "wo", "date": "wann"}]
    assert form.isHidden()


def test_a_table_can_be_left_as_it_is(qtbot: Any) -> None:
    form = ColumnsForm()
    qtbot.addWidget(form)
    form.ask(Listed(path=Path("v.csv"), names=("wo",), columns={}))
    with qtbot.assertNotEmitted(form.chosen):
        form.leave_button.click()

    assert form.isHidden()
