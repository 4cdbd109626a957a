from __future__ import annotations

from math import ceil

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_followup.diffusion.pyramid import pyramid_noise, pyramid_sizes

ANY = torch.zeros(1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def upsampled(grid: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """Bilinear interpolation between pixel centres, pixel by pixel, edges repeated."""
    out = np.zeros(size)
    for y in range(size[0]):
        for x in range(size[1]):
            value = 0.0
            v = min(max((y + 0.5) * grid.shape[0] / size[0] - 0.5, 0), grid.shape[0] - 1)
            u = min(max((x + 0.5) * grid.shape[1] / size[1] - 0.5, 0), grid.shape[1] - 1)
            for j in range(grid.shape[0]):
                for i in range(grid.shape[1]):
                    value += max(0, 1 - abs(v - j)) * max(0, 1 - abs(u - i)) * grid[j, i]
            out[y, x] = value
    return out


def power_at(noise: torch.Tensor, low: float, high: float) -> float:
    """Mean power of the frequencies (in cycles a pixel) between two radii."""
    power = torch.fft.fft2(noise).abs().square().mean(dim=(0, 1))
    rows, columns = (torch.fft.fftfreq(side) for side in noise.shape[-2:])
    radius = (rows[:, None].square() + columns.square()).sqrt()
    return power[(radius > low) & (radius <= high)].mean().item()


def test_every_sample_has_unit_variance() -> None:
    noise = pyramid_noise((6, 3, 32, 24), generator(), ANY)

    assert noise.shape == (6, 3, 32, 24)
    variances = noise.flatten(1).var(dim=1, unbiased=False)
    torch.testing.assert_close(variances, torch.ones(6))


def test_noise_is_the_sum_of_equation_9_worked_pixel_by_pixel() -> None:
    source = generator(3)
    sizes = pyramid_sizes((8, 8), source, levels=3)
    grids = [torch.randn(1, 1, *size, generator=source) for size in sizes]
    expected = sum(
        0.8**i * upsampled(grid[0, 0].double().numpy(), (8, 8))
        for i, grid in enumerate(grids, start=1)
    )

    noise = pyramid_noise((1, 1, 8, 8), generator(3), ANY, levels=3)

    np.testing.assert_allclose(noise[0, 0].numpy(), expected / np.std(expected), atol=1e-5)


def test_sizes_fall_by_a_ratio_between_two_and_four_a_level() -> None:
    for seed in range(20):
        sizes = pyramid_sizes((64, 100), generator(seed))
        assert sizes[0] == (64, 100)
        assert min(sizes[-1]) == 1
        assert all(min(size) > 1 for size in sizes[:-1])
        for level, (height, width) in enumerate(sizes):
            assert ceil(64 / 4**level) <= height <= ceil(64 / 2**level)
            assert ceil(100 / 4**level) <= width <= ceil(100 / 2**level)


def test_one_level_is_white_and_more_levels_hold_coarse_structure() -> None:
    white = pyramid_noise((64, 1, 32, 32), generator(), ANY, levels=1)
    pyramid = pyramid_noise((64, 1, 32, 32), generator(), ANY)

    assert power_at(white, 0, 0.1) == pytest.approx(power_at(white, 0.3, 0.5), rel=0.1)
    assert power_at(pyramid, 0, 0.1) > 10 * power_at(pyramid, 0.3, 0.5)


def test_noise_follows_its_generator() -> None:
    first, again = (pyramid_noise((2, 1, 16, 16), generator(1), ANY) for _ in range(2))

    assert torch.equal(first, again)
    assert not torch.allclose(first, pyramid_noise((2, 1, 16, 16), generator(2), ANY))
