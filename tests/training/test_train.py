from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import napari_followup as nf
from napari_followup.io import write_npz
from napari_followup.methods import anofpdm, sadm, tdm, vae3d
from napari_followup.methods.tdm import TDMConfig
from napari_followup.models.bundle import ModelBundle
from napari_followup.models.files import load_bundle
from napari_followup.recipe.recipe import Recipe
from napari_followup.series.stack import VisitStack
from napari_followup.synthetic.generic import GENERIC_ANOMALIES
from napari_followup.training import measuring
from napari_followup.training.card import About
from napari_followup.training.plan import Augmentation, TrainingPlan
from napari_followup.training.state import TrainingState

PLAN = TrainingPlan(steps=4, batch=2, checkpoint_every=2)


@pytest.fixture(autouse=True)
def tiny_presets(tiny_tdm: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    temporal = replace(TDMConfig(**tiny_tdm.config), steps=1000, age_range=None)
    monkeypatch.setitem(tdm.PRESETS, "tiny", temporal)
    forward = {"motion": False, "prediction": "noise", "backward": False, "references": 1}
    monkeypatch.setitem(tdm.PRESETS, "tiny forward", replace(temporal, **forward))


def batches(states: list[TrainingState]) -> list[tuple[str, int]]:
    return [(state.stage, state.batch) for state in states if state.batch]


def test_training_goes_from_series_to_a_bundle_on_disk(
    cohort: list[VisitStack], tmp_path: Path, tiny_settings: dict[str, Any]
) -> None:
    states: list[TrainingState] = []

    bundle = nf.train(
        "sdm",
        cohort,
        tmp_path,
        PLAN,
        settings=tiny_settings,
        about=About(name="mine", author="A. Uthor", data_licence="CC0"),
        device="cpu",
        on_state=states.append,
    )

    assert batches(states) == [("denoise", n) for n in (1, 2, 3, 4)] + [("features", 1)]
    assert Recipe.default().score_key in bundle.healthy
    assert nf.detect(cohort[0], load_bundle(tmp_path / "mine.safetensors")).mask.shape == (
        *(2, 1, 16, 16),
    )
    examples = [state.example for state in states if state.example]
    assert examples[0].given.shape == examples[0].healthy.shape == (2, 1, 16, 16)
    assert any("3 series are few" in note for state in states for note in state.notes)


def test_the_card_says_what_was_learned_and_what_the_model_sees(
    cohort: list[VisitStack], tmp_path: Path, tiny_settings: dict[str, Any]
) -> None:
    about = About(text="noise", author="A. Uthor", licence="MIT", data_licence="CC0")
    bundle = nf.train("sdm", cohort, tmp_path, PLAN, settings=tiny_settings, about=about)

    card = load_bundle(tmp_path / "sdm.safetensors").card
    assert card == json.loads(json.dumps(bundle.card))
    assert (card["about"], card["author"], card["licence"], card["data_licence"]) == (
        *("noise", "A. Uthor", "MIT", "CC0"),
    )
    assert (card["subjects"], card["held_out_subjects"], card["visits"], card["planes"]) == (
        *(2, 1, 4, 4),
    )
    assert card["ages"] is None
    assert card["plan"]["steps"] == 4
    assert len(card["losses"]["denoise"]["loss"]) == 4
    assert len(card["losses"]["denoise"]["validation_loss"]) == 2
    assert set(card["sees"]["mdice_percent"]) == set(GENERIC_ANOMALIES)
    assert card["outlying_subjects"] == []
    assert card["preset"] == "compact"


def test_a_stopped_training_is_resumed_and_ends_as_if_it_had_not_been_stopped(
    cohort: list[VisitStack], tmp_path: Path, tiny_settings: dict[str, Any]
) -> None:
    whole = nf.train("sdm", cohort, tmp_path / "whole", PLAN, settings=tiny_settings)

    with pytest.raises(nf.Cancelled, match="training again goes on"):
        nf.train(
            "sdm",
            cohort,
            tmp_path / "cut",
            PLAN,
            settings=tiny_settings,
            on_state=lambda state: state.batch < 3,
        )
    assert not list((tmp_path / "cut").glob("*.safetensors"))
    states: list[TrainingState] = []
    resumed = nf.train(
        "sdm", cohort, tmp_path / "cut", PLAN, settings=tiny_settings, on_state=states.append
    )

    assert batches(states) == [("denoise", 4), ("features", 1)]
    assert resumed.fingerprint == whole.fingerprint


def test_what_is_finished_is_not_trained_again(
    cohort: list[VisitStack], tmp_path: Path, tiny_settings: dict[str, Any]
) -> None:
    first = nf.train("sdm", cohort, tmp_path, PLAN, settings=tiny_settings)
    states: list[TrainingState] = []

    again = nf.train("sdm", cohort, tmp_path, PLAN, settings=tiny_settings, on_state=states.append)

    assert again.fingerprint == first.fingerprint
    assert batches(states) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"plan": replace(PLAN, batch=3)}, "plan batch was 2 and is now 3"),
        (
            {"plan": replace(PLAN, augmentation=Augmentation(shift=0.1))},
            "plan augmentation shift was 0.0 and is now 0.1",
        ),
        ({"stacks": 2}, "data was "),
        ({"settings": {"dropout": 0.2}}, "config dropout was 0.1 and is now 0.2"),
    ],
)
def test_a_training_does_not_go_on_with_other_settings(
    cohort: list[VisitStack],
    tmp_path: Path,
    tiny_settings: dict[str, Any],
    change: dict[str, Any],
    told: str,
) -> None:
    def stop(state: TrainingState) -> bool:
        return state.batch < 1

    with pytest.raises(nf.Cancelled):
        nf.train("sdm", cohort, tmp_path, PLAN, settings=tiny_settings, on_state=stop)

    with pytest.raises(ValueError, match=told):
        nf.train(
            "sdm",
            cohort[: change.get("stacks", 3)],
            tmp_path,
            change.get("plan", PLAN),
            settings=tiny_settings | change.get("settings", {}),
        )


