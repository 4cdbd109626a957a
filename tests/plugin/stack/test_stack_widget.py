from __future__ import annotations

import gc
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers import Image
from qtpy.QtCore import Qt, QThreadPool

from napari_followup.io import write_stack
from napari_followup.plugin.stack import stack_sources, stack_widget
from napari_followup.plugin.stack.stack_rows import Options
from napari_followup.plugin.stack.stack_widget import StackForm, parse_spacing
from napari_followup.plugin.stack.visits_table import NAMES as COLUMNS
from napari_followup.series.stack import VisitStack

pytestmark = pytest.mark.viewer

Open = Callable[..., Any]
NAME = "Longitudinal stack"
IMAGES = np.random.default_rng(0).random((3, 4, 8, 8)).astype(np.float32)


def write(folder: Path, name: str, visit: int = 0, planes: int = 4, **said: Any) -> Path:
    images = IMAGES[visit : visit + 1, :planes]
    said = {"spacing": (3, 1, 1), **said}
    return write_stack(folder / name, VisitStack.from_array(images, **said))


def add(qtbot: Any, widget: Any, *paths: Path) -> None:
    widget.visits.add_paths(paths)
    settle(qtbot, widget)


def settle(qtbot: Any, widget: Any) -> None:
    qtbot.waitUntil(lambda: not widget.visits.is_busy, timeout=20_000)


def create(qtbot: Any, widget: Any) -> Any:
    assert widget.complaint == ""
    with qtbot.waitSignal(widget.step.finished, timeout=20_000):
        widget.step.button.click()
    return widget.step.layers


def edit(widget: Any, place: int, column: str, text: str) -> None:
    widget.visits.table.item(place, COLUMNS.index(column)).setText(text)


def status(widget: Any) -> list[str]:
    table = widget.visits.table
    return [table.item(n, COLUMNS.index("status")).text() for n in range(table.rowCount())]


def test_files_become_one_stack(open_widget: Open, tmp_path: Path, qtbot: Any) -> None:
    viewer, widget = open_widget(NAME)
    add(qtbot, widget, *(write(tmp_path, f"{n}.nii.gz", n) for n in range(3)))
    for place, age in enumerate(("62", "61", "63.5")):
        edit(widget, place, "age or date", age)
    widget.form.name_edit.setText("anna")
    widget.form.modality_edit.setText("FLAIR")
    (layer,) = create(qtbot, widget)
    about = layer.metadata["followup"]

    assert [each.name for each in viewer.layers] == ["anna"]
    np.testing.assert_array_equal(layer.data, IMAGES[[1, 0, 2]])
    assert layer.scale.tolist() == [1, 3, 1, 1]
    assert (about["ages"], about["modality"]) == ([61, 62, 63.5], "FLAIR")
    files = [each["images"][0]["from"] for each in about["provenance"]["steps"][0]["visits"]]
    assert files == [str(tmp_path / f"{n}.nii.gz") for n in (1, 0, 2)]


def test_a_second_stack_is_another_layer(open_widget: Open, tmp_path: Path, qtbot: Any) -> None:
    viewer, widget = open_widget(NAME)
    add(qtbot, widget, write(tmp_path, "a.nii"))
    create(qtbot, widget)
    create(qtbot, widget)

    assert len(viewer.layers) == 2
    assert "made" in widget.step.job.status.text()


def test_layers_of_one_visit_each_become_one_stack(open_widget: Open, qtbot: Any) -> None:
    labels = ("z", "y", "x")
    layers = [Image(IMAGES[n], name=f"scan {n}", axis_labels=labels) for n in range(2)]
    _, widget = open_widget(NAME, *layers)
    widget.visits.sources.layers_button.menu().actions()[0].trigger()
    settle(qtbot, widget)
    widget.set_ages([62, 61])
    (layer,) = create(qtbot, widget)

    np.testing.assert_array_equal(layer.data, IMAGES[[1, 0]])
    assert layers[0].data.shape == (4, 8, 8)


