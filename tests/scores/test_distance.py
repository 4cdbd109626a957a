from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter, minimum_filter
from skimage.metrics import structural_similarity
from torch import Tensor
from torch.nn import functional as F

from napari_followup.networks.encoders import SemanticEncoder
from napari_followup.scores.distance import (
    SIGMAS,
    combine,
    feature_distance,
    in_unit_range,
    local_contrast,
    mahalanobis,
    pixel_distance,
    ssim_distance,
    ssim_map,
    structural_distance,
)


def test_distance_is_the_mean_absolute_difference_over_modalities() -> None:
    images, healthy = torch.zeros(1, 2, 1, 1, 2), torch.zeros(1, 2, 1, 1, 2)
    images[0, 0, 0, 0, 1], images[0, 1, 0, 0, 1] = 0.5, -0.1

    torch.testing.assert_close(
        pixel_distance(images, healthy), torch.tensor([0.0, 0.3]).view(1, 1, 1, 2)
    )


def test_equal_images_are_no_distance_apart() -> None:
    images = torch.rand(3, 1, 2, 5, 7)

    assert not pixel_distance(images, images, tolerance=2.0).any()


def test_tolerance_counts_less_beside_edges_and_fully_where_all_is_even() -> None:
    healthy = torch.zeros(1, 1, 1, 5, 8)
    healthy[..., 4:] = 1.0

    strict = pixel_distance(healthy + 0.25, healthy)
    lenient = pixel_distance(healthy + 0.25, healthy, tolerance=1.0)

    assert (lenient[..., 3:5] < strict[..., 3:5]).all()
    assert torch.equal(lenient[..., [0, 1, 6, 7]], strict[..., [0, 1, 6, 7]])


def test_local_contrast_agrees_with_scipy() -> None:
    images = torch.rand(2, 2, 3, 5, 7)

    size = (1, 1, 1, 3, 3)
    expected = maximum_filter(images.numpy(), size) - minimum_filter(images.numpy(), size)
    np.testing.assert_allclose(local_contrast(images).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 1.7])
def test_the_map_is_that_of_scikit_image_away_from_the_border(sigma: float) -> None:
    images, healthy = torch.rand(2, 2, 3, 24, 20), torch.rand(2, 2, 3, 24, 20)
    images = (images + healthy) / 2  # alike in part

    found = ssim_map(images, healthy, sigma)

    edge = int(3.5 * sigma + 0.5)
    inner = (slice(edge, -edge), slice(edge, -edge))
    for place in np.ndindex(2, 2, 3):
        _, expected = structural_similarity(
            images[place].double().numpy(),
            healthy[place].double().numpy(),
            data_range=1.0,
            gaussian_weights=True,
            sigma=sigma,
            use_sample_covariance=False,
            full=True,
        )
        np.testing.assert_allclose(found[place].numpy()[inner], expected[inner], atol=1e-4)


def test_a_pixel_s_similarity_is_that_of_its_weighted_neighbours() -> None:
    images, healthy = torch.rand(1, 1, 1, 9, 9), torch.rand(1, 1, 1, 9, 9)
    sigma, row, column = 0.9, 4, 5  # a window of 7 pixels

    found = ssim_map(images, healthy, sigma, data_range=2.0)[0, 0, 0, row, column].item()

    weights = {
        (i, j): math.exp(-(i * i + j * j) / (2 * sigma**2))
        for i in range(-3, 4)
        for j in range(-3, 4)
    }
    x = {place: images[0, 0, 0, row + place[0], column + place[1]].item() for place in weights}
    y = {place: healthy[0, 0, 0, row + place[0], column + place[1]].item() for place in weights}
    whole = sum(weights.values())

    def mean(values: dict[tuple[int, int], float]) -> float:
        return sum(weight * values[place] for place, weight in weights.items()) / whole

    mx, my = mean(x), mean(y)
    vx = mean({place: (value - mx) ** 2 for place, value in x.items()})
    vy = mean({place: (value - my) ** 2 for place, value in y.items()})
    vxy = mean({place: (value - mx) * (y[place] - my) for place, value in x.items()})
    c1, c2 = 0.02**2, 0.06**2
    expected = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_window_of_one_pixel_compares_grey_values() -> None:
    images, healthy = torch.rand(1, 1, 1, 5, 5), torch.rand(1, 1, 1, 5, 5)

    found = ssim_map(images, healthy, 0.1)

    expected = (2 * images * healthy + 1e-4) / (images**2 + healthy**2 + 1e-4)
    torch.testing.assert_close(found, expected)


def test_the_ensemble_weighs_windows_by_what_they_see() -> None:
    images, healthy = torch.rand(2, 3, 1, 12, 12), torch.rand(2, 3, 1, 12, 12)

    found = ssim_distance(images, healthy, sigmas=(0.5, 1.0, 1.5))

    maps = [ssim_map(images, healthy, sigma).double().numpy() for sigma in (0.5, 1.0, 1.5)]
    total = sum(np.exp(-each) for each in maps)
    expected = 1 - sum(np.exp(-each) / total * each for each in maps)
    np.testing.assert_allclose(found.numpy(), expected.mean(axis=1), atol=1e-5)
    singles = [ssim_distance(images, healthy, sigmas=(sigma,)) for sigma in (0.5, 1.0, 1.5)]
    assert (found > torch.stack(singles).mean(dim=0) - 1e-6).all()


