from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from napari_followup.plugin.models.model_choice import ModelCombo
from napari_followup.plugin.train.train_actions import Trained
from napari_followup.plugin.train.trained_panel import TrainedPanel

pytestmark = pytest.mark.viewer


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("NAPARI_FOLLOWUP_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def panel(qtbot: Any, threads_end: None, models: Path, tiny_model: Path) -> Iterator[TrainedPanel]:
    panel = TrainedPanel()
    qtbot.addWidget(panel)
    panel.show_trained(Trained(summary="", path=tiny_model, name="tiny", method="sdm", card={}))
    yield panel
    panel.job.stop()


def save(qtbot: Any, panel: TrainedPanel) -> str:
    with qtbot.waitSignal(panel.finished, timeout=20_000):
        panel.save_button.click()
    return panel.job.status.text()


def test_a_saved_model_is_listed_at_once(
    panel: TrainedPanel, models: Path, kept: Any, qtbot: Any
) -> None:
    combo = ModelCombo()
    qtbot.addWidget(combo)
    before = combo.chosen
    panel.name.setText("heads")
    said = save(qtbot, panel)

    assert said.startswith(f"Saved {models / 'heads.safetensors'}")
    assert combo.findData(str(models / "heads.safetensors")) >= 0
    assert combo.chosen == before


@pytest.mark.parametrize("answer", [False, True])
def test_a_model_of_that_name_is_replaced_only_when_asked(
    panel: TrainedPanel, models: Path, qtbot: Any, answer: bool
) -> None:
    models.mkdir()
    (models / "tiny.safetensors").write_bytes(b"another")
    asked: list[str] = []
    panel.ask_replacing = lambda name: bool(asked.append(name)) or answer
    if answer:
        save(qtbot, panel)
    else:
        panel.save_button.click()
        assert not panel.job.is_running

    assert asked == ["tiny"]
    assert ((models / "tiny.safetensors").read_bytes() == b"another") is not answer


@pytest.mark.parametrize("name", ["starmen", "a/b", "-"])
def test_a_name_that_cannot_be_is_said(panel: TrainedPanel, qtbot: Any, name: str) -> None:
    panel.name.setText(name)

    assert save(qtbot, panel).startswith("name: ")
    assert panel.save_button.isEnabled()


def test_a_copy_goes_to_a_file(
    panel: TrainedPanel, tiny_model: Path, tmp_path: Path, qtbot: Any
) -> None:
    panel.ask_file = lambda start: str(tmp_path / start.removesuffix(".safetensors"))
    with qtbot.waitSignal(panel.finished, timeout=20_000):
        panel.file_button.click()

    assert (tmp_path / "tiny.safetensors").read_bytes() == tiny_model.read_bytes()
    assert panel.saved == tmp_path / "tiny.safetensors"


def test_no_model_shows_nothing(panel: TrainedPanel) -> None:
    panel.show_trained(None)

    assert panel.isHidden()
    panel.save()
    assert not panel.job.is_running
