from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from napari_followup.plugin.train.train_actions import TrainChoice
from napari_followup.plugin.train.train_folder import (
    TrainOut,
    free_folder,
    run_folder,
    trainings_folder,
    unlike,
)
from napari_followup.training.plan import Augmentation, TrainingPlan

PLAN = TrainingPlan(minutes=30)

pytestmark = pytest.mark.viewer


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("NAPARI_FOLLOWUP_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def noted(**changes: Any) -> dict[str, Any]:
    values = {
        "method": "sdm",
        "preset": "compact",
        "config": {"image_size": [64, 64]},
        "plan": asdict(PLAN),
        **changes,
    }
    return json.loads(json.dumps(values))


def chosen(plan: TrainingPlan = PLAN, **changes: Any) -> dict[str, Any]:
    given = {"method": "sdm", "preset": "compact", "image_size": None, **changes}
    return {**given, "plan": asdict(plan)}


def begun(folder: Path, *files: str) -> Path:
    for file in ("training.json", *files):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"")
    (folder / "training.json").write_text(json.dumps(noted()))
    return folder


def test_a_checkpoint_can_be_resumed(tmp_path: Path) -> None:
    found = run_folder(begun(tmp_path / "run", "denoise/last.ckpt"))

    assert found.can_resume
    assert found.summary == (
        "Contains a training of sdm (compact) that can be resumed: denoise has a checkpoint."
    )


def test_a_later_stage_says_which_is_finished(tmp_path: Path) -> None:
    files = ("denoise/last.ckpt", "denoise/finished.safetensors", "features/last.ckpt")
    found = run_folder(begun(tmp_path / "run", *files))

    assert "denoise is finished, features has a checkpoint" in found.summary


def test_a_finished_training_is_not_resumed(tmp_path: Path) -> None:
    found = run_folder(begun(tmp_path / "run", "denoise/last.ckpt", "sdm.safetensors"))

    assert not found.can_resume
    assert "is finished; take a new folder" in found.summary


@pytest.mark.parametrize("text", ["", "[]", "{", '{"plan": 3}'])
def test_a_folder_of_other_things_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "training.json").write_text(text)

    assert not run_folder(tmp_path).is_used
    assert run_folder(tmp_path).summary == ""
    assert not run_folder(tmp_path / "not there").is_used


def test_the_suggested_folder_lies_beside_the_models(models: Path) -> None:
    assert free_folder("a b") == models.parent / "trainings" / "a-b"


def test_a_finished_training_is_not_suggested_again_but_an_open_one_is() -> None:
    begun(trainings_folder() / "sdm", "sdm.safetensors")
    begun(trainings_folder() / "sdm-2", "denoise/last.ckpt")

    assert free_folder("sdm").name == "sdm-2"
    assert free_folder("sdm", unused=True).name == "sdm-3"


def test_equal_settings_do_not_differ() -> None:
    assert unlike(noted(), chosen()) == []


def test_what_may_change_is_no_difference() -> None:
    plan = TrainingPlan(minutes=30, checkpoint_minutes=1.0)

    assert unlike(noted(), chosen(plan)) == []


def test_differences_are_named() -> None:
    plan = TrainingPlan(minutes=30, batch=16, augmentation=Augmentation(flip=("x",)))

    assert unlike(noted(), chosen(plan, method="tdm", image_size=(32, 64))) == [
        "method sdm there, tdm here",
        "image size 64 x 64 there, 32 x 64 here",
        "batch 32 there, 16 here",
        "flip none there, x here",
    ]


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
    assert out.state.isHidden()
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
    assert "can be resumed" in out.state.text()
    assert "Its settings differ: seed 4 there, 0 here." in out.state.text()
    with qtbot.waitSignal(out.settings_wanted) as wanted:
        out.take_button.click()
    assert wanted.args[0]["plan"]["seed"] == 4


def test_equal_settings_need_nothing(out: TrainOut, tmp_path: Path) -> None:
    out.folder = begin(tmp_path / "run")

    assert out.take_button.isHidden()
    assert "others" not in out.state.text()


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
