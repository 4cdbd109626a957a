from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_followup.methods import method_class, method_presets
from napari_followup.methods.table import TABLE
from napari_followup.plugin.run.report import Report
from napari_followup.plugin.train import train_actions
from napari_followup.plugin.train.train_actions import (
    STAGES,
    Snapshot,
    SnapshotSender,
    TrainChoice,
    clock_time,
    figures,
    makes_anomalies,
    train_model,
)
from napari_followup.plugin.train.train_subjects import Subjects
from napari_followup.series.results import Cancelled
from napari_followup.training.plan import TrainingPlan
from napari_followup.training.state import Example, LossCurve, TrainingState

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
    assert trained.summary == "Stopped before the first batch."


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

    assert phases[-1] == "Preparing the training"


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

    assert "Stopped at batch 7 of 'denoise'" in train_model(Subjects, CHOICE, tmp_path).summary


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
        "On 2 held-out subjects, 0.125 % of healthy pixels are flagged.",
        "Mean Dice of drawn anomalies, in %: darker blob 61.5, patch not measured.",
        "denoise: 20 batches in 1.5 min, validation loss 0.0125.",
        "Note: the model explains these subjects far worse than the others: p-07.",
    ]
    assert figures({}) == ""


class Watched:
    """A sender with a clock of its own, and what it sent."""

    def __init__(self, curves: dict[str, LossCurve] | None = None, **report: Any) -> None:
        self.now, self.sent = 0.0, list[Snapshot]()
        self.lines: list[tuple[str, int, int]] = []
        self.sender = SnapshotSender(
            report=Report(lambda *each: self.lines.append(each), interval=0.0, **report),
            send=self.sent.append,
            curves=curves or {},
            new_curve=LossCurve,
            clock=lambda: self.now,
        )

    def tell(self, batch: int, **more: Any) -> bool:
        usual = {"stage": "denoise", "loss": 1.0 / max(batch, 1), "progress": 0.1}
        return self.sender(TrainingState(batch=batch, **{**usual, **more}))


def test_snapshots_come_a_few_times_a_second_with_all_losses() -> None:
    watched = Watched()
    for batch in range(1, 101):
        watched.now = batch / 100
        assert watched.tell(batch)

    assert len(watched.sent) == 4
    assert [batch for batch, _ in watched.sent[-1].losses] == list(range(1, 92))


def test_examples_notes_and_the_end_come_at_once() -> None:
    watched = Watched()
    images = np.zeros((2, 1, 4, 4), np.float32)
    watched.tell(1)
    watched.tell(2, example=Example(given=images, healthy=images + 1))
    watched.tell(3, notes=("memory ran out",))
    watched.tell(4, progress=1.0)

    assert [each.batch for each in watched.sent] == [1, 2, 3, 4]
    assert watched.sent[1].pair is not None
    assert watched.sent[1].pair[1].max() == 1
    assert watched.sent[3].notes == ("memory ran out",)
    assert "finished; the next phase" in watched.lines[-1][0]


def test_a_validation_loss_is_noted_once() -> None:
    watched = Watched()
    for batch, loss in enumerate([None, 0.5, 0.5, 0.4], start=1):
        watched.now += 1
        watched.tell(batch, validation_loss=loss)

    assert watched.sent[-1].validations == ((2, 0.5), (4, 0.4))


def test_curves_of_an_interrupted_run_go_on() -> None:
    curve = LossCurve(losses=[(1, 3.0)], validations=[(1, 2.0)])
    watched = Watched({"denoise": curve})
    watched.tell(2, validation_loss=2.0)

    assert watched.sent[0].losses == ((1, 3.0), (2, 0.5))
    assert watched.sent[0].validations == ((1, 2.0),)


def test_a_stop_reaches_the_training() -> None:
    watched = Watched(is_stopped=lambda: True)

    assert not watched.tell(1)
    assert not watched.tell(0, loss=None)
    assert not watched.lines  # the widget says that it stops, and that stays


def test_the_line_says_what_is_learned_and_how_long_still() -> None:
    watched = Watched()
    watched.tell(7, seconds_left=600.0, memory=1_500_000_000, progress=0.25)

    assert watched.lines[-1] == (
        "Learning to reconstruct healthy images, batch 7, 25%, 10 min left, 1.5 GB of memory",
        25,
        100,
    )


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "0 s"), (89, "89 s"), (600, "10 min"), (7200, "2.0 h"), (3 * 86400, "3.0 days")],
)
def test_times_are_said_in_fitting_units(seconds: float, said: str) -> None:
    assert clock_time(seconds) == said


@pytest.mark.parametrize("name", sorted(TABLE))
def test_the_presets_are_those_of_the_method(name: str) -> None:
    presets = TABLE[name].presets

    assert set(presets) == set(method_presets(name))
    assert presets[0] == "compact"


def test_the_methods_that_need_change_are_those_that_learn_from_series() -> None:
    found = [name for name in TABLE if getattr(method_class(name), "samples", "") == "series"]

    assert [name for name, row in TABLE.items() if row.needs_change] == found


def test_the_stages_have_words() -> None:
    named = {stage for name in TABLE for stage in getattr(method_class(name), "stages", ())}

    assert named - set(STAGES) == set()


@pytest.mark.parametrize(
    ("method", "fields", "makes"),
    [
        ("sadm", "", True),
        ("sadm", "channels=8,16; synthetic_anomalies = False", False),
        ("sadm", "synthetic_labels=false", True),
        ("anofpdm", "synthetic_labels=false;dropout=0", False),
        ("anofpdm", "synthetic_labels=true", True),
        ("sdm", "synthetic_labels=false", True),
    ],
)
def test_a_field_says_that_nothing_is_to_be_made(method: str, fields: str, makes: bool) -> None:
    assert makes_anomalies(method, fields) == makes
