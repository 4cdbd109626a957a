from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_followup.training.checkpoint import LAST, read_checkpoint
from napari_followup.training.fit import fit_stage
from napari_followup.training.plan import TrainingPlan


class Toy(nn.Module):
    """A method of two parts with everything that makes resuming hard: dropout and batch norm."""

    stages = ("first", "second")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.trained = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 1, 1)
        )
        self.kept = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.Dropout(0.5))
        self.modes: set[tuple[bool, bool]] = set()

    def parts_of(self, stage: str) -> tuple[nn.Module, ...]:
        return (self.trained,)

    def loss(self, stage: str, images: Tensor, generator: torch.Generator) -> Tensor:
        self.modes.add((self.trained.training, self.kept.training))
        noise = torch.randn(images.shape, generator=generator)
        return (self.trained(images + noise) - self.kept(images)).square().mean()


@pytest.fixture
def planes() -> tuple[Tensor, Tensor]:
    return torch.rand(40, 1, 8, 8), torch.rand(6, 1, 8, 8)


def plan(**settings: Any) -> TrainingPlan:
    defaults = {"steps": 6, "batch": 4, "checkpoint_every": 3, "learning_rate": 0.1}
    return TrainingPlan(**(defaults | settings))


class Killed(RuntimeError):
    """Stands for whatever ends a process in the middle."""


def kill_at(step: int) -> Callable[[int, float, float], None]:
    def on_loss(number: int, progress: float, loss: float) -> None:
        if number == step:
            raise Killed

    return on_loss


def same(one: nn.Module, other: nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_training_killed_and_resumed_ends_where_an_undisturbed_one_does(
    planes: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    whole, losses = Toy(), {}
    fit_stage(
        whole,
        "first",
        planes,
        plan(),
        tmp_path / "whole",
        on_loss=lambda n, share, loss: losses.update({n: loss}),
    )

    with pytest.raises(Killed):
        fit_stage(Toy(), "first", planes, plan(), tmp_path / "cut", on_loss=kill_at(5))
    torch.rand(17)  # whatever else draws random numbers meanwhile
    resumed, again = Toy(), {}
    ended = fit_stage(
        resumed,
        "first",
        planes,
        plan(),
        tmp_path / "cut",
        on_loss=lambda n, share, loss: again.update({n: loss}),
    )

    assert ended
    assert again == {n: losses[n] for n in (4, 5, 6)}
    assert same(resumed, whole)  # these are the averaged weights
    saved = [torch.load(tmp_path / run / LAST, weights_only=True) for run in ("whole", "cut")]
    for name, weights in saved[0]["current_model_state"].items():
        assert torch.equal(weights, saved[1]["current_model_state"][name])


def test_weights_are_averaged_closely_at_first(
    planes: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    toy, seen = Toy(), []

    def watch(number: int, progress: float, loss: float) -> None:
        seen.append(toy.trained[3].bias.detach().clone())

    fit_stage(toy, "first", planes, plan(steps=3), tmp_path, on_loss=watch)

    mean = seen[0]
    for n, weights in enumerate(seen[1:], start=1):
        decay = (1 + n) / (10 + n)
        mean = decay * mean + (1 - decay) * weights
    torch.testing.assert_close(toy.trained[3].bias.detach(), mean)


def test_stop_keeps_a_checkpoint_and_training_goes_on_from_it(
    planes: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    whole, stopped = Toy(), Toy()
    fit_stage(whole, "first", planes, plan(checkpoint_every=500), tmp_path / "whole")
    far = plan(checkpoint_every=500)

    ended = fit_stage(
        stopped, "first", planes, far, tmp_path / "cut", on_loss=lambda n, share, loss: n < 2
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
        on_loss=lambda n, share, loss: seen.append(n),
    )
    assert seen == [3, 4, 5, 6]
    assert same(stopped, whole)


def test_a_finished_stage_is_not_trained_again(
    planes: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    first, again = Toy(), Toy()
    fit_stage(first, "first", planes, plan(), tmp_path)

    assert fit_stage(again, "first", planes, plan(), tmp_path, on_loss=kill_at(7))
    assert same(again, first)


def test_only_the_stages_own_parts_learn_and_only_they_are_in_training_mode(
    planes: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    toy, fresh = Toy(), Toy()

    fit_stage(toy, "first", planes, plan(), tmp_path)

    assert same(toy.kept, fresh.kept)  # the running statistics of its norm, too
    assert not same(toy.trained, fresh.trained)
    assert toy.modes == {(True, False), (False, False)}  # training, and validation


def test_a_budget_in_minutes_ends_the_stage(planes: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    progress: list[float] = []

    ended = fit_stage(
        Toy(),
        "first",
        planes,
        plan(steps=None, minutes=0.3 / 60),
        tmp_path,
        on_loss=lambda n, share, loss: progress.append(share),
    )

    assert ended
    assert progress == sorted(progress)
    assert 0.5 < progress[-1] < 2


def test_losses_are_written_down(planes: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    fit_stage(Toy(), "first", planes, plan(), tmp_path)

    table = (tmp_path / "losses" / "from-0" / "metrics.csv").read_text()
    assert "validation_loss" in table.splitlines()[0]
