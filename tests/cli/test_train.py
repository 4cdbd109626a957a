from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_followup.cli.train import STAGES, progress
from napari_followup.methods import method_class
from napari_followup.methods.table import TABLE
from napari_followup.models.bundle import ModelBundle
from napari_followup.series.results import Cancelled
from napari_followup.training.plan import Augmentation, TrainingPlan
from napari_followup.training.state import TrainingState

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
            state = TrainingState(
                stage="denoise",
                batch=step,
                progress=min(1.0, step / self.steps),
                loss=0.5 / step,
                seconds_left=0.0 if step >= self.steps else None,
            )
            if more["on_state"](state) is False:
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


def test_images_are_varied_a_little(
    run: Run, trainer: Trainer, cohort: Path, tmp_path: Path
) -> None:
    words = ["--steps", "9", "--vary", "--flip", "x", "--bias", "0.3"]

    assert run("train", "sdm", cohort, "--out", tmp_path, *words) == 0

    usual = Augmentation.usual()
    assert trainer.given["plan"].augmentation == replace(usual, flip=("x",), bias=0.3)


def test_every_setting_reaches_the_plan(
    run: Run, trainer: Trainer, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--preset thesis --steps 9 --minutes 2 --batch 3 --seed 5 --checkpoint-every 4"
    more = "--precision bf16 --split train --name mine --about toys --device cpu --devices 3"
    varied = "--flip x --rotation 5 --shift 0.02 --bias 0.1 --at-once 1 --log tensorboard"
    model = "--image-size 32 48 --value-range -1 1 --set dropout=0.2 --set channels=8,16"
    said = "--author me --licence MIT --data-licence CC0"
    whole = " ".join([words, more, varied, model, said]).split()

    assert run("train", "sdm", cohort, "--out", tmp_path, *whole) == 0

    plan = trainer.given["plan"]
    assert (plan.steps, plan.minutes, plan.batch, plan.seed) == (9, 2.0, 3, 5)
    assert (plan.checkpoint_every, plan.precision) == (4, "bf16")
    assert (trainer.given["method"], trainer.given["subjects"]) == ("sdm", 2)
    assert (plan.devices, plan.at_once, plan.log) == (3, 1, "tensorboard")
    assert plan.augmentation == Augmentation(flip=("x",), rotation=5.0, shift=0.02, bias=0.1)
    assert (trainer.given["preset"], trainer.given["device"]) == ("thesis", "cpu")
    assert trainer.given["settings"] == {
        "dropout": 0.2,
        "channels": (8, 16),
        "image_size": (32, 48),
        "value_range": (-1.0, 1.0),
    }
    about = trainer.given["about"]
    assert (about.name, about.text, about.author) == ("mine", "toys", "me")
    assert (about.licence, about.data_licence) == ("MIT", "CC0")
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


SEES = {"subjects": 2, "false_positives_percent": 0.1, "mdice_percent": {"darker_blob": 81.0}}
LOSSES = {"denoise": {"weights_of": {"batch": 3, "validation_loss": 0.25}}}


def test_the_last_lines_say_what_the_model_sees_and_what_to_do_with_it(
    run: Run, trainer: Trainer, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer.bundle = replace(trainer.bundle, card={"sees": SEES, "losses": LOSSES})

    assert run("train", "sdm", cohort, "--out", tmp_path, "--steps", 4) == 0

    model = tmp_path / "tiny.safetensors"
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "on 2 held-out subjects: 0.1 % of healthy pixels flagged; mean Dice in per cent of drawn "
        "anomalies: darker blob 81.0 (too few for reliable figures)",
        f"{model}: {trainer.bundle.fingerprint}, validation loss 0.2500; try it: "
        f"napari-followup detect SERIES --model {model} --out results",
    ]


def test_a_tdm_is_trained_by_its_own_words(
    run: Run,
    trainer: Trainer,
    tiny_tdm: ModelBundle,
    cohort: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer.bundle = tiny_tdm

    assert run("train", "tdm", cohort, "--out", tmp_path, "--steps", 4) == 0

    assert trainer.given["method"] == "tdm"
    last = capsys.readouterr().out.splitlines()[-1]
    assert "; try it: napari-followup impute SERIES" in last


def test_methods_are_told_in_words() -> None:
    assert all(row.summary for row in TABLE.values())


@pytest.mark.slow
def test_a_model_is_trained_from_the_command_line_and_detects(
    run: Run, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("lightning")
    settings = (
        *("image_size=16,16", "channels=8,16", "attention=1", "unshuffle=2"),
        *("condition_features=16", "code_features=16", "encoder_width=8", "encoder_grid=1"),
    )
    words = [word for setting in settings for word in ("--set", setting)]
    out = tmp_path / "run"

    assert run("train", "sdm", cohort, "--out", out, "--steps", 4, "--batch", 2, *words) == 0

    assert (out / "sdm.safetensors").exists()
    text = capsys.readouterr().out
    assert "note: 3 series are few" in text
    assert "mean Dice in per cent of drawn anomalies: darker blob" in text


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--preset", "huge"), "preset: got 'huge'; sdm has "),
        (("--out", "cohort.npz"), "out: 'cohort.npz' is a file; give a folder"),
        (("--set", "dropout"), "set: got 'dropout'; give name=value"),
        (("--shift", "3"), "shift must lie in"),
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


@pytest.fixture
def drawn(run: Run, tmp_path: Path) -> tuple[Path, Path]:
    """Healthy phantoms, and others with a blob and its truth."""
    healthy, sick = tmp_path / "healthy.npz", tmp_path / "sick.npz"
    words = ("--visits", 2, "--size", 16, "--out")
    assert run("synthesize", "phantom", "--subjects", 6, *words, healthy) == 0
    drawing = ("--kind", "brighter_blob", "--subjects", 3, "--seed", 9)
    assert run("synthesize", "phantom", *drawing, *words, sick) == 0
    return healthy, sick


def test_the_truth_of_the_data_is_learned_from(
    run: Run,
    trainer: Trainer,
    drawn: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("--labels", "--out", tmp_path / "run", "--steps", 4)

    assert run("train", "sadm", *drawn, *words) == 0

    labels = trainer.given["labels"]
    assert labels[:6] == [0] * 6
    with np.load(drawn[1]) as archive:
        np.testing.assert_array_equal(np.stack(labels[6:])[:, :, 0], archive["truth"])
    assert "9 subjects, 18 images, 3 masks from their truth; compact sadm" in (
        capsys.readouterr().out
    )
    assert run("train", "sadm", drawn[0], "--out", tmp_path / "run", "--steps", 4) == 0
    assert trainer.given["labels"] is None


def test_masks_are_learned_from_and_belong_to_the_command_that_goes_on(
    run: Run,
    trainer: Trainer,
    drawn: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mask = tmp_path / "phantom-0004_mask.npz"
    np.savez(mask, images=np.full((2, 16, 16), 7, np.uint8))
    trainer.interrupted_at = 2
    words = ("--labels", mask, "--out", tmp_path / "run", "--steps", 4)

    assert run("train", "anofpdm", drawn[0], *words) == 130

    assert [np.ndim(entry) for entry in trainer.given["labels"]] == [0, 0, 0, 0, 4, 0]
    text = capsys.readouterr().out
    assert "1 mask by name" in text
    assert f"anofpdm {drawn[0]} --labels {mask} --out" in text.splitlines()[-1]


@pytest.mark.parametrize(
    ("method", "words", "said"),
    [
        (
            "sdm",
            ("--labels",),
            "sdm learns from healthy series only; anofpdm and sadm take labels",
        ),
        ("sadm", ("--labels",), "labels: no file of the data holds a truth"),
        ("sadm", ("--labels", "nowhere.tif"), "there is no file or folder 'nowhere.tif'"),
    ],
)
def test_labels_that_cannot_be_used_are_told(
    run: Run,
    trainer: Trainer,
    cohort: Path,
    tmp_path: Path,
    method: str,
    words: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("train", method, cohort, *words, "--out", tmp_path / "run", "--steps", 4) == 2
    assert said in capsys.readouterr().err
    assert not trainer.given


@pytest.mark.slow
def test_a_model_is_trained_with_a_truth_from_the_command_line(
    run: Run, drawn: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("lightning")
    base = "base_config={'dimensions': 2, 'channels': (8, 8), 'code_features': 4}"
    settings = ("base=vae3d", base, "base_options={}", "channels=8,8", "synthetic_anomalies=false")
    words = [word for setting in settings for word in ("--set", setting)]
    out = tmp_path / "run"

    command = ("train", "sadm", *drawn, "--labels", "--out", out, "--steps", 4, *words)
    assert run(*command) == 0

    assert (out / "sadm.safetensors").exists()
    assert "segment: a second network learns to segment anomalies" in capsys.readouterr().out
    assert run("train", "sadm", drawn[0], "--out", out, "--steps", 4, *words) == 2
    assert "synthetic_anomalies is off, got none" in capsys.readouterr().err


def test_lines_come_every_few_seconds_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    tell = progress(lambda: False, every=1000.0)

    for batch in (1, 2, 3):
        state = TrainingState(
            stage="denoise",
            batch=batch,
            progress=batch / 3,
            loss=1 / batch,
            validation_loss=0.25 if batch == 3 else None,
            seconds_left=90.0 - 30 * batch,
            memory=1_500_000_000,
        )
        assert tell(state) is True

    assert capsys.readouterr().out.splitlines() == [
        f"denoise: {STAGES['denoise']}",
        "denoise batch 1   33%  loss 1.0000  1:00 left  1.5 GB",
        "denoise batch 3  100%  loss 0.3333  validation 0.2500  0:00 left  1.5 GB",
    ]


def test_notes_are_printed_before_anything_was_learned(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell = progress(lambda: False)

    tell(TrainingState(stage="data", batch=0, progress=0.0, notes=("few", "mixed")))

    assert capsys.readouterr().out.splitlines() == ["note: few", "note: mixed"]


def test_measuring_the_finished_model_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    tell = progress(lambda: False)

    for part in (0.0, 0.25):
        assert tell(TrainingState(stage="measure", batch=0, progress=part))

    assert capsys.readouterr().out.splitlines() == [f"measure: {STAGES['measure']}", "measure 25%"]


def test_a_wish_to_stop_is_handed_on() -> None:
    tell = progress(lambda: True)

    assert tell(TrainingState(stage="denoise", batch=1, progress=0.1, loss=1.0)) is False


@pytest.mark.parametrize("method", ["sdm", "tdm", "vae3d", "disyre"])
def test_stages_are_told_in_words(method: str) -> None:
    assert set(method_class(method).stages) <= set(STAGES)


def test_a_stage_nobody_described_is_named_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress(lambda: False)(TrainingState(stage="new", batch=1, progress=0.5, loss=1.0))

    assert capsys.readouterr().out.splitlines()[0] == "new: the next stage"
