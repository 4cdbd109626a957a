from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from napari_followup.scores.ssim import SIGMAS, ssim_distance, ssim_map, structural_distance


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


def test_equal_images_are_no_distance_apart_flat_ones_too() -> None:
    images = torch.cat([torch.rand(1, 1, 2, 7, 9), torch.zeros(1, 1, 2, 7, 9)])

    torch.testing.assert_close(
        ssim_distance(images, images), torch.zeros(2, 2, 7, 9), atol=1e-3, rtol=0
    )
    assert ssim_distance(images, images + 0.2).shape == (2, 2, 7, 9)


def test_windows_larger_than_a_plane_are_cut() -> None:
    images, healthy = torch.rand(1, 1, 1, 4, 3), torch.rand(1, 1, 1, 4, 3)

    assert ssim_distance(images, healthy, sigmas=(2.0,)).isfinite().all()


def test_the_published_windows_run_from_0_3_to_1_7() -> None:
    np.testing.assert_allclose(SIGMAS, np.arange(0.3, 1.8, 0.2))
