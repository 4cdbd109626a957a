from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from napari_followup.training.plan import WARM_UP, Augmentation, TrainingPlan


def test_budget_is_spent_by_steps_or_minutes_whichever_is_nearer_its_end() -> None:
    plan = TrainingPlan(steps=100, minutes=2.0)

    assert plan.spent(25, 12.0) == 0.25
    assert plan.spent(25, 60.0) == 0.5
    assert plan.spent(100, 0.0) == 1.0


def test_later_stages_get_a_tenth() -> None:
    assert TrainingPlan(steps=100).spent(5, 0.0, first=False) == 0.5
    assert TrainingPlan(minutes=10).spent(0, 30.0, first=False) == pytest.approx(0.5)
    assert TrainingPlan(steps=3).spent(1, 0.0, first=False) == 1.0  # one batch at least
    assert TrainingPlan(steps=100).length(first=False) == 10
    assert TrainingPlan(minutes=1).length() is None


def test_learning_rate_rises_then_falls_to_a_hundredth() -> None:
    plan = TrainingPlan(steps=1000, learning_rate=2.0)

    assert plan.rate(0, 0.0) == pytest.approx(2.0 / WARM_UP)
    assert plan.rate(WARM_UP, 0.0) == 2.0
    assert plan.rate(WARM_UP, 0.5) == pytest.approx(2.0 * 0.505)
    assert plan.rate(WARM_UP, 1.0) == plan.rate(WARM_UP, 1.2) == pytest.approx(0.02)


def test_a_batch_is_shared_by_the_devices() -> None:
    assert TrainingPlan(steps=1, batch=12).share == 12
    assert TrainingPlan(steps=1, batch=12, devices=3).share == 4
    assert TrainingPlan(steps=1, batch=12, devices=3, at_once=2).share == 2
    assert TrainingPlan(steps=1, batch=12, at_once=99).share == 12


def test_a_plan_comes_back_from_json_as_it_was() -> None:
    varied = Augmentation(flip=("x",), rotation=5.0)
    plan = TrainingPlan(minutes=3.5, augmentation=varied, precision="bf16")

    assert TrainingPlan.from_dict(json.loads(json.dumps(asdict(plan)))) == plan


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({}, "give steps or minutes"),
        ({"steps": 0}, "steps must be positive, got 0"),
        ({"minutes": -1.0}, "minutes must be positive"),
        ({"steps": 1, "batch": 0}, "batch must be positive"),
        ({"steps": 1, "held_out": 1.0}, "held_out must lie in"),
        ({"steps": 1, "ema_decay": 1.5}, "ema_decay must lie in"),
        ({"steps": 1, "seed": -1}, "seed must not be negative, got -1"),
        ({"steps": 1, "precision": "int8"}, "precision must be 'float32' or 'bf16', got 'int8'"),
        ({"steps": 1, "log": "paper"}, "log must be 'csv' or 'tensorboard', got 'paper'"),
        ({"steps": 1, "batch": 5, "devices": 2}, "5 images cannot be shared by 2 devices"),
    ],
)
def test_settings_are_checked_where_they_are_made(
    settings: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        TrainingPlan(**settings)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"flip": ("z",)}, "flip: got z; give 'y', 'x' or both"),
        ({"rotation": 200.0}, r"rotation must lie in \[0, 180\], got 200"),
        ({"shift": -0.1}, "shift must lie in"),
    ],
)
def test_strengths_of_augmentation_are_checked(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Augmentation(**settings)
