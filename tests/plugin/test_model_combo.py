from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from napari_followup.plugin import model_combo
from napari_followup.plugin.model_combo import CHOOSE, ModelCombo

pytestmark = pytest.mark.viewer


@pytest.fixture
def combo(qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCombo:
    monkeypatch.setattr(model_combo, "embedded", lambda: ["andi", "starmen"])
    (tmp_path / "mine.safetensors").write_bytes(b"")
    combo = ModelCombo(str(tmp_path))
    qtbot.addWidget(combo)
    return combo


def test_embedded_models_and_those_of_the_folder_are_offered(
    combo: ModelCombo, tmp_path: Path
) -> None:
    texts = [combo.itemText(index) for index in range(combo.count())]

    assert texts == ["andi", "starmen", "mine", "", CHOOSE]
    combo.setCurrentIndex(2)
    assert combo.chosen == str(tmp_path / "mine.safetensors")


def test_a_file_can_be_chosen(
    combo: ModelCombo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "elsewhere.safetensors")
    monkeypatch.setattr(model_combo.QFileDialog, "getOpenFileName", lambda *_: (path, ""))
    combo.setCurrentIndex(4)
    combo.activated.emit(4)

    assert combo.chosen == path
    assert combo.currentText() == "elsewhere"


def test_a_cancelled_dialog_keeps_the_choice(
    combo: ModelCombo, monkeypatch: pytest.MonkeyPatch
) -> None:
    combo.chosen = "starmen"
    monkeypatch.setattr(model_combo.QFileDialog, "getOpenFileName", lambda *_: ("", ""))
    combo.setCurrentIndex(4)
    combo.activated.emit(4)

    assert combo.chosen == "starmen"


def test_a_remembered_model_that_is_gone_is_not_chosen(combo: ModelCombo, tmp_path: Path) -> None:
    combo.fill(str(tmp_path), "starmen")
    assert combo.chosen == "starmen"
    combo.fill(str(tmp_path), str(tmp_path / "gone.safetensors"))
    assert combo.chosen == "andi"


def test_no_model_at_all_is_said(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_combo, "embedded", list)
    combo = ModelCombo()
    qtbot.addWidget(combo)

    assert (combo.currentText(), combo.chosen) == ("no model yet", "")
