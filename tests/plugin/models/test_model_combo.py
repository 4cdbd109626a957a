from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from napari_followup.models import catalogue
from napari_followup.plugin.forms.preferences import Preferences
from napari_followup.plugin.models import model_choice
from napari_followup.plugin.models.model_choice import CHOOSE, ModelCombo

pytestmark = pytest.mark.viewer


@pytest.fixture
def folder(tiny_model: Path, tiny_tdm_model: Path, tmp_path: Path) -> Path:
    """A model folder with one model."""
    folder = tmp_path / "mine"
    folder.mkdir()
    shutil.copyfile(tiny_tdm_model, folder / "mine.safetensors")
    return folder


@pytest.fixture
def combo(
    qtbot: Any, folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> ModelCombo:
    embedded = folder.parent / "embedded"
    embedded.mkdir()
    for name in ("andi", "starmen"):
        shutil.copyfile(tiny_model, embedded / f"{name}.safetensors")
    monkeypatch.setattr(catalogue, "FOLDER", embedded)
    combo = ModelCombo(str(folder))
    qtbot.addWidget(combo)
    return combo


def texts(combo: ModelCombo) -> list[str]:
    return [combo.itemText(index) for index in range(combo.count())]


def open_list(combo: ModelCombo) -> None:
    combo.showPopup()
    combo.hidePopup()


def test_embedded_models_and_those_of_the_folder_are_offered_with_their_methods(
    combo: ModelCombo, folder: Path
) -> None:
    assert texts(combo) == ["andi (sdm)", "starmen (sdm)", "mine (tdm)", "", CHOOSE]
    combo.setCurrentIndex(1)
    assert combo.chosen == "starmen"
    combo.setCurrentIndex(2)
    assert combo.chosen == str(folder / "mine.safetensors")
    assert "tdm, planes of 16 x 16 pixels" in combo.toolTip()


def test_installed_models_are_offered_too(
    combo: ModelCombo, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(catalogue.VARIABLE, str(folder))
    combo.fill("")

    assert texts(combo)[2] == "mine (tdm)"
    combo.chosen = "mine"
    assert combo.chosen == str(folder / "mine.safetensors")
    assert combo.currentIndex() == 2


def test_the_list_follows_the_folder_and_the_choice_stays(
    combo: ModelCombo, folder: Path, tiny_model: Path
) -> None:
    combo.chosen = str(folder / "mine.safetensors")
    shutil.copyfile(tiny_model, folder / "another.safetensors")
    open_list(combo)

    assert texts(combo)[2:4] == ["another (sdm)", "mine (tdm)"]
    assert combo.chosen == str(folder / "mine.safetensors")

    os.remove(folder / "mine.safetensors")
    open_list(combo)

    assert texts(combo) == ["andi (sdm)", "starmen (sdm)", "another (sdm)", "", CHOOSE]
    assert combo.chosen == "andi"


def test_the_list_follows_the_preferences(
    combo: ModelCombo, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copyfile(tiny_model, other / "theirs.safetensors")
    monkeypatch.setattr(Preferences, "load", lambda: Preferences(model_folder=str(other)))
    open_list(combo)

    assert texts(combo)[2] == "theirs (sdm)"


def test_an_unchanged_folder_leaves_the_list_alone(
    combo: ModelCombo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the list was made anew")

    monkeypatch.setattr(combo, "fill", refuse)

    open_list(combo)


def test_a_file_that_is_no_model_is_said_to_be_none(combo: ModelCombo, folder: Path) -> None:
    (folder / "broken.safetensors").write_bytes(b"")
    combo.fill(str(folder), str(folder / "broken.safetensors"))

    assert combo.currentText() == "broken (cannot be read)"
    assert "not a readable model file" in combo.toolTip()


def test_a_file_can_be_chosen(
    combo: ModelCombo, tiny_tdm_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tiny_tdm_model)
    monkeypatch.setattr(model_choice.QFileDialog, "getOpenFileName", lambda *_: (path, ""))
    combo.setCurrentIndex(4)
    combo.activated.emit(4)

    assert combo.chosen == path
    assert combo.currentText() == f"{tiny_tdm_model.stem} (tdm)"


def test_a_cancelled_dialog_keeps_the_choice(
    combo: ModelCombo, monkeypatch: pytest.MonkeyPatch
) -> None:
    combo.chosen = "starmen"
    monkeypatch.setattr(model_choice.QFileDialog, "getOpenFileName", lambda *_: ("", ""))
    combo.setCurrentIndex(4)
    combo.activated.emit(4)

    assert combo.chosen == "starmen"


def test_a_remembered_model_that_is_gone_is_not_chosen(combo: ModelCombo, folder: Path) -> None:
    combo.fill(str(folder), "starmen")
    assert combo.chosen == "starmen"
    combo.fill(str(folder), str(folder / "gone.safetensors"))
    assert combo.chosen == "andi"


def test_no_model_at_all_is_said(
    qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)
    combo = ModelCombo()
    qtbot.addWidget(combo)

    assert (combo.currentText(), combo.chosen) == ("no model yet", "")


def test_each_choice_is_told_once_and_never_while_the_list_is_filled(
    combo: ModelCombo, folder: Path, tiny_model: Path
) -> None:
    told: list[str] = []
    combo.model_changed.connect(lambda: told.append(combo.chosen))
    combo.fill(str(folder), combo.chosen)
    assert told == [combo.chosen]
    combo.chosen = str(tiny_model)
    assert told[1:] == [str(tiny_model)]

    combo.setCurrentIndex(combo.findData(CHOOSE))  # no model, but the way to a file
    assert len(told) == 2


def test_a_file_that_may_have_been_replaced_is_told_of(combo: ModelCombo) -> None:
    told: list[str] = []
    combo.model_changed.connect(lambda: told.append(combo.chosen))
    combo.refresh()

    assert told == [combo.chosen]
