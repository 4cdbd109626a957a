from __future__ import annotations

import csv
import errno
import json
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.layers import Image

from napari_followup.io import read_stack
from napari_followup.io.replacing import write_json
from napari_followup.plugin.results.save_panel import SavePanel

pytestmark = pytest.mark.viewer

Open = Callable[..., Any]


def scan(data: np.ndarray, **more: Any) -> Image:
    about = {"axes": "vyx", "ages": [61, 62, 63, 64.5]}
    placed = {"scale": (1, 0.5, 0.5), "units": ("pixel", "mm", "mm")}
    return Image(data, name="scan", metadata={"followup": about}, **(placed | more))


def detected(open_widget: Open, qtbot: Any, *layers: Any) -> tuple[Any, Any]:
    viewer, widget = open_widget("Detect anomalies", *layers)
    with qtbot.waitSignal(widget.finished, timeout=60_000):
        widget.run()
    assert widget.error == ""
    return viewer, widget


def save(qtbot: Any, panel: SavePanel, folder: Path) -> str:
    """Press the button, choose the folder, wait; return what is said."""
    panel.ask_folder = lambda start: str(folder)
    with qtbot.waitSignal(panel.finished, timeout=60_000):
        panel.button.click()
    return panel.job.status.text()


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_button_writes_what_is_shown_and_says_where(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any, tmp_path: Path
) -> None:
    viewer, widget = detected(open_widget, qtbot, scan(series))
    panel = widget.results.save
    assert panel.format == "nifti"
    widget.results.threshold.slider.setValue(0.25)
    panel.stages_box.setChecked(True)

    said = save(qtbot, panel, tmp_path / "out")

    assert said == f"Saved 10 files in {tmp_path / 'out'}"
    mask = read_stack(tmp_path / "out" / "scan_mask.nii.gz")
    np.testing.assert_array_equal(mask.images[:, 0, 0], viewer.layers["scan mask"].data)
    threshold = widget.detection.threshold
    assert mask.provenance["threshold"] == pytest.approx(threshold)
    assert json.loads((tmp_path / "out" / "scan_provenance.json").read_text())["model"] == str(
        widget.detection.provenance["model"]
    )
    voxels = [int(row["voxels"]) for row in rows_of(tmp_path / "out" / "scan_visits.csv")]
    assert voxels == [int(visit.sum()) for visit in viewer.layers["scan mask"].data]
    assert threading.get_ident() not in doors.threads


def test_a_mask_that_was_painted_on_is_saved_as_it_is_shown(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any, tmp_path: Path
) -> None:
    viewer, widget = detected(open_widget, qtbot, scan(series))
    mask = viewer.layers["scan mask"]
    mask.data[:] = 0
    mask.data[1, 2, 3:6] = 1

    save(qtbot, widget.results.save, tmp_path)

    rows = rows_of(tmp_path / "scan_visits.csv")
    assert [row["voxels"] for row in rows] == ["0", "3", "0", "0"]
    assert float(rows[1]["area_mm2"]) == pytest.approx(3 * 0.25)
    assert json.loads((tmp_path / "scan_provenance.json").read_text())["mask_edited"] is True


def test_files_that_are_there_are_replaced_only_if_the_user_says_so(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any, tmp_path: Path
) -> None:
    _, widget = detected(open_widget, qtbot, scan(series))
    panel, asked = widget.results.save, []
    save(qtbot, panel, tmp_path)
    mine = (tmp_path / "scan_visits.csv").read_bytes()
    widget.results.threshold.slider.setValue(0.0)

    def answer(text: str) -> Callable[[Path, list[str]], str]:
        return lambda folder, there: asked.append((folder, len(there))) or text

    panel.ask_replacing = answer("")
    panel.save(tmp_path)
    assert not panel.job.is_running
    panel.ask_replacing = answer("new")
    assert save(qtbot, panel, tmp_path) == f"Saved 8 files in {tmp_path / 'results-2'}"
    assert (tmp_path / "scan_visits.csv").read_bytes() == mine
    panel.ask_replacing = answer("replace")
    save(qtbot, panel, tmp_path)
    assert (tmp_path / "scan_visits.csv").read_bytes() != mine
    assert asked == [(tmp_path, 5)] * 3


def test_no_folder_chosen_does_nothing(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any
) -> None:
    _, widget = detected(open_widget, qtbot, scan(series))
    widget.results.save.ask_folder = lambda start: ""
    widget.results.save.button.click()

    assert not widget.results.save.job.is_running


