from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QMimeData, QPoint, Qt, QUrl
from qtpy.QtGui import QDropEvent

from napari_followup.plugin.stack.stack_making import Verdict
from napari_followup.plugin.stack.stack_rows import Row, facts_of
from napari_followup.plugin.stack.stack_sources import FileOrigin
from napari_followup.plugin.stack.visits_table import NAMES, VisitsTable
from napari_followup.series.stack import VisitStack

pytestmark = pytest.mark.viewer


@pytest.fixture
def table(qtbot: Any) -> VisitsTable:
    table = VisitsTable()
    qtbot.addWidget(table)
    return table


def row(name: str, **said: Any) -> Row:
    stack = VisitStack.from_array(np.eye(8, dtype=np.float32)[None], spacing=(1, 1))
    return Row(name=name, origin=FileOrigin(Path(name)), facts=facts_of(stack, 0), **said)


def cell(table: VisitsTable, place: int, name: str) -> Any:
    return table.item(place, NAMES.index(name))


def test_a_row_shows_what_is_known_and_what_is_wrong(table: VisitsTable) -> None:
    rows = [row("a.nii.gz", when="61", modality="T1"), Row(name="no image", is_missing=True)]
    verdicts = [Verdict("Cut short, all of it", "error"), Verdict()]
    table.show_rows(rows, verdicts, {0: 2, 1: 1})

    assert [cell(table, 0, name).text() for name in NAMES] == [
        "2",
        "a",
        "61",
        "T1",
        "",
        "Cut short, all of it",
        "1 × 8 × 8\n1 × 1 × 1 mm",
    ]
    assert cell(table, 0, "image").toolTip() == str(Path("a.nii.gz").absolute())
    assert cell(table, 0, "status").toolTip() == "Cut short, all of it"
    assert cell(table, 0, "status").foreground().color().name() == "#e5533d"
    assert cell(table, 1, "status").text() == "Ready"
    assert cell(table, 1, "missing").checkState() == Qt.CheckState.Checked
    assert not cell(table, 1, "missing").flags() & Qt.ItemFlag.ItemIsEnabled


def test_the_thumbnail_keeps_its_proportions(table: VisitsTable) -> None:
    flat = VisitStack.from_array(np.full((1, 4, 8), 1.0) * np.arange(8), spacing=(1, 1))
    each = Row(name="a", origin=FileOrigin(Path("a")), facts=facts_of(flat, 0))
    table.show_rows([each], [Verdict()], {})
    picture = cell(table, 0, "image").icon().pixmap(44, 44).toImage()

    assert picture.pixelColor(43, 22).red() > 200
    assert picture.pixelColor(0, 22).alpha() == 255
    assert picture.pixelColor(22, 2).alpha() == 0


def test_edits_are_told(table: VisitsTable, qtbot: Any) -> None:
    with qtbot.assertNotEmitted(table.edited):
        table.show_rows([row("a")], [Verdict()], {})
    for name, field in (("age or date", "when"), ("modality", "modality")):
        with qtbot.waitSignal(table.edited) as told:
            cell(table, 0, name).setText(" 62 ")
        assert told.args == [0, field, "62"]
    with qtbot.waitSignal(table.edited) as told:
        cell(table, 0, "missing").setCheckState(Qt.CheckState.Checked)
    assert told.args == [0, "is_missing", True]


def test_the_selection_stays_when_the_rows_are_shown_anew(table: VisitsTable) -> None:
    rows = [row("a"), row("b"), row("c")]
    table.show_rows(rows, [Verdict()] * 3, {})
    table.choose([0, 2])
    table.show_rows(rows, [Verdict("x")] * 3, {})

    assert table.chosen == [0, 2]


def test_files_can_be_dropped(table: VisitsTable, qtbot: Any, tmp_path: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path / "a.nii"))])
    copy, left, none = (
        Qt.DropAction.CopyAction,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    event = QDropEvent(QPoint(5, 5).toPointF(), copy, data, left, none)
    with qtbot.waitSignal(table.dropped) as told:
        table.dropEvent(event)

    assert told.args == [[tmp_path / "a.nii"]]


def test_text_that_is_dropped_is_left_alone(table: VisitsTable, qtbot: Any) -> None:
    data = QMimeData()
    data.setText("a.nii")
    event = QDropEvent(
        QPoint(5, 5).toPointF(),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    with qtbot.assertNotEmitted(table.dropped):
        table.dropEvent(event)

    assert not event.isAccepted()


def test_an_empty_table_says_what_belongs_there(table: VisitsTable) -> None:
    table.resize(400, 300)
    empty = table.grab().toImage()
    table.show_rows([row("a")], [Verdict()], {})
    filled = table.grab().toImage()
    band = [(x, y) for x in range(100, 300) for y in range(130, 190)]

    assert len({empty.pixelColor(*place).name() for place in band}) > 1  # there is text
    assert len({filled.pixelColor(*place).name() for place in band}) == 1
