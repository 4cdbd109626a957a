from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_followup.scores.mahalanobis import mahalanobis


def by_full_inverse(image: Tensor, draws: Tensor, ridge: float, *, full: bool = True) -> np.ndarray:
    """Slow: the whole covariance matrix of a vector (m, ...), inverted; modalities added up."""
    x, drawn = image.double().numpy(), draws.double().numpy()
    delta = (x - drawn.mean(axis=0)).ravel()
    covariance = np.cov(drawn.reshape(len(drawn), -1), rowvar=False)
    if not full:
        covariance = np.diag(np.diag(covariance))
    inverse = np.linalg.inv(covariance + ridge * np.eye(len(delta)))
    squares = (delta * (inverse @ delta)).reshape(x.shape).sum(axis=0)
    return np.sqrt(np.maximum(0, squares))


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 2, 3, 5, 6)


@pytest.fixture
def draws(images: Tensor) -> Tensor:
    """Reconstructions that differ in a few patterns, and in a little of everything."""
    patterns = torch.randn(3, *images.shape)
    amounts = torch.randn(10, 3)
    common = torch.einsum("np,pvmzyx->nvmzyx", amounts, patterns)
    return images + 0.1 + 0.2 * common + 0.01 * torch.randn(10, *images.shape)


@pytest.mark.parametrize("ridge", [1e-5, 1e-2])
@pytest.mark.parametrize("full", [True, False])
def test_each_plane_agrees_with_the_inverse_of_its_covariance_matrix(
    images: Tensor, draws: Tensor, ridge: float, full: bool
) -> None:
    found = mahalanobis(images, draws, full=full, ridge=ridge)

    assert found.shape == (2, 3, 5, 6)
    for visit, z in np.ndindex(2, 3):
        plane = images[visit, :, z], draws[:, visit, :, z]
        expected = by_full_inverse(*plane, ridge, full=full)
        np.testing.assert_allclose(found[visit, z].numpy(), expected, rtol=1e-4, atol=1e-4)


def test_a_volume_agrees_with_the_inverse_of_its_covariance_matrix(
    images: Tensor, draws: Tensor
) -> None:
    found = mahalanobis(images, draws, ridge=1e-4, volume=True)

    for visit in range(2):
        expected = by_full_inverse(images[visit], draws[:, visit], 1e-4)
        np.testing.assert_allclose(found[visit].numpy(), expected, rtol=1e-4, atol=1e-4)


def test_planes_of_a_slab_have_the_distance_they_have_alone(images: Tensor, draws: Tensor) -> None:
    whole = mahalanobis(images, draws)

    torch.testing.assert_close(whole[:, 1:2], mahalanobis(images[:, :, 1:2], draws[:, :, :, 1:2]))


def test_deviations_that_draws_share_count_less_than_others(images: Tensor) -> None:
    direction = torch.zeros_like(images)
    direction[..., :3] = 1.0
    draws = torch.stack([images + amount * direction for amount in (-0.2, -0.1, 0.0, 0.1, 0.2)])

    usual = mahalanobis(images + 0.2 * direction, draws)
    unusual = mahalanobis(images + 0.2 * direction.flip(-1), draws)

    assert usual.amax() < 1.0
    assert unusual[..., 3:].amin() > 60


def test_the_mean_of_the_draws_is_no_distance_away(draws: Tensor) -> None:
    assert mahalanobis(draws.mean(dim=0), draws).amax() < 1e-3


def test_pixels_where_all_draws_agree_are_measured_by_the_ridge() -> None:
    images, draws = torch.full((1, 1, 1, 2, 2), 0.3), torch.zeros(4, 1, 1, 1, 2, 2)

    for full in (True, False):
        found = mahalanobis(images, draws, full=full, ridge=0.01)
        torch.testing.assert_close(found, torch.full((1, 1, 2, 2), 3.0))


def test_one_draw_is_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match="got 1 reconstruction of each image; the Mahalanobis"):
        mahalanobis(images, images[None])
