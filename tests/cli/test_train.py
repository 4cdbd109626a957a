from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_followup.bundle import ModelBundle
from napari_followup.results import Cancelled
from napari_followup.training.plan import TrainingPlan

Run = Callable[..., int]


class Trainer:
    """Stands in for the door; remembers what it was given."""

    def __init__(self, bundle: ModelBundle) -> None:
        self.bundle = bundle
        self.given: dict[str, Any] = {}
        self.interrupted_at = 0

    def __call__(
        self, method: str, stacks: Any, out: Path, plan: TrainingPlan, **more: Any
    ) -> ModelBundle:
        self.given = {"method": method, "subjects": len(stacks), "plan": plan, **more}
        for step in range(1, 5):
            if step == self.interrupted_at:
                os.kill(os.getpid(), signal.SIGINT)
            if more["on_loss"]("denoise", step, step / 4, 0.5 / step) is False:
                raise Cancelled("stopped")
        return self.bundle


@pytest.fixture
def trainer(tiny_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    fake = Trainer(tiny_bundle)
    pytest.importorskip("lightning")
    import napari_followup.training.train as door

    monkeypatch.setattr(door, "train", fake)
    return fake


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    path = tmp_path / "cohort.npz"
    split = np.array(["train", "train", "val"])
    np.savez(path, images=np.random.rand(3, 2, 16, 16), axes="svyx", split=split)
    return path


def test_every_setting_reaches_the_plan(
    run: Run, trainer: Trainer, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--preset thesis --steps 9 --minutes 2 --batch 3 --seed 5 --checkpoint-every 4"
    more = "--precision bf16 --split train --name mine --about toys --device cpu"

    assert run("train", "sdm", cohort, "--out", tmp_path, *words.split(), *more.split()) == 0

    plan = trainer.given["plan"]
    assert (plan.steps, plan.minutes, plan.batch, plan.seed) == (9, 2.0, 3, 5)
    assert (plan.checkpoint_every, plan.precision) == (4, "bf16")
    assert (trainer.given["method"], trainer.given["subjects"]) == ("sdm", 2)
    assert (trainer.given["preset"], trainer.given["name"]) == ("thesis", "mine")
    assert (trainer.given["about"], trainer.given["device"]) == ("toys", "cpu")
    assert "2 subjects, 4 images" in capsys.readouterr().out


def test_progress_tells_loss_and_time_left(
    run: Run, trainer: Trainer, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", "sdm", cohort, "--out", tmp_path, "--steps", 4) == 0

    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("denoise")]
    assert lines[0] == "denoise batch 1   25%  loss 0.5000  ? left"
    assert lines[-1] == "denoise batch 4  100%  loss 0.1250  0:00 left"


def test_ctrl_c_stops_at_a_batch_and_says_how_to_go_on(
    run: Run, trainer: Trainer, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer.interrupted_at = 2
    before = signal.getsignal(signal.SIGINT)

    assert run("train", "sdm", cohort, "--out", tmp_path, "--steps", 4) == 130

    text = capsys.readouterr().out
    assert "stopping after this batch" in text
    assert f"checkpoints are in {tmp_path}" in text
    assert text.splitlines()[-1] == (
        f"napari-followup train sdm {cohort} --out {tmp_path} --steps 4"
    )
    assert signal.getsignal(signal.SIGINT) is before


def test_no_length_is_the_users_error(
    run: Run, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", "sdm", cohort, "--out", tmp_path) == 2
    assert "give steps or minutes" in capsys.readouterr().err


def test_without_lightning_it_says_what_to_install(
    run: Run,
    cohort: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delitem(sys.modules, "napari_followup.training.train", raising=False)
    monkeypatch.delitem(sys.modules, "napari_followup.training.fit", raising=False)
    for name in [name for name in sys.modules if name.split(".")[0] == "lightning"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lightning", None)

    assert run("train", "sdm", cohort, "--out", tmp_path, "--steps", 1) == 2
    assert "pip install 'napari-followup[train]'" in capsys.readouterr().err