def test_what_decides_nothing_may_change(
    cohort: list[VisitStack], tmp_path: Path, tiny_settings: dict[str, Any]
) -> None:
    with pytest.raises(nf.Cancelled):
        nf.train(
            "sdm",
            cohort,
            tmp_path,
            PLAN,
            settings=tiny_settings,
            on_state=lambda state: state.batch < 2,
        )

    other = replace(PLAN, checkpoint_minutes=1.0)
    assert nf.train("sdm", cohort, tmp_path, other, settings=tiny_settings).method == "sdm"


def test_series_may_be_named_by_a_folder(
    cohort: list[VisitStack], tmp_path: Path, tiny_settings: dict[str, Any]
) -> None:
    (tmp_path / "data").mkdir()
    for stack in cohort:
        write_npz(tmp_path / "data" / f"{stack.subject}.npz", stack)

    read = nf.train("sdm", tmp_path / "data", tmp_path / "a", PLAN, settings=tiny_settings)
    given = nf.train("sdm", cohort, tmp_path / "b", PLAN, settings=tiny_settings)

    assert read.fingerprint == given.fingerprint


def test_a_training_that_left_no_checkpoint_begins_anew_and_says_so(
    cohort: list[VisitStack], tmp_path: Path, tiny_settings: dict[str, Any]
) -> None:
    states: list[TrainingState] = []
    with pytest.raises(nf.Cancelled):
        nf.train(
            "sdm", cohort, tmp_path, PLAN, settings=tiny_settings, on_state=lambda state: False
        )
    for checkpoint in tmp_path.rglob("*.ckpt"):
        checkpoint.unlink()

    nf.train("sdm", cohort, tmp_path, PLAN, settings=tiny_settings, on_state=states.append)

    assert "left no checkpoint, so it starts again" in states[0].notes[0]


