from __future__ import annotations

import pytest
import torch
from torch import Tensor

from napari_followup.diffusion.sampling import decode, draw_noise, encode, noised_to
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