def test_layers_with_visits_and_without_go_together(open_widget: Open, qtbot: Any) -> None:
    about = {"axes": "vzyx", "ages": [61, 63], "subject": "anna"}
    series = Image(IMAGES[:2], name="series", metadata={"followup": about})
    later = Image(IMAGES[2], name="later", axis_labels=("z", "y", "x"))
    viewer, widget = open_widget(NAME, series, later)
    viewer.layers.selection = {viewer.layers["series"], viewer.layers["later"]}
    widget.visits.sources.layers_button.menu().actions()[1].trigger()
    settle(qtbot, widget)
    assert [row.when for row in widget.rows] == ["61", "63", ""]
    assert "no age or date" in widget.complaint
    edit(widget, 2, "age or date", "62")
    (layer,) = create(qtbot, widget)

    np.testing.assert_array_equal(layer.data, IMAGES[[0, 2, 1]])
    assert layer.metadata["followup"]["subject"] == "anna"
    widget.visits.add_layers([series])
    assert len(widget.rows) == 3  # it is there already


def test_a_layer_in_doubt_is_asked_about(open_widget: Open, qtbot: Any) -> None:
    _, widget = open_widget(NAME, Image(IMAGES[0], name="bare"))
    widget.visits.add_layers()
    settle(qtbot, widget)
    assert not widget.form.axes_combo.isHidden()
    assert status(widget)[0].startswith("Does not say what its axes are")
    widget.form.axes_combo.setCurrentText("z, y, x: one visit")
    settle(qtbot, widget)
    assert [row.facts.shape for row in widget.rows] == [(4, 8, 8)]
    widget.form.axes_combo.setCurrentText("visit, y, x")
    settle(qtbot, widget)

    assert [row.facts.shape for row in widget.rows] == [(1, 8, 8)] * 4
    assert widget.complaint == ""


def test_a_file_in_doubt_is_asked_about(open_widget: Open, tmp_path: Path, qtbot: Any) -> None:
    _, widget = open_widget(NAME)
    paths = [tmp_path / f"{n}.tif" for n in range(2)]
    for path in paths:
        tifffile.imwrite(path, IMAGES[0], photometric="minisblack")
    add(qtbot, widget, *paths)
    widget.form.axes_combo.setCurrentText("z, y, x: one visit")
    settle(qtbot, widget)

    assert status(widget) == ["Ready", "Ready"]  # one answer for both


def test_one_subject_of_a_cohort_is_chosen(open_widget: Open, qtbot: Any) -> None:
    about = {"axes": "svyx", "subject": ["anna", "bob"], "ages": [[1, 2, 3], [4, 5, 6]]}
    cohort = Image(IMAGES[:2, :3], name="cohort", metadata={"followup": about})
    _, widget = open_widget(NAME, cohort)
    widget.visits.add_layers()
    settle(qtbot, widget)
    assert [row.when for row in widget.rows] == ["1", "2", "3"]
    widget.form.subject_combo.setCurrentText("bob")
    assert [row.when for row in widget.rows] == ["4", "5", "6"]
    (layer,) = create(qtbot, widget)

    assert layer.name == "bob"
    np.testing.assert_array_equal(layer.data, IMAGES[1, :3])


def test_an_error_at_a_row_stands_in_the_way(open_widget: Open, tmp_path: Path, qtbot: Any) -> None:
    viewer, widget = open_widget(NAME)
    cut = write(tmp_path, "b.nii.gz", 1)
    whole = cut.read_bytes()
    cut.write_bytes(whole[:-20])
    add(qtbot, widget, write(tmp_path, "a.nii.gz"), cut, tmp_path / "c.nii")

    assert "cut short" in status(widget)[1]
    assert "There is no such file" in status(widget)[2]
    assert not widget.step.button.isEnabled()
    assert widget.reason.text().startswith("Row 2: is no readable NIfTI file")
    widget.run()
    assert len(viewer.layers) == 0
    cut.write_bytes(whole)
    write(tmp_path, "c.nii", 2)
    widget.visits.bar.again_button.click()
    settle(qtbot, widget)
    assert status(widget) == ["Ready"] * 3
    assert widget.step.button.isEnabled()


