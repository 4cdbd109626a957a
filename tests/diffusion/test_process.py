from __future__ import annotations

import math

import pytest
import torch

from napari_followup.diffusion.process import (
    add_noise,
    clean_from_noise,
    ddim_step,
    noise_from_clean,
    posterior_weights,
    transition_deviation,
)
from napari_followup.diffusion.schedule import abar_at, linear_schedule

ABAR = torch.tensor(0.64)  # square roots 0.8 and 0.6


def test_noised_image_is_the_weighted_sum_of_equation_2_4() -> None:
    noised = add_noise(torch.tensor([1.0, 0.0]), torch.tensor([0.5, -1.0]), ABAR)

    torch.testing.assert_close(noised, torch.tensor([0.8 + 0.3, -0.6]))


def test_noise_and_clean_predictions_say_the_same() -> None:
    clean, noise = torch.rand(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    abar = torch.tensor([0.9, 0.1])[:, None, None, None]
    noised = add_noise(clean, noise, abar)

    torch.testing.assert_close(clean_from_noise(noised, noise, abar), clean)
    torch.testing.assert_close(noise_from_clean(noised, clean, abar), noise)


def test_there_is_no_noise_in_a_clean_image() -> None:
    image = torch.rand(3)

    assert (noise_from_clean(image, image, torch.tensor(1.0)) == 0).all()


def test_ddim_step_worked_by_hand() -> None:
    # noise in 1.1 with clean 0.5: (1.1 - 0.8 * 0.5) / 0.6 = 7 / 6; next: 0.6 * 0.5 + 0.8 * 7 / 6
    stepped = ddim_step(torch.tensor([1.1]), torch.tensor([0.5]), ABAR, torch.tensor(0.36))

    torch.testing.assert_close(stepped, torch.tensor([0.3 + 0.8 * 7 / 6]))


def test_last_ddim_step_gives_the_networks_image_itself() -> None:
    clean = torch.rand(5)

    assert torch.equal(ddim_step(torch.randn(5), clean, ABAR, torch.tensor(1.0)), clean)


ABARS = linear_schedule(1000)


def by_hand(step: int) -> tuple[float, float]:
    """Weights of equation 2 from the betas, in plain Python."""
    betas = [1e-4 + (2e-2 - 1e-4) * n / 999 for n in range(1000)]
    abar = math.prod(1 - beta for beta in betas[:step])
    before = math.prod(1 - beta for beta in betas[: step - 1])
    alpha = 1 - betas[step - 1]
    noised = math.sqrt(alpha) * (1 - before) / (1 - abar)
    return noised, math.sqrt(before) * (1 - alpha) / (1 - abar)


@pytest.mark.parametrize("step", [1, 2, 75, 199, 1000])
def test_weights_are_those_of_equation_2(step: int) -> None:
    noised, clean = posterior_weights(ABARS, torch.tensor([step]))

    expected = by_hand(step)
    assert noised.item() == pytest.approx(expected[0], rel=1e-9, abs=1e-12)
    assert clean.item() == pytest.approx(expected[1], rel=1e-9)


def test_the_last_step_backward_ends_at_the_clean_image() -> None:
    noised, clean = posterior_weights(ABARS, torch.tensor([1]))

    assert noised.item() == 0
    assert clean.item() == pytest.approx(1.0)


def test_deviation_is_the_squared_distance_of_the_two_posterior_means() -> None:
    steps = torch.tensor([80, 150])
    clean, predicted = torch.rand(2, 2, 1, 4, 4).double()
    noised = add_noise(clean, torch.randn_like(clean), abar_at(ABARS, steps, clean))

    found = transition_deviation(clean, predicted, ABARS, steps)

    for n, step in enumerate(steps.tolist()):
        for_noised, for_clean = by_hand(step)
        true = for_noised * noised[n] + for_clean * clean[n]
        told = for_noised * noised[n] + for_clean * predicted[n]
        torch.testing.assert_close(found[n], (true - told) ** 2, rtol=1e-6, atol=1e-15)
