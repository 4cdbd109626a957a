from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from napari_followup.plugin.stack.columns_form import ColumnsForm
from napari_followup.plugin.stack.stack_rows import Listed

pytestmark = pytest.mark.viewer


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
