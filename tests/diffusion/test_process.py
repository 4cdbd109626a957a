from __future__ import annotations

import torch

from napari_followup.diffusion.process import (
    add_noise,
    clean_from_noise,
    ddim_step,
    noise_from_clean,
)

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
