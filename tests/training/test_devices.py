from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import napari_followup as nf
from napari_followup.models.bundle import ModelBundle
from napari_followup.series.stack import VisitStack
from napari_followup.training import devices
from napari_followup.training.devices import VARIABLES, check_devices, companions
from napari_followup.training.plan import TrainingPlan
from napari_followup.training.state import TrainingState

PLAN = TrainingPlan(steps=8, batch=4, at_once=2, checkpoint_every=4)
NEAR = (
    1e-3  # of the weights; Adam turns rounding in a tiny gradient into a whole step of one weight
)


def apart(first: ModelBundle, second: ModelBundle) -> float:
    """Distance of two models' weights, as a share of their length."""
    pairs = [
        (first.weights[name].double(), second.weights[name].double()) for name in first.weights
    ]
    distance = sum(float((one - other).square().sum()) for one, other in pairs)
    return (distance / sum(float(one.square().sum()) for one, _ in pairs)) ** 0.5


@pytest.mark.slow
def test_two_processes_learn_what_one_does_from_the_same_batches(
    cohort: list[VisitStack], tmp_path: Path, tiny_settings: dict[str, Any]
) -> None:
    """A batch of 4: two parts of 2 in one process, or one part in each of two."""
    losses: dict[int, list[float]] = {1: [], 2: []}
    bundles = []

    for count, found in losses.items():

        def note(state: TrainingState, to: list[float] = found) -> None:
            if state.loss is not None:
                to.append(state.loss)

        plan = replace(PLAN, devices=count)
        out = tmp_path / str(count)
        bundles.append(
            nf.train("sdm", cohort, out, plan, settings=tiny_settings, device="cpu", on_state=note)
        )

    assert len(losses[1]) == 8 + 1
    assert losses[2] == pytest.approx(losses[1], rel=1e-4)
    assert apart(*bundles) < NEAR
    assert not any(name in os.environ for name in VARIABLES)
    assert not list((tmp_path / "2").glob("device-*.log"))
    assert not (tmp_path / "2" / "samples").exists()


@pytest.mark.slow
def test_two_processes_learn_from_the_same_masks(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((5, 2, 16, 16))
    mask = np.zeros((2, 16, 16), bool)
    mask[:, 4:8, 4:8] = True
    base = {"dimensions": 2, "channels": (8, 8), "code_features": 4}
    settings = {"base": "vae3d", "base_config": base, "base_options": {}, "channels": (8, 8)}
    bundles = [
        nf.train(
            "sadm",
            VisitStack.from_cohort(images),
            tmp_path / str(count),
            replace(PLAN, steps=20, devices=count),
            settings=settings,
            labels=[mask, mask, 0, 0, 0],
            device="cpu",
        )
        for count in (1, 2)
    ]

    assert apart(*bundles) < NEAR


@pytest.mark.slow
def test_two_processes_stop_together_and_one_goes_on(
    cohort: list[VisitStack], tmp_path: Path, tiny_settings: dict[str, Any]
) -> None:
    whole = nf.train("sdm", cohort, tmp_path / "whole", PLAN, settings=tiny_settings)
    with pytest.raises(nf.Cancelled):
        nf.train(
            "sdm",
            cohort,
            tmp_path / "cut",
            replace(PLAN, devices=2),
            settings=tiny_settings,
            device="cpu",
            on_state=lambda state: state.batch < 3,
        )

    resumed = nf.train("sdm", cohort, tmp_path / "cut", PLAN, settings=tiny_settings)

    assert apart(whole, resumed) < NEAR


def test_one_device_needs_no_companions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.subprocess, "Popen", lambda *a, **m: pytest.fail("started"))

    with companions(1, {}):
        assert "LOCAL_RANK" not in os.environ


@pytest.mark.slow
def test_what_a_companion_died_of_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="training on 2 devices failed: KeyError: 'plan'"),
        companions(2, {"out": str(tmp_path)}),
    ):
        raise RuntimeError("Connection closed by peer")

    assert not any(name in os.environ for name in VARIABLES)


def test_more_gpus_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    check_devices(2, torch.device("cuda"))
    check_devices(9, torch.device("cpu"))
    with pytest.raises(ValueError, match=r"devices: got 2 from cuda:1 on, torch sees 2 GPU"):
        check_devices(2, torch.device("cuda:1"))