def test_ages_are_checked_as_they_are_typed(open_widget: Open, tmp_path: Path, qtbot: Any) -> None:
    _, widget = open_widget(NAME)
    add(qtbot, widget, write(tmp_path, "a.nii"), write(tmp_path, "b.nii", 1))
    edit(widget, 0, "age or date", "61")
    assert "no age or date" in status(widget)[1]
    edit(widget, 1, "age or date", "soon")
    assert "'soon' is no age" in widget.reason.text()
    edit(widget, 1, "age or date", "61")
    assert "same age as visit 1" in status(widget)[1]
    assert widget.step.button.isEnabled()  # a warning
    widget.form.spacing_edit.setText("big")
    assert "spacing: cannot read 'big'" in widget.reason.text()


def test_missing_visits_are_added_and_marked(open_widget: Open, tmp_path: Path, qtbot: Any) -> None:
    _, widget = open_widget(NAME)
    add(qtbot, widget, *(write(tmp_path, f"{n}.nii", n) for n in range(2)))
    widget.visits.bar.missing_button.click()
    widget.set_ages([61, 62, 63])
    item = widget.visits.table.item(1, COLUMNS.index("missing"))
    item.setCheckState(Qt.CheckState.Checked)
    (layer,) = create(qtbot, widget)

    assert layer.metadata["followup"]["is_observed"] == [True, False, False]
    assert np.isnan(layer.data[1:]).all()


def test_a_damaged_file_marked_as_missing_is_left_out(
    open_widget: Open, tmp_path: Path, qtbot: Any
) -> None:
    _, widget = open_widget(NAME)
    add(qtbot, widget, write(tmp_path, "a.nii"), tmp_path / "absent.nii")
    widget.set_ages([61, 62])
    assert not widget.step.button.isEnabled()
    widget.visits.table.item(1, COLUMNS.index("missing")).setCheckState(Qt.CheckState.Checked)
    (layer,) = create(qtbot, widget)

    assert layer.metadata["followup"]["is_observed"] == [True, False]


def test_rows_are_moved_sorted_and_taken_out(open_widget: Open, tmp_path: Path, qtbot: Any) -> None:
    _, widget = open_widget(NAME)
    add(qtbot, widget, *(write(tmp_path, f"{n}.nii", n) for n in range(3)))
    bar, table = widget.visits.bar, widget.visits.table
    assert not bar.up_button.isEnabled()
    table.choose([2])
    bar.up_button.click()
    assert [row.name for row in widget.rows] == ["0.nii", "2.nii", "1.nii"]
    assert table.chosen == [1]
    bar.down_button.click()
    widget.set_ages([63, 62, 61])
    bar.sort_button.click()
    assert [row.name for row in widget.rows] == ["2.nii", "1.nii", "0.nii"]
    table.choose([0, 1])
    bar.remove_button.click()

    assert [row.name for row in widget.rows] == ["0.nii"]
    assert table.chosen == []


def test_without_ages_the_order_of_the_rows_counts(
    open_widget: Open, tmp_path: Path, qtbot: Any
) -> None:
    _, widget = open_widget(NAME)
    add(qtbot, widget, *(write(tmp_path, f"{n}.nii", n) for n in range(2)))
    widget.visits.table.choose([1])
    widget.visits.bar.up_button.click()
    (layer,) = create(qtbot, widget)

    np.testing.assert_array_equal(layer.data, IMAGES[[1, 0]])
    assert not layer.metadata["followup"]["ages_known"]