def test_one_window_gives_one_minus_ssim() -> None:
    images, healthy = torch.rand(1, 2, 1, 8, 8), torch.rand(1, 2, 1, 8, 8)
    alone = structural_distance(images, healthy, sigma=1.0)

    found = ssim_distance(images, healthy, sigmas=(1.0,))

    torch.testing.assert_close(alone, 1 - ssim_map(images, healthy, 1.0))
    torch.testing.assert_close(found, alone.mean(dim=1))
    torch.testing.assert_close(
        structural_distance(images[0, :, 0], healthy[0, :, 0]), alone[0, :, 0]
    )


def test_equal_images_have_no_structural_distance_flat_ones_neither() -> None:
    images = torch.cat([torch.rand(1, 1, 2, 7, 9), torch.zeros(1, 1, 2, 7, 9)])

    torch.testing.assert_close(
        ssim_distance(images, images), torch.zeros(2, 2, 7, 9), atol=1e-3, rtol=0
    )
    assert ssim_distance(images, images + 0.2).shape == (2, 2, 7, 9)


def test_windows_larger_than_a_plane_are_cropped() -> None:
    images, healthy = torch.rand(1, 1, 1, 4, 3), torch.rand(1, 1, 1, 4, 3)

    assert ssim_distance(images, healthy, sigmas=(2.0,)).isfinite().all()


def test_the_published_windows_run_from_0_3_to_1_7() -> None:
    np.testing.assert_allclose(SIGMAS, np.arange(0.3, 1.8, 0.2))


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


def pairs(planes: Tensor, levels: tuple[int, ...]) -> list[Tensor]:
    """Features of two channels at the planes' own size: grey and its complement."""
    return [torch.cat([planes, 1 - planes], dim=1) for _ in levels]


def test_distance_of_even_planes_worked_by_hand() -> None:
    # features (1, 0) and (0.6, 0.4): cosine 0.6 / sqrt(0.52), twice for two levels
    images, healthy = torch.ones(1, 1, 6, 4), torch.full((1, 1, 6, 4), 0.6)

    found = feature_distance(images, healthy, pairs)

    torch.testing.assert_close(found, torch.full((1, 6, 4), 2 * (1 - 0.6 / 0.52**0.5)))


def test_distance_agrees_with_the_cosine_of_pooled_features() -> None:
    encoder = (
        SemanticEncoder(1, 4, depth=18, width=8, stem_norm="group").eval().requires_grad_(False)
    )
    images, healthy = torch.rand(2, 1, 32, 24), torch.rand(2, 1, 32, 24)

    found = feature_distance(images, healthy, encoder.features, (2,))

    pool = torch.nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    ours, theirs = (pool(encoder.features(each, (2,))[0]) for each in (images, healthy))
    slow = 1 - torch.einsum("bcyx,bcyx->byx", ours, theirs) / (
        ours.norm(dim=1) * theirs.norm(dim=1)
    )
    expected = F.interpolate(slow[:, None], size=(32, 24), mode="bilinear")[:, 0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_equal_features_are_no_distance_apart_dead_ones_neither() -> None:
    images = torch.rand(2, 1, 8, 8)

    def dead(planes: Tensor, levels: tuple[int, ...]) -> list[Tensor]:
        return [torch.zeros(len(planes), 3, 4, 4) for _ in levels]

    assert not feature_distance(images, images, pairs).any()
    assert not feature_distance(images, torch.rand(2, 1, 8, 8), dead).any()


def test_feature_distance_is_scaled_to_the_maximum_of_the_pixel_distance() -> None:
    pixel = torch.tensor([0.0, 0.2, 0.5]).view(3, 1, 1, 1)
    feature = torch.tensor([0.1, 2.0, 0.0]).view(3, 1, 1, 1)

    found = combine(pixel, feature, weight=2.0)

    # s = 2 D_p + D_f * 0.5 / 2.0, the maxima over the whole series
    torch.testing.assert_close(found.flatten(), torch.tensor([0.025, 0.9, 1.0]))


def test_without_any_feature_distance_the_pixel_distance_remains() -> None:
    pixel = torch.rand(2, 1, 4, 4)

    assert torch.equal(combine(pixel, torch.zeros_like(pixel), weight=0.5), 0.5 * pixel)


def test_without_any_pixel_distance_nothing_is_abnormal() -> None:
    assert not combine(torch.zeros(2, 1, 4, 4), torch.rand(2, 1, 4, 4)).any()


def test_images_of_any_value_range_come_to_zero_and_one() -> None:
    images = torch.rand(2, 1, 1, 4, 4)

    torch.testing.assert_close(in_unit_range(2 * images - 1, (-1.0, 1.0)), images)
    assert in_unit_range(images, (0.0, 1.0)) is images
    torch.testing.assert_close(in_unit_range(4 * images + 3, (3.0, 7.0)), images)
