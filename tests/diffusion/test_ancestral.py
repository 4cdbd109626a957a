from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from napari_followup.diffusion.ancestral import decode_ancestral, posterior
from napari_followup.diffusion.noise import gaussian, simplex
from napari_followup.diffusion.schedule import linear_schedule

ABARS = linear_schedule(50)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_one_step_back_has_the_mean_and_variance_of_ho_et_al() -> None:
    noised, clean = torch.randn(4, dtype=torch.float64), torch.rand(4, dtype=torch.float64)
    step = 30
    beta = 1e-4 + (2e-2 - 1e-4) * (step - 1) / 49  # linspace by hand

    mean, variance = posterior(noised, clean, ABARS[step], ABARS[step - 1])

    abar, before = ABARS[step], ABARS[step - 1]
    first = before.sqrt() * beta / (1 - abar) * clean
    second = np.sqrt(1 - beta) * (1 - before) / (1 - abar) * noised
    torch.testing.assert_close(mean, first + second)
    torch.testing.assert_close(variance, (1 - before) / (1 - abar) * beta)


def test_a_long_step_back_is_bayes_rule_for_gaussians() -> None:
    """The grid over x_s: q(x_s | x_0) q(x_t | x_s), normalised and summed up."""
    clean, noised, abar, before = 0.3, 0.9, ABARS[40], ABARS[10]
    x = torch.linspace(-8, 8, 200_001, dtype=torch.float64)
    kept = abar / before
    log = -0.5 * (x - before.sqrt() * clean) ** 2 / (1 - before)
    log = log - 0.5 * (noised - kept.sqrt() * x) ** 2 / (1 - kept)
    weight = (log - log.max()).exp()
    weight = weight / weight.sum()
    expected = (weight * x).sum()

    mean, variance = posterior(
        torch.tensor(noised).double(), torch.tensor(clean).double(), abar, before
    )

    torch.testing.assert_close(mean, expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(variance, (weight * (x - expected) ** 2).sum(), atol=1e-6, rtol=1e-4)


def test_a_perfect_denoiser_recovers_the_image_and_follows_the_process_on_its_way() -> None:
    image = torch.rand(2000, 1, 2, 2)
    seen: list[Tensor] = []

    def denoise(noised: Tensor, step: int) -> Tensor:
        seen.append(noised)
        return image

    start = ABARS[50].sqrt() * image + (1 - ABARS[50]).sqrt() * torch.randn_like(image)
    found = decode_ancestral(
        start.float(), 50, 5, ABARS, denoise, noise=gaussian, generator=generator(1)
    )

    torch.testing.assert_close(found, image)
    for noised, step in zip(seen, (50, 40, 30, 20, 10), strict=True):
        rest = noised - ABARS[step].sqrt().float() * image
        torch.testing.assert_close(rest.var(), 1 - ABARS[step].float(), rtol=0.05, atol=0.002)


def test_fresh_noise_is_of_the_kind_asked_for_and_follows_the_generator() -> None:
    image = torch.rand(3, 1, 8, 8)

    def walked(seed: int) -> Tensor:
        return decode_ancestral(
            *(image, 40, 4, ABARS, lambda noised, step: noised * 0.5),
            noise=simplex,
            generator=generator(seed),
        )

    assert torch.equal(walked(1), walked(1))
    assert not torch.allclose(walked(1), walked(2))
