from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_followup.diffusion.noise import draw_noise, gaussian, simplex
from napari_followup.diffusion.sampling import (
    decode,
    decode_ancestral,
    encode,
    lerp,
    noised_to,
    posterior,
    slerp,
)
from napari_followup.diffusion.schedule import linear_schedule

ABARS = linear_schedule(50)


@pytest.mark.parametrize("level", [1, 7, 50])
@pytest.mark.parametrize("sampling_steps", [1, 4, 100])
def test_a_perfect_denoiser_recovers_the_image_from_any_level(
    level: int, sampling_steps: int
) -> None:
    image = torch.rand(2, 1, 4, 4)
    noised = noised_to(image, level, ABARS, torch.randn_like(image))

    decoded = decode(noised, level, sampling_steps, ABARS, lambda noised, step: image)

    assert torch.equal(decoded, image)


def test_decoding_asks_the_network_at_every_step_of_the_grid_but_the_last() -> None:
    asked = []

    def denoise(noised: Tensor, step: int) -> Tensor:
        asked.append(step)
        return noised

    decode(torch.zeros(1, 1, 2, 2), 40, 4, ABARS, denoise)

    assert asked == [40, 30, 20, 10]


def test_noised_images_are_those_of_equation_2_4() -> None:
    image, noise = torch.rand(1, 1, 2, 2), torch.randn(1, 1, 2, 2)

    noised = noised_to(image, 20, ABARS, noise)

    share = ABARS[20].item()
    torch.testing.assert_close(noised, share**0.5 * image + (1 - share) ** 0.5 * noise)


def test_decoding_what_was_encoded_returns_the_image() -> None:
    abars = linear_schedule(1000)

    def best_guess(noised: Tensor, step: int) -> Tensor:
        """Mean of all images behind a noised one, where images are Gaussian of variance 1/4."""
        share = abars[step].to(noised)
        return noised * share.sqrt() * 0.25 / (share * 0.25 + 1 - share)

    image = torch.randn(1, 1, 8, 8) / 2

    code = encode(image, 500, 500, abars, best_guess)
    back = decode(code, 500, 500, abars, best_guess)

    torch.testing.assert_close(back, image, atol=1e-3, rtol=1e-2)
    # the code of a Gaussian image has the variance of its marginal: abar / 4 + 1 - abar
    spread = (abars[500] * 0.25 + 1 - abars[500]).sqrt().item()
    torch.testing.assert_close(code, image / 0.5 * spread, atol=0.02, rtol=0.02)


def test_encoding_never_asks_at_step_0() -> None:
    asked = []

    def denoise(noised: Tensor, step: int) -> Tensor:
        asked.append(step)
        return noised

    encode(torch.zeros(1, 1, 2, 2), 40, 4, ABARS, denoise)

    assert asked == [1, 10, 20, 30]


def test_noise_follows_its_generator_and_has_unit_variance() -> None:
    like = torch.zeros(1)
    first = draw_noise((100, 100), torch.Generator().manual_seed(3), like)
    again = draw_noise((100, 100), torch.Generator().manual_seed(3), like)

    assert torch.equal(first, again)
    assert first.std().item() == pytest.approx(1.0, abs=0.03)


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


START, END = torch.randn(2, 3, 1, 4, 5, generator=torch.Generator().manual_seed(0))
PART = torch.tensor([0.0, 0.3, 1.0])


def test_straight_interpolation_is_the_weighted_mean() -> None:
    found = lerp(START, END, PART)

    expected = [(1 - p) * a + p * b for a, b, p in zip(START, END, (0.0, 0.3, 1.0), strict=True)]
    torch.testing.assert_close(found, torch.stack(expected))


def test_the_arc_is_that_of_the_printed_equation() -> None:
    found = slerp(START, END, PART)

    for index, part in enumerate((0.0, 0.3, 1.0)):
        a, b = (x[index].numpy().ravel().astype(float) for x in (START, END))
        angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        expected = (np.sin((1 - part) * angle) * a + np.sin(part * angle) * b) / np.sin(angle)
        np.testing.assert_allclose(found[index].ravel(), expected, atol=1e-6)


@pytest.mark.parametrize("path", [lerp, slerp])
def test_both_ways_begin_and_end_where_they_should(path: object) -> None:
    torch.testing.assert_close(path(START, END, torch.zeros(3)), START)
    torch.testing.assert_close(path(START, END, torch.ones(3)), END)
    assert path(START, END, PART).dtype == START.dtype


def test_the_arc_keeps_the_length_that_the_straight_way_loses() -> None:
    one, other = torch.eye(2)[:, None]
    half = torch.tensor([0.5])

    torch.testing.assert_close(slerp(one, other, half), torch.full((1, 2), 0.5**0.5))
    torch.testing.assert_close(lerp(one, other, half), torch.full((1, 2), 0.5))


@pytest.mark.parametrize("factor", [1.0, 2.0, 1 + 1e-7])
def test_vectors_of_one_direction_are_joined_by_a_line(factor: float) -> None:
    found = slerp(START, factor * START, PART)

    assert found.isfinite().all()
    torch.testing.assert_close(found, lerp(START, factor * START, PART))


def test_opposite_and_empty_vectors_give_numbers() -> None:
    assert slerp(START, -START, PART).isfinite().all()
    assert slerp(START, torch.zeros_like(START), PART).isfinite().all()
