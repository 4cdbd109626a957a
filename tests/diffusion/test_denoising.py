from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from napari_followup.diffusion.denoising import (
    DenoisingConfig,
    check_levels,
    check_target,
    clean_planes,
    denoiser,
    error_map,
    from_levels,
    noised_planes,
)
from napari_followup.diffusion.schedule import linear_schedule

ABARS = linear_schedule(50)


def settings(**changes: Any) -> DenoisingConfig:
    return DenoisingConfig(**{"noise": "gaussian", "steps": 50, **changes})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("noise", ["gaussian", "simplex"])
def test_planes_are_noised_to_their_steps_by_equation_2_4(noise: str) -> None:
    images = torch.rand(6, 2, 8, 8)

    sample = noised_planes(images, settings(noise=noise), ABARS, generator())

    assert torch.equal(sample.shown, images)
    for index, step in enumerate(sample.steps.tolist()):
        abar = ABARS[step].float()
        expected = abar.sqrt() * images[index] + (1 - abar).sqrt() * sample.noise[index]
        torch.testing.assert_close(sample.noised[index], expected)


def test_steps_are_all_those_of_the_schedule_and_low_ones_more_often_where_asked() -> None:
    images = torch.zeros(5000, 1, 1, 1)

    even = noised_planes(images, settings(), ABARS, generator()).steps
    low = noised_planes(images, settings(step_power=2.0), ABARS, generator()).steps

    assert (int(even.min()), int(even.max())) == (1, 50)
    assert even.float().mean().item() == pytest.approx(25.5, abs=1)
    assert low.float().mean().item() == pytest.approx(50 / 3, abs=1)


def test_corrupted_planes_stay_in_the_value_range_and_keep_their_targets() -> None:
    images = 200 * torch.rand(32, 1, 16, 16) - 100
    config = settings(corruption=1.0, value_range=(-100.0, 100.0))

    sample = noised_planes(images, config, ABARS, generator())

    changed = (sample.shown - images).abs().amax(dim=(1, 2, 3))
    assert (changed > 5).float().mean() > 0.8
    assert -100.01 <= sample.shown.min() <= sample.shown.max() <= 100.01
    assert not error_map(images, images, sample, config).any()


@pytest.mark.parametrize("prediction", ["clean", "noise"])
def test_a_perfect_prediction_gives_the_clean_planes_and_no_error(prediction: str) -> None:
    images, config = torch.rand(3, 1, 4, 4), settings(prediction=prediction)
    sample = noised_planes(images, config, ABARS, generator())
    perfect = images if prediction == "clean" else sample.noise
    abar = ABARS[sample.steps].float()[:, None, None, None]

    clean = clean_planes(perfect, sample.noised, abar, config)

    torch.testing.assert_close(clean, images, atol=1e-5, rtol=1e-5)
    assert not error_map(perfect, images, sample, config).any()


def test_clean_planes_keep_to_the_value_range() -> None:
    predicted = torch.tensor([[[[-0.5, 0.5, 1.5]]]])

    clean = clean_planes(predicted, predicted, ABARS[3], settings())

    assert clean.flatten().tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(("loss", "expected"), [("l1", 0.5), ("l2", 0.25)])
def test_errors_are_absolute_or_squared(loss: str, expected: float) -> None:
    images, config = torch.rand(2, 1, 3, 3), settings(loss=loss)
    sample = noised_planes(images, config, ABARS, generator())

    found = error_map(images + 0.5, images, sample, config)

    torch.testing.assert_close(found, torch.full_like(images, expected))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"beta_range": (0.02, 0.01)}, "beta_range must rise inside"),
        ({"noise": "pink"}, "noise: got 'pink'"),
        ({"corruption": 0.5, "prediction": "noise"}, "corruption needs prediction='clean'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        settings(**changes)


def test_a_target_is_checked_without_a_noise_too() -> None:
    check_target(SimpleNamespace(beta_range=(1e-4, 2e-2), corruption=0.5, prediction="clean"))
    with pytest.raises(ValueError, match="corruption needs prediction='clean'"):
        check_target(SimpleNamespace(beta_range=(1e-4, 2e-2), corruption=0.5, prediction="noise"))


def test_a_level_beyond_the_schedule_is_refused() -> None:
    check_levels((1, 50), 50)
    with pytest.raises(ValueError, match="got \\(51,\\), this model knows steps 1 to 50"):
        check_levels((51,), 50)


def test_reconstructions_stand_side_by_side_levels_first() -> None:
    made: list[int] = []

    def decoded(level: int) -> Tensor:
        made.append(level)
        return torch.full((2, 1, 3, 3), float(10 * level + len(made)))

    found = from_levels(decoded, (4, 7), 2)

    assert found.shape == (4, 2, 1, 3, 3)
    assert found[:, 0, 0, 0, 0].tolist() == [41.0, 42.0, 73.0, 74.0]


@pytest.mark.parametrize("prediction", ["clean", "noise"])
def test_a_bound_network_answers_with_clean_planes_in_the_value_range(prediction: str) -> None:
    planes, noise, told = torch.rand(2, 1, 4, 4), torch.randn(2, 1, 4, 4), []
    abar = ABARS[9].float()
    noised = abar.sqrt() * planes + (1 - abar).sqrt() * noise
    asked: list[object] = []

    def network(x: Tensor, step: Tensor, code: list[Tensor]) -> Tensor:
        asked.append((x, step.tolist(), code))
        return 3 * planes if prediction == "clean" else noise

    network.project_steps = lambda steps: steps  # type: ignore[attr-defined]
    config = DenoisingConfig(prediction=prediction, steps=50)

    denoise = denoiser(network, [], ABARS, config, lambda: told.append(1), lambda x: 2 * x)
    found = denoise(noised, 9)

    expected = (3 * planes).clamp(0, 1) if prediction == "clean" else planes
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    (seen, step, code) = asked[0]
    assert torch.equal(seen, 2 * noised)
    assert (step, code, told) == ([9], [], [1])
