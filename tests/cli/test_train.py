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
from napari_followup.cli.train import STAGES, WHAT
from napari_followup.methods import METHODS, method_class
from napari_followup.results import Cancelled
from napari_followup.training.plan import TrainingPlan

Run = Callable[..., int]


class Trainer:
    """Stands in for the door; remembers what it was given."""

    def __init__(self, bundle: ModelBundle) -> None:
        self.bundle = bundle
        self.given: dict[str, Any] = {}
        self.interrupted_at = 0
        self.steps = 4

    def __call__(
        self, method: str, stacks: Any, out: Path, plan: TrainingPlan, **more: Any
    ) -> ModelBundle:
        self.given = {"method": method, "subjects": len(stacks), "plan": plan, **more}
        for step in range(1, 5):
            if step == self.interrupted_at:
                os.kill(os.getpid(), signal.SIGINT)
            if more["on_loss"]("denoise", step, step / self.steps, 0.5 / step) is False:
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
    assert lines.pop(0).startswith("denoise: the network learns")
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


def test_progress_ends_at_a_hundred_per_cent(
    run: Run, trainer: Trainer, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer.steps = 3

    assert run("train", "sdm", cohort, "--out", tmp_path, "--minutes", 1) == 0

    assert "denoise batch 4  100%  loss 0.1250  0:00 left" in capsys.readouterr().out


def test_the_last_line_says_what_to_do_with_the_model(
    run: Run, trainer: Trainer, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = tmp_path / "denoise" / "losses" / "from-0" / "metrics.csv"
    losses.parent.mkdir(parents=True)
    losses.write_text("loss,step,validation_loss\n0.5,1,\n,2,0.25\n0.4,3,\n")

    assert run("train", "sdm", cohort, "--out", tmp_path, "--steps", 4) == 0

    model = tmp_path / "tiny.safetensors"
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"{model}: {trainer.bundle.fingerprint}, validation loss 0.2500; now try it: "
        f"napari-followup detect SERIES --model {model} --out results"
    )


def test_a_tdm_is_trained_by_its_own_words(
    run: Run,
    trainer: Trainer,
    tiny_tdm: ModelBundle,
    cohort: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer.bundle = tiny_tdm
    losses = tmp_path / "change" / "losses" / "from-0" / "metrics.csv"
    losses.parent.mkdir(parents=True)
    losses.write_text("loss,step,validation_loss\n,2,0.125\n")

    assert run("train", "tdm", cohort, "--out", tmp_path, "--steps", 4) == 0

    assert trainer.given["method"] == "tdm"
    last = capsys.readouterr().out.splitlines()[-1]
    assert ", validation loss 0.1250; now try it: napari-followup impute SERIES" in last


def test_every_method_and_stage_is_told_in_words() -> None:
    assert set(WHAT) == set(METHODS)
    assert set(STAGES) == {stage for name in METHODS for stage in method_class(name).stages}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--preset", "huge"), "preset: got 'huge'; sdm has "),
        (("--out", "cohort.npz"), "out: 'cohort.npz' is a file; give a folder"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_printed(
    words: tuple[str, ...],
    text: str,
    run: Run,
    trainer: Trainer,
    cohort: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(cohort.parent)

    assert run("train", "sdm", cohort, "--out", "run", "--steps", 4, *words) == 2
    said = capsys.readouterr()
    assert text in said.err
    assert not said.out
    assert not trainer.given


def test_sick_series_are_not_learned_from(
    run: Run, trainer: Trainer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sick = tmp_path / "sick.npz"
    assert run("synthesize", "--out", sick, "--kind", "darker_line", "--subjects", 2) == 0

    assert run("train", "sdm", sick, "--out", tmp_path / "run", "--steps", 4) == 2
    assert "these series are marked as sick" in capsys.readouterr().err
