from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from qtpy.QtWidgets import QFileDialog

from napari_followup.plugin.stack.stack_bars import RowBar, SourceBar

pytestmark = pytest.mark.viewer


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
    bar.know(0, 0)
    assert not bar.sort_button.isEnabled()
    assert bar.missing_button.isEnabled()
    bar.know(2, 0)
    assert bar.sort_button.isEnabled()
    assert not bar.up_button.isEnabled()
    bar.know(2, 1)

    assert bar.remove_button.isEnabled()
