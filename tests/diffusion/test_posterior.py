from __future__ import annotations

import math

import pytest
import torch

from napari_followup.diffusion.posterior import posterior_weights, transition_deviation
from napari_followup.diffusion.process import add_noise
from napari_followup.diffusion.schedule import abar_at, linear_schedule

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
