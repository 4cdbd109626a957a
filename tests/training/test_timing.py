from __future__ import annotations

import pytest
import torch

from napari_followup.training.plan import TrainingPlan
from napari_followup.training.timing import duration_note, seconds_a_batch


def test_a_copy_is_timed_and_nothing_else_changes(toy: type) -> None:
    method, plan = toy(), TrainingPlan(steps=1, batch=4)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    planes = torch.rand(9, 1, 8, 8)
    state = torch.random.get_rng_state()

    found = seconds_a_batch(method, "first", planes, plan, torch.device("cpu"))

    assert 0 < found < 5
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[n], value) for n, value in method.state_dict().items())


def test_parts_of_a_batch_count_together(toy: type) -> None:
    method = toy()
    plan = TrainingPlan(steps=1, batch=8, at_once=2)

    seconds_a_batch(method, "first", torch.rand(9, 1, 8, 8), plan, torch.device("cpu"))

    assert not method.sizes  # of a copy, which is gone


def test_a_stage_whose_parts_another_stage_froze_is_timed(toy: type) -> None:
    method = toy()
    method.requires_grad_(False)  # as a stage leaves what it does not train
    plan = TrainingPlan(minutes=1, batch=2)

    seconds = seconds_a_batch(method, "second", torch.rand(9, 1, 8, 8), plan, torch.device("cpu"))

    assert seconds > 0
    assert not any(each.requires_grad for each in method.parameters())


@pytest.mark.parametrize(
    ("settings", "more", "told"),
    [
        ({"steps": 1200}, {}, "1200 batches take about 40 min"),
        ({"steps": 1200}, {"done": 900}, "300 batches take about 10 min"),
        ({"steps": 12_000}, {"first": False}, "1200 batches take about 40 min"),
        ({"steps": 12_000}, {}, "12000 batches take about 6.7 h"),
        ({"steps": 1_200_000}, {}, "take about 27.8 days"),
        ({"minutes": 30}, {}, "30 min are enough for about 900 batches"),
        ({"minutes": 4}, {"first": False}, "24 s are enough for about 12 batches"),
        ({"minutes": 30, "steps": 12_000}, {}, "30 min are enough for about 900 batches"),
        ({"minutes": 30, "steps": 60}, {}, "60 batches take about 2 min"),
    ],
)
def test_the_time_is_said_before_it_is_spent(
    settings: dict[str, float], more: dict[str, object], told: str
) -> None:
    note = duration_note("denoise", 2.0, TrainingPlan(**settings), **({"first": True} | more))

    assert note.startswith("denoise: about 2 s a batch on this machine without a GPU: ")
    assert told in note
