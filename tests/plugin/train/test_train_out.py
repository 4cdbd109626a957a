from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from napari_followup.plugin.train.train_actions import TrainChoice
from napari_followup.plugin.train.train_out import TrainOut
from napari_followup.training.plan import TrainingPlan

pytestmark = pytest.mark.viewer

CHOICE = TrainChoice(plan=TrainingPlan(minutes=30))


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("NAPARI_FOLLOWUP_MODELS", str(tmp_path / "models"))
    return tmp_path / "trainings"


@pytest.fixture
def out(qtbot: Any, trainings: Path) -> TrainOut:
    out = TrainOut()
    qtbot.addWidget(out)
    out.follow(CHOICE)
    return out


def begin(folder: Path, plan: TrainingPlan = CHOICE.plan) -> Path:
    noted = {"method": "sdm", "preset": "compact", "config": {}, "plan": asdict(plan)}
    (folder / "denoise").mkdir(parents=True)
    (folder / "denoise" / "last.ckpt").write_bytes(b"")
    (folder / "training.json").write_text(json.dumps(noted))
    return folder


def test_a_folder_is_suggested_that_follows_the_name(out: TrainOut, trainings: Path) -> None:
    assert out.folder == trainings / "sdm"
    out.follow(TrainChoice(plan=CHOICE.plan, about={"name": "mine"}))

    assert out.folder == trainings / "mine"
    assert out.said.isHidden()
    assert out.new_button.isHidden()


def test_a_folder_at_home_is_shown_short(
    out: TrainOut, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    out.folder = tmp_path / "runs" / "sdm"

    assert out.edit.text() == str(Path("~/runs/sdm"))
    assert out.folder == tmp_path / "runs" / "sdm"


def test_a_folder_that_was_chosen_stays(out: TrainOut, tmp_path: Path) -> None:
    out.folder = tmp_path / "own"
    out.follow(TrainChoice(plan=CHOICE.plan, about={"name": "mine"}))

    assert out.folder == tmp_path / "own"


def test_a_checkpoint_is_offered_and_other_settings_are_named(
    out: TrainOut, tmp_path: Path, qtbot: Any
) -> None:
    out.folder = begin(tmp_path / "run", TrainingPlan(minutes=30, seed=4))

    assert out.run.can_resume
    assert "can be resumed" in out.said.text()
    assert "Its settings are others: seed 4 there, 0 here." in out.said.text()
    with qtbot.waitSignal(out.settings_wanted) as wanted:
        out.take_button.click()
    assert wanted.args[0]["plan"]["seed"] == 4


def test_equal_settings_need_nothing(out: TrainOut, tmp_path: Path) -> None:
    out.folder = begin(tmp_path / "run")

    assert out.take_button.isHidden()
    assert "others" not in out.said.text()


def test_a_new_folder_is_one_that_is_not_there(out: TrainOut, trainings: Path) -> None:
    begin(trainings / "sdm")
    out.refresh()
    out.new_button.click()

    assert out.folder == trainings / "sdm-2"
    assert not out.run.is_used


def test_of_a_long_path_the_end_is_seen_and_all_of_it_is_told(
    out: TrainOut, tmp_path: Path
) -> None:
    folder = tmp_path / "a-folder-with-a-long-name" / "trainings" / "sadm"
    out.folder = folder

    assert out.edit.cursorPosition() == len(out.edit.text())  # Qt shows the part with the cursor
    assert out.edit.toolTip().startswith(f"{folder}\n")
    out.follow(TrainChoice(plan=CHOICE.plan, about={"name": "mine"}))
    assert out.edit.toolTip().startswith(f"{folder}\n")