def test_subjects_that_the_model_explains_badly_are_told(
    cohort: list[VisitStack],
    tmp_path: Path,
    tiny_settings: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    def outlying(bundle: ModelBundle, stacks: list[VisitStack], *_: Any, **more: Any) -> list[str]:
        return [stack.subject for stack in stacks if stack.subject == "subject-0001"]

    monkeypatch.setattr(measuring, "outlying", outlying)
    states: list[TrainingState] = []

    bundle = nf.train("sdm", cohort, tmp_path, PLAN, settings=tiny_settings, on_state=states.append)

    assert "far worse than the others: subject-0001; check whether" in states[-1].notes[0]
    assert bundle.card["outlying_subjects"] == ["subject-0001"]
    assert states[-1].notes[0] in bundle.card["notes"]


def test_without_a_gpu_the_time_is_said_before_it_is_spent(
    cohort: list[VisitStack], tmp_path: Path, tiny_settings: dict[str, Any]
) -> None:
    states: list[TrainingState] = []

    def stop(state: TrainingState) -> bool:
        states.append(state)
        return state.batch < 1

    with pytest.raises(nf.Cancelled):
        nf.train(
            "sdm",
            cohort,
            tmp_path,
            replace(PLAN, steps=60),
            settings=tiny_settings,
            device="cpu",
            on_state=stop,
        )

    notes = [note for state in states for note in state.notes]
    assert [state.batch for state in states] == [0, 0, 1]
    assert notes[1].startswith("denoise: about ")
    assert "60 batches take about" in notes[1]


def test_volumes_are_learned_as_volumes(tmp_path: Path) -> None:
    stacks = VisitStack.from_cohort(np.random.default_rng(0).random((3, 2, 12, 20, 16)))
    settings = {"image_size": (16, 16), "depth": 8, "channels": (8, 8), "code_features": 4}

    bundle = nf.train("vae3d", stacks, tmp_path, PLAN, preset="published", settings=settings)

    assert bundle.config["depth"] == 8
    assert bundle.card["planes"] == 2 * 2 * 12
    assert vae3d.VAE3D(vae3d.VAE3DConfig(**settings)).samples == "volumes"


FORWARD = {"channels": (8, 16), "attention": (1,), "unshuffle": 2, "condition_features": 16}
SECOND = {
    "base": "vae3d",
    "base_config": {"dimensions": 2, "channels": (8, 8), "code_features": 4},
    "base_options": {},
    "channels": (8, 8),
}


@pytest.fixture
def some_sick() -> tuple[list[VisitStack], list[Any]]:
    """Eight subjects of two visits, of whom three have a bright square at the second one."""
    images = 0.2 * np.random.default_rng(0).random((8, 2, 16, 16))
    masks = np.zeros(images.shape, bool)
    masks[[0, 3, 5], 1, 4:8, 4:8] = True
    images[masks] = 1.0
    return VisitStack.from_cohort(images), [mask if mask.any() else 0 for mask in masks]


def with_square(planes: torch.Tensor) -> torch.Tensor:
    """Whether there is a bright square of 4 pixels in each plane."""
    darkest = -torch.nn.functional.max_pool2d(-planes, 4, stride=1)
    return darkest.flatten(1).amax(dim=1) > 0.8


@pytest.mark.parametrize("as_masks", [False, True])
def test_labels_reach_a_method_that_takes_them(
    some_sick: tuple[list[VisitStack], list[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    as_masks: bool,
) -> None:
    seen: list[tuple[bool, bool]] = []
    usual = anofpdm.AnoFPDM.loss

    def loss(self: Any, stage: str, batch: Any, generator: torch.Generator) -> torch.Tensor:
        seen.extend(zip(with_square(batch[0]).tolist(), (batch[1] > 0).tolist(), strict=True))
        return usual(self, stage, batch, generator)

    monkeypatch.setattr(anofpdm.AnoFPDM, "loss", loss)
    stacks, masks = some_sick
    labels = masks if as_masks else [[0, 1] if np.any(mask) else 0 for mask in masks]
    plan = TrainingPlan(steps=4, batch=16)

    nf.train("anofpdm", stacks, tmp_path, plan, settings=FORWARD, labels=labels)

    assert set(seen) == {(False, False), (True, True)}


def test_masks_reach_the_second_network_and_the_first_sees_healthy_planes(
    some_sick: tuple[list[VisitStack], list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[Any]] = {"reconstruct": [], "segment": []}
    usual = sadm.SADM.loss

    def loss(self: Any, stage: str, batch: Any, generator: torch.Generator) -> torch.Tensor:
        seen[stage].append(batch)
        return usual(self, stage, batch, generator)

    monkeypatch.setattr(sadm.SADM, "loss", loss)
    stacks, masks = some_sick
    plan = TrainingPlan(steps=40, batch=8, held_out=0.3, augmentation=Augmentation(flip=("x",)))

    bundle = nf.train("sadm", stacks, tmp_path, plan, settings=SECOND, labels=masks)

    assert not with_square(torch.cat(seen["reconstruct"])).any()
    planes, marks = (torch.cat(each) for each in zip(*seen["segment"], strict=True))
    assert 0.1 < with_square(planes).float().mean() < 0.5
    assert torch.equal(with_square(planes), with_square(marks))
    assert (planes[marks > 0] > 0.8).all()
    assert bundle.card["series_with_labels"] == 3
    assert bundle.card["sees"]["subjects"] == 2  # the healthy ones that were held out


def test_a_training_goes_on_with_its_labels_alone(
    some_sick: tuple[list[VisitStack], list[Any]], tmp_path: Path
) -> None:
    stacks, masks = some_sick

    def train(labels: Any, **more: Any) -> ModelBundle:
        return nf.train("sadm", stacks, tmp_path, PLAN, settings=SECOND, labels=labels, **more)

    with pytest.raises(nf.Cancelled):
        train(masks, on_state=lambda state: state.batch < 2)
    moved = [np.roll(mask, 1, axis=-1) if np.any(mask) else 0 for mask in masks]
    for others in (moved, None):
        with pytest.raises(ValueError, match="holds a training with other settings: data was"):
            train(others)

    assert train([np.asarray(mask, np.int16) for mask in masks]).method == "sadm"


@pytest.mark.parametrize(
    ("method", "settings", "problem"),
    [
        ("anofpdm", {"synthetic_labels": False}, "AnoFPDM learns from labels alone where synth"),
        ("sadm", {**SECOND, "synthetic_anomalies": False}, "SADM learns from labels alone where"),
        ("sadm", {"base": "anofpdm", "base_config": {"synthetic_labels": False}}, "of the user's"),
    ],
)
def test_labels_that_are_missing_are_told_before_anything_is_written(
    cohort: list[VisitStack], tmp_path: Path, method: str, settings: Any, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        nf.train(method, cohort, tmp_path, PLAN, settings=settings)

    assert not list(tmp_path.iterdir())


def test_a_method_of_labels_can_stand_under_one_of_masks(
    some_sick: tuple[list[VisitStack], list[Any]], tmp_path: Path
) -> None:
    stacks, masks = some_sick
    under = {**SECOND, "base": "anofpdm", "base_config": FORWARD, "base_options": {"stride": 200}}

    bundle = nf.train("sadm", stacks, tmp_path, PLAN, settings=under, labels=masks)

    assert bundle.config["base_config"]["synthetic_labels"]
    assert nf.detect(stacks[0], bundle).mask.shape == (2, 1, 16, 16)


def test_files_with_a_truth_are_read_where_labels_go_with_them(
    some_sick: tuple[list[VisitStack], list[Any]], tmp_path: Path
) -> None:
    stacks, masks = some_sick
    for stack, mask in zip(stacks, masks, strict=True):
        more = {"truth": mask} if np.any(mask) else {}
        write_npz(tmp_path / f"{stack.subject}.npz", stack, more)

    with pytest.raises(ValueError, match="marked as sick"):
        nf.train("sadm", tmp_path, tmp_path / "run", PLAN, settings=SECOND)
    bundle = nf.train("sadm", tmp_path, tmp_path / "run", PLAN, settings=SECOND, labels=masks)

    assert bundle.card["series_with_labels"] == 3


@pytest.fixture
def followed() -> list[VisitStack]:
    """Subjects of three visits."""
    images = np.random.default_rng(0).random((4, 3, 16, 16))
    return VisitStack.from_cohort(images, ages=[[60.0, 61.0, 63.0]] * 3 + [[70.0, 72.0, 73.0]])


@pytest.mark.parametrize("preset", ["tiny", "tiny forward"])
def test_a_temporal_model_is_trained_on_series_and_knows_their_ages(
    followed: list[VisitStack], tmp_path: Path, preset: str
) -> None:
    states: list[TrainingState] = []

    bundle = nf.train(
        "tdm",
        followed,
        tmp_path,
        PLAN,
        preset=preset,
        about=About(name="mine"),
        on_state=states.append,
    )

    assert batches(states) == [("change", n) for n in (1, 2, 3, 4)]
    assert bundle.method == "tdm"
    assert Recipe.temporal().score_key in bundle.healthy
    low, high = bundle.config["age_range"]
    assert 60.0 == low < high <= 73.0
    assert 60.0 < bundle.config["age_mean"] < 73.0
    assert bundle.config["gap_sd"] > 1.0
    loaded = load_bundle(tmp_path / "mine.safetensors")
    assert loaded.build().config == bundle.build().config
    assert nf.impute(followed[0], loaded, [62.0, 65.0]).n_visits == 5
    assert nf.detect(followed[0], loaded).mask.shape == (3, 1, 16, 16)


@pytest.mark.parametrize("visits", [2, 3])
def test_a_stopped_training_on_series_is_resumed_as_if_it_had_not_been_stopped(
    followed: list[VisitStack], tmp_path: Path, visits: int
) -> None:
    cohort = [stack.select(range(visits)) for stack in followed]
    varied = replace(PLAN, augmentation=Augmentation(shift=0.1, bias=0.1))
    whole = nf.train("tdm", cohort, tmp_path / "whole", varied, preset="tiny")

    with pytest.raises(nf.Cancelled, match="training again goes on"):
        nf.train(
            "tdm",
            cohort,
            tmp_path / "cut",
            varied,
            preset="tiny",
            on_state=lambda state: state.batch < 3,
        )
    states: list[TrainingState] = []
    resumed = nf.train(
        "tdm", cohort, tmp_path / "cut", varied, preset="tiny", on_state=states.append
    )

    assert batches(states) == [("change", 4)]
    assert resumed.fingerprint == whole.fingerprint
    assert resumed.healthy == whole.healthy


def test_a_subject_seen_once_does_not_end_a_training_on_series(
    followed: list[VisitStack], tmp_path: Path
) -> None:
    """Held out or not: it teaches no change, and there is nothing to predict it from."""
    for once in (0, 3):
        cohort = [s.select([0]) if n == once else s for n, s in enumerate(followed)]
        half = replace(PLAN, held_out=0.5)

        bundle = nf.train("tdm", cohort, tmp_path / str(once), half, preset="tiny")

        (scores,) = bundle.healthy.values()
        assert 1 <= len(scores.maxima) <= 2


def test_subjects_that_are_all_seen_once_teach_no_change(
    cohort: list[VisitStack], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="series has two observed visits"):
        nf.train("tdm", [s.select([0]) for s in cohort], tmp_path, PLAN, preset="tiny")


SCRIPT = """
import numpy as np
import napari_followup as nf
from napari_followup.training.plan import Augmentation, TrainingPlan

plan = TrainingPlan(
    steps=15, batch=4, checkpoint_every=5, checkpoint_minutes=1e-9, learning_rate=1e-2,
    augmentation=Augmentation(rotation=9.0, intensity=0.1),
)

def note(state):
    with open(ticks, "ab") as file:
        file.write(b"." if state.batch else b"")

images = np.random.default_rng(0).random((3, 2, 16, 16))
nf.train(
    "sdm", nf.VisitStack.from_cohort(images), out, plan, settings=settings, device="cpu",
    on_state=note,
)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_a_training_killed_five_times_at_any_moment_ends_bit_for_bit_as_one_that_was_not(
    tmp_path: Path, tiny_settings: dict[str, Any]
) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["napari_followup.training.train"])
    ticks = tmp_path / "ticks"

    def started(run: str) -> Any:
        told = {"out": str(tmp_path / run), "ticks": str(ticks), "settings": tiny_settings}
        process = context.Process(target=exec, args=(SCRIPT, told))
        ticks.write_bytes(b"")
        process.start()
        return process

    def ended(process: Any) -> int:
        process.join(60)
        return process.exitcode

    assert ended(started("whole")) == 0
    rng, kills = random.Random(1), 0
    for _ in range(5):
        process, wait = started("cut"), rng.randint(1, 5)
        while ticks.stat().st_size < wait and process.is_alive():
            time.sleep(0.001)
        time.sleep(rng.random() * 0.05)
        os.kill(process.pid, signal.SIGKILL)
        kills += ended(process) == -signal.SIGKILL
    assert ended(started("cut")) == 0

    assert kills == 5
    whole, cut = (load_bundle(tmp_path / run / "sdm.safetensors") for run in ("whole", "cut"))
    assert whole.fingerprint == cut.fingerprint
    for stage in ("denoise", "features"):
        saved = [
            torch.load(tmp_path / run / stage / "last.ckpt", weights_only=True)
            for run in ("whole", "cut")
        ]
        for kind in ("current", "averaged"):
            assert all(torch.equal(w, saved[1][kind][n]) for n, w in saved[0][kind].items())
        moments = [each["optimizer"]["state"] for each in saved]
        assert all(
            torch.equal(moments[0][n][name], moments[1][n][name])
            for n in moments[0]
            for name in ("exp_avg", "exp_avg_sq")
        )
        assert saved[0]["curve"] == saved[1]["curve"]
