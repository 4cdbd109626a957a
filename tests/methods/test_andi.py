from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_followup.methods.andi import (
    COMPACT,
    PUBLISHED,
    ANDi,
    ANDiConfig,
    ANDiOptions,
)
from napari_followup.methods.method import Visits

TINY = ANDiConfig(
    image_size=(16, 16),
    channels=(8, 16),
    blocks=1,
    attention=(1,),
    unshuffle=2,
    condition_features=16,
    steps=20,
    trained_steps=(1, 20),
)
OPTIONS = ANDiOptions(first_step=4, last_step=15, stride=2)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def awake(config: ANDiConfig) -> ANDi:
    """Untrained network whose layers that start at zero have values."""
    torch.manual_seed(0)
    andi = ANDi(config).eval()
    with torch.no_grad():
        for parameter in andi.parameters():
            if not parameter.any():
                parameter.normal_(std=0.2)
    return andi.requires_grad_(False)


def series(visits: int = 2, modalities: int = 1, depth: int = 1) -> Visits:
    images = torch.rand(visits, modalities, depth, 16, 16, generator=generator(5)) * 2 - 1
    return Visits(images=images, ages=torch.arange(float(visits)))


def silent(done: int, total: int) -> None:
    """Nobody listens."""


@pytest.mark.parametrize("prediction", ["noise", "clean"])
@pytest.mark.parametrize("mean", ["geometric", "arithmetic"])
def test_score_is_algorithm_1_worked_step_by_step(prediction: str, mean: str) -> None:
    andi = awake(replace(TINY, prediction=prediction, modalities=2))
    visits, source = series(2, modalities=2), generator(1)
    betas = np.linspace(1e-4, 2e-2, 20)
    abars = np.concatenate([[1.0], np.cumprod(1 - betas)])
    planes, logs, total = visits.planes.double(), 0.0, 0.0
    for t in range(4, 15, 2):
        noise = torch.randn(planes.shape, generator=source).double()
        noised = math.sqrt(abars[t]) * planes + math.sqrt(1 - abars[t]) * noise
        told = andi.unet(
            noised.float(),
            andi.unet.project_steps(torch.tensor([t] * 2)),
            andi.unet.project_code(None, 2),
        ).double()
        if prediction == "noise":
            told = (noised - math.sqrt(1 - abars[t]) * told) / math.sqrt(abars[t])

        def mu(clean: Tensor, noised: Tensor = noised, t: int = t) -> Tensor:
            alpha, after, before = 1 - betas[t - 1], abars[t], abars[t - 1]
            share = math.sqrt(alpha) * (1 - before) / (1 - after)
            return share * noised + math.sqrt(before) * (1 - alpha) / (1 - after) * clean

        d = (mu(planes) - mu(told)) ** 2
        logs, total = logs + d.clamp_min(1e-12).log(), total + d
    expected = (logs / 6).exp() if mean == "geometric" else total / 6

    found = andi.examine(visits, replace(OPTIONS, mean=mean), generator(1), silent)

    assert found.healthy is None
    assert found.score is not None
    expected = expected.amax(dim=1)[:, None].float()  # over modalities
    torch.testing.assert_close(found.score, expected, rtol=1e-3, atol=1e-9)


def test_a_perfect_network_scores_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    andi = awake(replace(TINY, prediction="clean"))
    visits = series(1)
    monkeypatch.setattr(andi, "clean", lambda noised, steps: visits.planes.repeat(6, 1, 1, 1))

    found = andi.examine(visits, OPTIONS, generator(), silent)

    torch.testing.assert_close(found.score, torch.full((1, 1, 16, 16), 1e-12))


def test_scores_do_not_depend_on_how_many_steps_go_through_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    andi, visits = awake(TINY), series(3, depth=2)
    seen: list[tuple[int, int]] = []
    many = andi.examine(visits, OPTIONS, generator(), lambda *call: seen.append(call))
    assert many.score.shape == (3, 2, 16, 16)
    assert seen == [(1, 1)]
    seen.clear()

    monkeypatch.setattr("napari_followup.methods.andi.IMAGES_AT_ONCE", 1)
    single = andi.examine(visits, OPTIONS, generator(), lambda *call: seen.append(call))

    torch.testing.assert_close(single.score, many.score, rtol=1e-2, atol=1e-6)
    assert seen == [(n, 6) for n in range(1, 7)]


def test_steps_that_were_not_trained_are_refused() -> None:
    andi = awake(replace(TINY, trained_steps=(1, 10)))

    with pytest.raises(ValueError, match="got steps 4 to 14; this model knows steps 1 to 10"):
        andi.examine(series(), OPTIONS, generator(), silent)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"beta_range": (0.02, 0.01)}, "beta_range must rise"),
        ({"trained_steps": (1, 21)}, "trained_steps: got steps 1 to 21"),
    ],
)
def test_settings_are_checked_where_they_are_made(
    settings: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        replace(TINY, **settings)


def test_an_image_size_the_network_cannot_halve_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 4 pixels"):
        ANDi(replace(TINY, image_size=(16, 18)))


@pytest.mark.parametrize(("prediction", "expected"), [("noise", 1.0), ("clean", 1 / 3)])
@pytest.mark.parametrize("noise", ["pyramid", "gaussian"])
def test_loss_of_a_network_that_answers_zero_is_the_mean_square_of_its_target(
    prediction: str, expected: float, noise: str
) -> None:
    fresh = ANDi(replace(TINY, prediction=prediction, noise=noise))
    images = torch.rand(64, 1, 16, 16) * 2 - 1

    loss = fresh.loss("denoise", images, generator()).item()

    # pyramid noise has a variance of 1 about a mean that need not be 0
    assert loss == pytest.approx(expected, abs=0.3 if noise == "pyramid" else 0.05)


def test_presets_differ_in_size_and_agree_in_the_steps_they_know() -> None:
    count = sum(parameter.numel() for parameter in ANDi(COMPACT).parameters())

    assert count < 2.6e6
    assert PUBLISHED.noise == COMPACT.noise == "pyramid"
    assert COMPACT.trained_steps[1] >= ANDiOptions().last_step