def test_other_grids_wait_for_the_checkbox(open_widget: Open, tmp_path: Path, qtbot: Any) -> None:
    _, widget = open_widget(NAME)
    add(qtbot, widget, write(tmp_path, "a.nii"), write(tmp_path, "b.nii", 1, planes=3))
    assert "use Align visits" in status(widget)[1]
    assert not widget.step.button.isEnabled()
    widget.form.onto_first.setChecked(True)
    assert status(widget)[1] == "Will be resampled onto the grid of visit 1"
    (layer,) = create(qtbot, widget)

    assert layer.data.shape == (2, 4, 8, 8)
    np.testing.assert_allclose(layer.data[1, :3], IMAGES[1, :3], atol=1e-6)
    said = layer.metadata["followup"]["provenance"]["steps"][0]["visits"][1]["images"][0]
    assert said["provenance"]["steps"][0]["outside"] == pytest.approx(0.25)


def test_a_table_whose_columns_have_other_names_is_asked_about(
    open_widget: Open, tmp_path: Path, qtbot: Any
) -> None:
    _, widget = open_widget(NAME)
    write(tmp_path, "a.nii")
    write(tmp_path, "b.nii", 1)
    table = tmp_path / "visits.csv"
    table.write_text("wo;alter;wer\na.nii;62;anna\nb.nii;61;anna\n;63;anna\n")
    add(qtbot, widget, table)
    assert widget.rows == []
    assert not widget.visits.columns.isHidden()
    for what, name in (("path", "wo"), ("age", "alter"), ("subject", "wer")):
        widget.visits.columns.boxes[what].setCurrentText(name)
    widget.visits.columns.use_button.click()
    settle(qtbot, widget)
    (layer,) = create(qtbot, widget)

    assert layer.name == "anna"
    assert layer.metadata["followup"]["ages"] == [61, 62, 63]
    assert layer.metadata["followup"]["is_observed"] == [True, True, False]


def test_a_layer_that_is_removed_is_an_error_at_its_row(open_widget: Open, qtbot: Any) -> None:
    labels = ("z", "y", "x")
    viewer, widget = open_widget(NAME, Image(IMAGES[0], name="scan", axis_labels=labels))
    widget.visits.add_layers()
    settle(qtbot, widget)
    viewer.layers.remove("scan")
    assert "the layer was removed" in status(widget)[0].lower()
    widget.visits.bar.again_button.click()
    settle(qtbot, widget)

    assert "the layer was removed" in status(widget)[0].lower()


def test_the_widget_keeps_no_layer_alive(open_widget: Open, qtbot: Any) -> None:
    viewer, widget = open_widget(NAME)
    layer = weakref.ref(viewer.add_image(IMAGES[0], axis_labels=("z", "y", "x")))
    widget.visits.add_layers()
    settle(qtbot, widget)
    viewer.layers.clear()
    qtbot.wait(50)
    gc.collect()

    assert layer() is None
    assert len(widget.rows) == 1


