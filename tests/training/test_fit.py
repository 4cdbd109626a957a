from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_followup.training.checkpoint import LAST, read_checkpoint
from napari_followup.training.fit import duration_note, fit_stage, seconds_a_batch
from napari_followup.training.plan import Augmentation, TrainingPlan
from napari_followup.training.state import Example, TrainingState

Planes = tuple[Tensor, Tensor]


def plan(**settings: Any) -> TrainingPlan:
    defaults = {"steps": 6, "batch": 4, "checkpoint_every": 3, "learning_rate": 0.1}
    return TrainingPlan(**(defaults | settings))


class Killed(RuntimeError):
    """Stands for whatever ends a process in the middle."""


def kill_at(step: int) -> Callable[[TrainingState], None]:
    def on_state(state: TrainingState) -> None:
        if state.batch == step:
            raise Killed

    return on_state


def same(one: nn.Module, other: nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_training_killed_and_resumed_ends_where_an_undisturbed_one_does(
    toy: type, planes: Planes, tmp_path: Path
) -> None:
    whole, losses = toy(), {}
    varied = plan(augmentation=Augmentation(flip=("x",), rotation=9.0, intensity=0.1), at_once=3)
    fit_stage(
        whole,
        "first",
        planes,
        varied,
        tmp_path / "whole",
        on_state=lambda state: losses.update({state.batch: state.loss}),
    )

    with pytest.raises(Killed):
        fit_stage(toy(), "first", planes, varied, tmp_path / "cut", on_state=kill_at(5))
    torch.rand(17)  # whatever else draws random numbers meanwhile
    resumed, again = toy(), {}
    ended = fit_stage(
        resumed,
        "first",
        planes,
        varied,
        tmp_path / "cut",
        on_state=lambda state: again.update({state.batch: state.loss}),
    )

    assert ended
    assert again == {n: losses[n] for n in (4, 5, 6)}
    assert same(resumed, whole)  # these are the averaged weights
    saved = [torch.load(tmp_path / run / LAST, weights_only=True) for run in ("whole", "cut")]
    for name, weights in saved[0]["current"].items():
        assert torch.equal(weights, saved[1]["current"][name])
    assert saved[0]["curve"] == saved[1]["curve"]


def test_stop_keeps_a_checkpoint_and_training_goes_on_from_it(
    toy: type, planes: Planes, tmp_path: Path
) -> None:
    whole, stopped = toy(), toy()
    far = plan(checkpoint_every=500)
    fit_stage(whole, "first", planes, far, tmp_path / "whole")

    ended = fit_stage(
        stopped, "first", planes, far, tmp_path / "cut", on_state=lambda state: state.batch < 2
    )

    assert not ended
    saved = read_checkpoint(tmp_path / "cut")
    assert saved is not None
    assert saved.step == 2
    assert all(torch.equal(stopped.state_dict()[n], w) for n, w in saved.averaged.items())
    seen: list[int] = []
    assert fit_stage(
        stopped,
        "first",
        planes,
        far,
        tmp_path / "cut",
        on_state=lambda state: seen.append(state.batch),
    )
    assert seen == [3, 4, 5, 6]
    assert same(stopped, whole)


def test_checkpoints_are_written_by_the_clock_too(
    toy: type, planes: Planes, tmp_path: Path
) -> None:
    often = plan(checkpoint_every=500, checkpoint_minutes=1e-9)

    with pytest.raises(Killed):
        fit_stage(toy(), "first", planes, often, tmp_path, on_state=kill_at(5))

    saved = read_checkpoint(tmp_path)
    assert saved is not None
    assert saved.step == 4


def test_a_finished_stage_is_not_trained_again(toy: type, planes: Planes, tmp_path: Path) -> None:
    first, again = toy(), toy()
    fit_stage(first, "first", planes, plan(), tmp_path)

    assert fit_stage(again, "first", planes, plan(), tmp_path, on_state=kill_at(7))
    assert same(again, first)


def test_only_the_stages_own_parts_learn_and_only_they_are_in_training_mode(
    toy: type, planes: Planes, tmp_path: Path
) -> None:
    one, fresh = toy(), toy()

    fit_stage(one, "first", planes, plan(), tmp_path)

    assert same(one.kept, fresh.kept)  # the running statistics of its norm, too
    assert not same(one.trained, fresh.trained)
    assert one.modes == {(True, False), (False, False)}  # training, and validation


def test_a_budget_in_minutes_ends_the_stage(toy: type, planes: Planes, tmp_path: Path) -> None:
    states: list[TrainingState] = []

    ended = fit_stage(
        toy(),
        "first",
        planes,
        plan(steps=None, minutes=0.3 / 60),
        tmp_path,
        on_state=states.append,
    )

    assert ended
    progress = [state.progress for state in states]
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    assert states[0].seconds_left is not None
    assert states[-1].seconds_left == 0.0


def test_the_weights_with_the_lowest_validation_loss_are_kept(
    toy: type, planes: Planes, tmp_path: Path
) -> None:
    method, states = toy(), []
    calm = plan(steps=12, learning_rate=1e-6, ema_decay=0.0)

    def disturb(state: TrainingState) -> None:
        states.append(state)
        if state.batch == 7:
            with torch.no_grad():
                method.trained[3].weight.mul_(50.0)

    fit_stage(method, "first", planes, calm, tmp_path, on_state=disturb)

    validations = {state.batch: state.validation_loss for state in states if state.batch % 3 == 0}
    saved = read_checkpoint(tmp_path)
    assert saved is not None
    assert saved.best is not None
    assert saved.best.loss == min(validations.values())
    assert saved.best.batch in (3, 6)
    assert all(torch.equal(method.state_dict()[n], w) for n, w in saved.best.weights.items())


def test_losses_are_written_down(toy: type, planes: Planes, tmp_path: Path) -> None:
    fit_stage(toy(), "first", planes, plan(steps=50), tmp_path)

    lines = (tmp_path / "losses" / "from-0" / "metrics.csv").read_text().splitlines()
    assert set(lines[0].split(",")) == {"loss", "step", "validation_loss"}
    assert any(line.split(",")[lines[0].split(",").index("step")] == "50" for line in lines[1:])


@pytest.mark.skipif("tensorboard" in sys.modules, reason="TensorBoard is there")
def test_a_log_for_tensorboard_needs_it(
    toy: type, planes: Planes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lightning.pytorch as pl

    def missing(*args: object, **more: object) -> None:
        raise ModuleNotFoundError("tensorboard")

    monkeypatch.setattr(pl.loggers, "TensorBoardLogger", missing)
    with pytest.raises(ImportError, match="pip install tensorboard, or take 'csv'"):
        fit_stage(toy(), "first", planes, plan(log="tensorboard"), tmp_path)


def test_a_loss_that_is_no_number_ends_with_the_last_good_checkpoint(
    toy: type, planes: Planes, tmp_path: Path
) -> None:
    broken = toy()
    usual = broken.loss

    def loss(stage: str, images: Tensor, generator: torch.Generator) -> Tensor:
        found = usual(stage, images, generator)
        return found * torch.nan if len(broken.sizes) > 6 and broken.trained.training else found

    broken.loss = loss
    with pytest.raises(FloatingPointError, match=r"became nan at batch 5 .*last.ckpt from before"):
        fit_stage(broken, "first", planes, plan(steps=20), tmp_path)

    saved = read_checkpoint(tmp_path)
    assert saved is not None
    assert saved.step == 3
    assert all(weights.isfinite().all() for weights in saved.current.values())


def test_weights_that_are_no_numbers_are_not_saved_even_if_the_loss_was_one(
    toy: type, planes: Planes, tmp_path: Path
) -> None:
    broken = toy()

    def poison(state: TrainingState) -> None:
        if state.batch == 3:
            with torch.no_grad():
                broken.trained[3].bias.fill_(torch.nan)

    with pytest.raises(FloatingPointError, match=r"learning rate below 0\.1"):
        fit_stage(broken, "first", planes, plan(), tmp_path, on_state=poison)
    assert read_checkpoint(tmp_path) is None


class Small:
    """Memory for so many images at once."""

    def __init__(self, room: int) -> None:
        self.room = room

    def given_to(self, method: Any) -> Any:
        usual = method.loss

        def loss(stage: str, images: Tensor, generator: torch.Generator) -> Tensor:
            if len(images) > self.room:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return usual(stage, images, generator)

        method.loss = loss
        return method


def test_where_memory_runs_out_batches_are_computed_in_parts_and_that_is_said(
    toy: type, planes: Planes, tmp_path: Path
) -> None:
    method, states = Small(3).given_to(toy()), []

    fit_stage(method, "first", planes, plan(batch=10), tmp_path, on_state=states.append)

    notes = [note for state in states for note in state.notes]
    assert notes == [
        "memory ran out: batches of 10 are now computed 2 at a time, which gives the same "
        "training, a little slower"
    ]
    assert states[0].notes
    saved = read_checkpoint(tmp_path)
    assert saved is not None
    assert saved.at_once == 2


def test_where_memory_ran_out_a_resumed_training_ends_as_an_undisturbed_one(
    toy: type, planes: Planes, tmp_path: Path
) -> None:
    whole, cut, again = (Small(3).given_to(toy()) for _ in range(3))
    fit_stage(whole, "first", planes, plan(batch=10), tmp_path / "whole")
    with pytest.raises(Killed):
        fit_stage(cut, "first", planes, plan(batch=10), tmp_path / "cut", on_state=kill_at(5))

    fit_stage(again, "first", planes, plan(batch=10), tmp_path / "cut")

    assert same(again, whole)


def test_not_even_one_image_fits(toy: type, planes: Planes, tmp_path: Path) -> None:
    with pytest.raises(MemoryError, match="not even one plane fits"):
        fit_stage(Small(0).given_to(toy()), "first", planes, plan(), tmp_path)


def test_parts_of_a_batch_give_its_mean_gradient(toy: type, planes: Planes, tmp_path: Path) -> None:
    """Without noise or dropout, however a batch is divided, even unevenly."""

    class Plain(nn.Module):
        stages = ("first",)

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.config = toy().config
            self.trained = nn.Conv2d(1, 1, 3)

        def parts_of(self, stage: str) -> tuple[nn.Module, ...]:
            return (self.trained,)

        def loss(self, stage: str, images: Tensor, generator: torch.Generator) -> Tensor:
            return self.trained(images).square().mean()

    found = []
    for at_once in (10, 4, 1):
        losses: list[float] = []
        method = Plain()
        settings = plan(batch=10, at_once=at_once, learning_rate=1e-3)
        fit_stage(
            method,
            "first",
            planes,
            settings,
            tmp_path / str(at_once),
            on_state=lambda state, to=losses: to.append(state.loss),
        )
        found.append((method.trained.weight.detach(), losses))

    for weights, losses in found[1:]:
        torch.testing.assert_close(weights, found[0][0])
        assert losses == pytest.approx(found[0][1], rel=1e-5)


def test_examples_come_with_every_validation(toy: type, planes: Planes, tmp_path: Path) -> None:
    shown = Example(given=np.zeros((1, 1, 2, 2), "f4"), healthy=np.ones((1, 1, 2, 2), "f4"))
    states: list[TrainingState] = []

    fit_stage(
        toy(),
        "first",
        planes,
        plan(),
        tmp_path,
        on_state=states.append,
        example=lambda: shown,
    )

    assert [state.batch for state in states if state.example is shown] == [3, 6]
    assert [state.validation_loss is None for state in states] == [True] * 2 + [False] * 4


def test_bf16_learns_too(toy: type, planes: Planes, tmp_path: Path) -> None:
    states: list[TrainingState] = []

    fit_stage(
        toy(),
        "first",
        planes,
        replace(plan(), precision="bf16"),
        tmp_path,
        on_state=states.append,
    )

    assert len(states) == 6
    assert all(np.isfinite(state.loss) for state in states)


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