def test_a_full_disk_is_said_with_the_name_of_the_file(
    open_widget: Open,
    doors: Any,
    series: np.ndarray,
    qtbot: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, widget = detected(open_widget, qtbot, scan(series))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("napari_followup.io.save_results.write_table", full)

    said = save(qtbot, widget.results.save, tmp_path / "out")

    assert str(tmp_path / "out" / "scan_visits.csv") in said
    assert "has room, or give another" in said
    assert said.startswith("cannot write")
    assert not (tmp_path / "out").exists()
    assert widget.results.save.button.isEnabled()


def test_a_file_in_the_place_of_the_folder_is_said(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any, tmp_path: Path
) -> None:
    _, widget = detected(open_widget, qtbot, scan(series))
    (tmp_path / "out").write_text("mine")

    assert "out' is a file; give a folder" in save(qtbot, widget.results.save, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_series_without_lengths_is_saved_as_ome_tiff_and_a_new_run_forgets_what_was_said(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any, tmp_path: Path
) -> None:
    _, widget = detected(open_widget, qtbot, scan(series, units=("pixel",) * 3))
    save(qtbot, widget.results.save, tmp_path)
    assert (tmp_path / "scan_mask.ome.tif").is_file()

    with qtbot.waitSignal(widget.finished, timeout=60_000):
        widget.run()
    assert widget.results.save.job.status.text() == ""


def test_imputed_visits_are_saved_from_their_widget(
    open_widget: Open, doors: Any, gappy: np.ndarray, qtbot: Any, tmp_path: Path
) -> None:
    about = {"axes": "vyx", "ages": [60, 61, 62, 63, 64]}
    image = Image(gappy, name="scan", metadata={"followup": about}, units=("pixel", "mm", "mm"))
    _, widget = open_widget("Impute visits", image)
    assert widget.step.save.isHidden()
    widget.ages = [62]
    widget.controls["spread"].value = True
    with qtbot.waitSignal(widget.step.finished, timeout=60_000):
        widget.step.run()
    assert widget.step.error == ""

    said = save(qtbot, widget.step.save, tmp_path / "out")

    assert said == f"Saved 6 files in {tmp_path / 'out'}"
    back = read_stack(tmp_path / "out" / "scan_imputed.nii.gz")
    np.testing.assert_array_equal(back.images[:, 0, 0], widget.step.layers[0].data)
    assert back.is_observed.tolist() == [True, True, False, True, True]
    told = json.loads((tmp_path / "out" / "scan_imputed_provenance.json").read_text())
    assert told["strategy"] == "joint"
    spread = read_stack(tmp_path / "out" / "scan_spread.nii.gz")
    assert spread.is_observed.tolist() == [False, False, True, False, False]


def test_results_that_were_removed_cannot_be_saved(
    open_widget: Open, doors: Any, series: np.ndarray, qtbot: Any, tmp_path: Path
) -> None:
    viewer, widget = open_widget("Reconstruct (SDM)", scan(series))
    with qtbot.waitSignal(widget.step.finished, timeout=60_000):
        widget.step.run()
    del viewer.layers["scan healthy"]

    said = save(qtbot, widget.step.save, tmp_path / "out")

    assert said == "the results are no longer among the layers; run again"
    assert not (tmp_path / "out").exists()


def test_the_question_names_what_is_there(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from qtpy.QtWidgets import QMessageBox

    panel, texts = SavePanel(lambda form, stages: {}), []
    qtbot.addWidget(panel)

    def press(wanted: str) -> None:
        def execute(box: Any) -> int:
            texts.append(box.text())
            (button,) = [each for each in box.buttons() if wanted in each.text()]
            button.click()
            return 0

        monkeypatch.setattr(QMessageBox, "exec", execute)

    answers = []
    for wanted in ("Replace", "New folder", "Cancel"):
        press(wanted)
        answers.append(panel.ask_replacing(Path("out"), ["a.nii.gz", "b.csv"]))

    assert answers == ["replace", "new", ""]
    assert texts[0] == "out holds a.nii.gz and 1 more already."


def test_the_dialog_opens_beside_the_file_and_then_where_it_was_left(
    qtbot: Any, tmp_path: Path
) -> None:
    panel, starts = SavePanel(lambda form, stages: {}), []
    qtbot.addWidget(panel)
    panel.ask_folder = lambda start: starts.append(start) or ""
    layer = SimpleNamespace(source=SimpleNamespace(path=str(tmp_path / "brain.nii.gz")))

    panel.button.click()
    panel.start_beside(SimpleNamespace(source=SimpleNamespace(path=None)))
    panel.start_beside(layer)
    panel.button.click()

    assert starts == [Path.home(), tmp_path]


def test_planes_that_were_examined_are_said(qtbot: Any, tmp_path: Path) -> None:
    planes = {"axis": "z", "first": 1, "last": 6, "step": 2}
    parts = {
        f"{name}_provenance.json": partial(write_json, values={"planes": planes}) for name in "ab"
    }
    panel = SavePanel(lambda form, stages: parts)
    qtbot.addWidget(panel)

    said = save(qtbot, panel, tmp_path)

    assert said == f"Saved 2 files in {tmp_path}; planes 1 to 5 across z, every 2 planes"


def test_an_old_error_goes_when_the_next_attempt_is_called_off(qtbot: Any, tmp_path: Path) -> None:
    parts = {"a.json": partial(write_json, values={})}
    panel = SavePanel(lambda form, stages: parts)
    qtbot.addWidget(panel)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "a.json").write_text("mine")

    assert "is a file" in save(qtbot, panel, tmp_path / "file")
    panel.ask_folder = lambda start: ""
    panel.button.click()
    assert panel.job.status.text() == ""

    assert "is a file" in save(qtbot, panel, tmp_path / "file")
    panel.ask_replacing = lambda folder, there: ""
    panel.save(tmp_path)
    assert panel.job.status.text() == ""


def test_the_button_promises_what_is_written(qtbot: Any) -> None:
    detections = SavePanel(lambda form, stages: {}, has_stages=True)
    others = SavePanel(lambda form, stages: {})
    for each in (detections, others):
        qtbot.addWidget(each)

    assert "table of visits" in detections.button.toolTip()
    assert "table" not in others.button.toolTip()
