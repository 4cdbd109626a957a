from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from napari_followup.networks.vae import VAENetwork, divergence


@pytest.mark.parametrize("sides", [(16, 24), (8, 16, 24)])
def test_codes_are_vectors_and_images_come_back_in_their_shape(sides: tuple[int, ...]) -> None:
    network = VAENetwork(2, sides, (8, 16), 5)
    images = torch.rand(3, 2, *sides)

    mean, log_variance = network.encode(images)

    assert mean.shape == log_variance.shape == (3, 5)
    assert network.decode(mean).shape == images.shape


def test_divergence_agrees_with_torch_distributions() -> None:
    mean, log_variance = torch.randn(2, 7, 9)

    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).mean()

    torch.testing.assert_close(divergence(mean, log_variance), expected)


def test_a_standard_code_diverges_by_nothing() -> None:
    assert divergence(torch.zeros(2, 3), torch.zeros(2, 3)).item() == 0


def test_planes_in_channels_last_order_go_through_alike() -> None:
    network = VAENetwork(1, (16, 16), (8, 16), 5).eval()
    images = torch.rand(2, 1, 16, 16)
    expected, _ = network.encode(images)

    network.to(memory_format=torch.channels_last)

    found, _ = network.encode(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_a_side_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got \(16, 18\); this network takes multiples of 4"):
        VAENetwork(1, (16, 18), (8, 16), 5)
