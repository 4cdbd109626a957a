from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from napari_followup.plugin.run.report import Report
from napari_followup.plugin.train import train_actions
from napari_followup.plugin.train.train_actions import TrainChoice, figures, train_model
from napari_followup.plugin.train.train_subjects import Subjects
from napari_followup.series.results import Cancelled
from napari_followup.training.plan import TrainingPlan

CHOICE = TrainChoice(plan=TrainingPlan(steps=2))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stand in for the door: `answer` is called in its place."""
    asked = SimpleNamespace(answer=lambda **given: None)
    module = ModuleType("train")

    def train(method: str, stacks: Any, out: Path, plan: Any, **more: Any) -> Any:
        asked.answer(**more)
        return SimpleNamespace(name="made", method=method, card={"notes": []})

    module.train = train  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "napari_followup.training.train", module)
    return asked


def test_the_model_lies_in_the_folder_of_the_run(asked: Any, tmp_path: Path) -> None:
    trained = train_model(Subjects, CHOICE, tmp_path)

    assert trained.path == tmp_path / "made.safetensors"
    assert (trained.name, trained.method) == ("made", "sdm")


def test_a_stop_before_the_first_batch_is_no_error(asked: Any, tmp_path: Path) -> None:
    trained = train_model(Subjects, CHOICE, tmp_path, report=Report(is_stopped=lambda: True))

    assert trained.path is None
    assert trained.said == "Stopped before the first batch."


def test_what_went_wrong_keeps_nothing_of_the_network(asked: Any, tmp_path: Path) -> None:
    import weakref

    class Network:
        pass

    kept: list[weakref.ref[Network]] = []

    def fail(**given: Any) -> None:
        network = Network()
        kept.append(weakref.ref(network))
        raise RuntimeError("odd")

    asked.answer = fail
    with pytest.raises(RuntimeError, match="odd") as error:
        train_model(Subjects, CHOICE, tmp_path)

    assert error.value.__traceback__ is not None
    assert kept[0]() is None


@pytest.mark.parametrize("kind", [FloatingPointError, ImportError, MemoryError])
def test_foreseen_errors_are_said_as_they_are(asked: Any, tmp_path: Path, kind: type) -> None:
    def fail(**given: Any) -> None:
        raise kind("what to do")

    asked.answer = fail
    with pytest.raises(ValueError, match=r"^what to do$"):
        train_model(Subjects, CHOICE, tmp_path)


def test_a_field_that_cannot_be_read_is_said(asked: Any, tmp_path: Path) -> None:
    choice = TrainChoice(plan=CHOICE.plan, fields="channels")

    with pytest.raises(ValueError, match="give name=value"):
        train_model(Subjects, choice, tmp_path)


def test_a_second_training_waits_for_the_first(asked: Any, tmp_path: Path) -> None:
    phases: list[str] = []
    with train_actions._ONE:
        thread = threading.Thread(
            target=train_model,
            args=(Subjects, CHOICE, tmp_path),
            kwargs={"report": Report(lambda phase, *_: phases.append(phase))},
        )
        thread.start()
        time.sleep(0.5)
        assert set(phases) == {"Waiting for another training to end"}
    thread.join(20)

    assert phases[-1] == "Getting ready"


def test_a_checkpoint_that_cannot_be_read_is_said(asked: Any, tmp_path: Path) -> None:
    (tmp_path / "denoise").mkdir()
    (tmp_path / "denoise" / "last.ckpt").write_bytes(b"nothing")

    with pytest.raises(ValueError, match="not a checkpoint that training can go on from"):
        train_model(Subjects, CHOICE, tmp_path)


def test_a_stop_names_the_batch(asked: Any, tmp_path: Path) -> None:
    def stop(on_state: Any, **given: Any) -> None:
        from napari_followup.training.state import TrainingState

        on_state(TrainingState(stage="denoise", batch=7, progress=0.5, loss=1.0))
        raise Cancelled("stopped")

    asked.answer = stop

    assert "Stopped at batch 7 of 'denoise'" in train_model(Subjects, CHOICE, tmp_path).said


def test_the_figures_of_a_card_are_said() -> None:
    card = {
        "sees": {
            "subjects": 2,
            "false_positives_percent": 0.125,
            "mdice_percent": {"darker_blob": 61.5, "patch": None},
        },
        "losses": {
            "denoise": {
                "batches": 20,
                "minutes": 1.5,
                "weights_of": {"batch": 15, "validation_loss": 0.0125},
            }
        },
        "notes": ["the model explains these subjects far worse than the others: p-07"],
    }

    assert figures(card).splitlines() == [
        "On 2 held-out subjects, 0.125 % of healthy pixels are marked.",
        "Mean Dice of drawn anomalies, in %: darker blob 61.5, patch not measured.",
        "denoise: 20 batches in 1.5 min, validation loss 0.0125.",
        "Note: the model explains these subjects far worse than the others: p-07.",
    ]
    assert figures({}) == ""