def slow(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    read = stack_sources.read_file

    def slowly(*given: Any) -> Any:
        time.sleep(seconds)
        return read(*given)

    monkeypatch.setattr(stack_sources, "read_file", slowly)


def test_a_stop_while_the_stack_is_made_adds_nothing(
    open_widget: Open, tmp_path: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, widget = open_widget(NAME)
    add(qtbot, widget, write(tmp_path, "a.nii"))
    make = stack_widget.make_stack

    def slowly(*given: Any) -> Any:
        time.sleep(0.3)
        return make(*given)

    monkeypatch.setattr(stack_widget, "make_stack", slowly)
    widget.run()
    assert not widget.step.button.isEnabled()
    with qtbot.waitSignal(widget.step.finished):
        widget.step.stop()

    assert widget.step.error == "Stopped; nothing was added."
    assert len(viewer.layers) == 0
    assert widget.step.button.isEnabled()


def test_the_widget_closed_while_it_reads_ends_it_quietly(
    open_widget: Open, tmp_path: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch, 0.1)
    viewer, widget = open_widget(NAME)
    widget.visits.add_paths([write(tmp_path, f"{n}.nii", n) for n in range(3)])
    viewer.window.remove_dock_widget("all")
    widget = None
    qtbot.wait(100)
    gc.collect()
    assert QThreadPool.globalInstance().waitForDone(5000)
    qtbot.wait(50)
    viewer.add_image(IMAGES[0])
    viewer.layers.clear()  # events reach no widget that has gone


def test_a_viewer_closed_while_files_are_read_ends_it_quietly(
    open_widget: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch, 0.1)
    _, widget = open_widget(NAME)
    widget.visits.add_paths([write(tmp_path, f"{n}.nii", n) for n in range(3)])
    # the fixtures close the viewer now, then wait for the thread


def test_a_script_runs_once_all_is_checked(open_widget: Open, tmp_path: Path, qtbot: Any) -> None:
    viewer, widget = open_widget(NAME)
    for name, visit in (("a.nii", 0), ("b.nii", 1)):
        write(tmp_path, name, visit)
    (tmp_path / "visits.csv").write_text("path,age\na.nii,61\nb.nii,62\n")
    widget.checked.connect(lambda: widget.complaint or widget.run())
    with qtbot.waitSignal(widget.step.finished, timeout=20_000):
        widget.visits.add_paths([str(tmp_path / "visits.csv")])
    qtbot.wait(100)

    assert [layer.name for layer in viewer.layers] == ["visits"]
    assert viewer.layers[0].data.shape == (2, 4, 8, 8)


def test_importing_the_widget_loads_no_torch() -> None:
    script = "import sys, napari_followup.plugin.stack.stack_widget; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout.strip() == "False", done.stderr


@pytest.fixture
def form(qtbot: Any) -> StackForm:
    form = StackForm()
    qtbot.addWidget(form)
    return form


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("", None),
        ("6, 0.9, 0.8", (6.0, 0.9, 0.8)),
        ("6 × 0.9 × 0.8", (6.0, 0.9, 0.8)),
        ("0.9 0.8", (1.0, 0.9, 0.8)),
        ("2", (2.0, 2.0, 2.0)),
    ],
)
def test_spacing_is_read_as_people_write_it(text: str, sizes: Any) -> None:
    assert parse_spacing(text) == sizes


@pytest.mark.parametrize("text", ["big", "1, 2, 3, 4", "1, 0, 1", "1, inf, 1"])
def test_a_spacing_that_is_none_says_so(text: str) -> None:
    with pytest.raises(ValueError, match=f"spacing: cannot read '{text}'"):
        parse_spacing(text)


def test_an_untouched_form_says_nothing(form: StackForm) -> None:
    assert form.options() == Options(name="stack")
    assert form.subject_combo.isHidden()
    assert form.axes_combo.isHidden()


def test_what_is_set_is_told(form: StackForm, qtbot: Any) -> None:
    form.name_edit.setText("anna")
    form.modality_edit.setText("FLAIR")
    form.spacing_edit.setText("3, 1, 1")
    form.unit_combo.setCurrentText("mm")
    form.birth_edit.setText("1960-01-31")
    with qtbot.waitSignal(form.changed):
        form.onto_first.setChecked(True)

    assert form.options() == Options(
        name="anna",
        modality="FLAIR",
        spacing=(3.0, 1.0, 1.0),
        unit="mm",
        birth="1960-01-31",
        onto_first=True,
    )


def test_subjects_and_axes_are_asked_for_where_there_is_doubt(form: StackForm, qtbot: Any) -> None:
    with qtbot.assertNotEmitted(form.subject_chosen), qtbot.assertNotEmitted(form.axes_chosen):
        form.show_subjects(["anna", "bob"], "bob", "bob")
        form.show_axes(["zyx", "vyx"], None)
    assert not form.subject_combo.isHidden()
    assert form.options().subject == form.options().name == "bob"
    with qtbot.waitSignal(form.subject_chosen) as told:
        form.subject_combo.setCurrentText("anna")
    assert told.args == ["anna"]
    with qtbot.waitSignal(form.axes_chosen) as told:
        form.axes_combo.setCurrentText("z, y, x: one visit")
    assert told.args == ["zyx"]
    form.show_subjects(["anna"], "", "anna")

    assert form.subject_combo.isHidden()
