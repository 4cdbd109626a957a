from __future__ import annotations

import math
from math import ceil

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_followup.diffusion import noise
from napari_followup.diffusion.noise import (
    NOISES,
    gaussian,
    noise_named,
    pyramid_noise,
    pyramid_sizes,
    simplex,
)

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


LIKE = torch.zeros(())


def one_octave(count: int, side: int, scale: float, seed: int = 0) -> Tensor:
    """Fields on lattices of their own."""
    source = generator(seed)
    drawn = [simplex((side, side), source, LIKE, octaves=1, frequency=scale) for _ in range(count)]
    return torch.stack(drawn)


@pytest.mark.parametrize("name", ["gaussian", "simplex"])
def test_noise_has_zero_mean_and_unit_variance_at_every_pixel(name: str) -> None:
    source = generator()
    drawn = torch.cat([NOISES[name]((20, 1, 8, 8), source, LIKE) for _ in range(200)])

    assert drawn.mean().item() == pytest.approx(0.0, abs=0.03)
    assert drawn.var().item() == pytest.approx(1.0, abs=0.03)
    assert drawn.var(dim=0).sub(1).abs().max() < 0.15


@pytest.mark.parametrize("name", sorted(NOISES))
def test_noise_follows_its_generator_and_its_fields_differ(name: str) -> None:
    drawn = NOISES[name]((2, 3, 9, 12), generator(4), LIKE.double())

    assert drawn.shape == (2, 3, 9, 12)
    assert drawn.dtype == torch.float64
    assert torch.equal(drawn, NOISES[name]((2, 3, 9, 12), generator(4), LIKE.double()))
    assert not torch.allclose(drawn, NOISES[name]((2, 3, 9, 12), generator(5), LIKE.double()))
    fields = drawn.flatten(0, 1).flatten(1)
    assert (torch.corrcoef(fields) - torch.eye(6)).abs().max() < 0.9


def simplex_by_hand(y: float, x: float, gradients: dict[tuple[int, int], float]) -> float:
    """Noise at a point of the plane: every lattice point near enough, in the order they come."""
    unskew = (3 - math.sqrt(3)) / 6
    total = 0.0
    for (row, column), angle in gradients.items():
        away_y = y - row + (row + column) * unskew
        away_x = x - column + (row + column) * unskew
        near = max(0.0, 0.5 - away_y**2 - away_x**2)
        total += near**4 * (math.sin(angle) * away_y + math.cos(angle) * away_x)
    return total


def test_an_octave_is_the_sum_over_all_lattice_points_within_reach() -> None:
    """Slow: every pixel is compared with every point of the lattice, not with three of them."""
    scale, side = 3.7, 11
    drawn = simplex((side, side), generator(3), LIKE, octaves=1, frequency=scale)

    source = generator(3)
    shift = torch.rand(2, generator=source).tolist()
    skew, unskew = (math.sqrt(3) - 1) / 2, (3 - math.sqrt(3)) / 6
    reach = (side - 1) / scale
    rows, columns = (math.floor(reach + 2 * reach * skew + s) + 2 for s in shift)
    angles = (2 * math.pi * torch.rand(rows, columns, generator=source)).tolist()
    gradients = {(r, c): angles[r][c] for r in range(rows) for c in range(columns)}
    off = [s - sum(shift) * unskew for s in shift]
    expected = [
        [simplex_by_hand(y / scale + off[0], x / scale + off[1], gradients) for x in range(side)]
        for y in range(side)
    ]
    found = drawn * math.sqrt(noise.VARIANCE)
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=1e-4)


def test_octaves_are_added_with_falling_amplitude_and_halved_length() -> None:
    drawn = simplex((2, 7, 9), generator(), LIKE, octaves=3, persistence=0.5, frequency=12.0)

    source = generator()
    parts = [
        simplex((2, 7, 9), source, LIKE, octaves=1, frequency=scale) for scale in (12.0, 6.0, 3.0)
    ]
    expected = (parts[0] + parts[1] / 2 + parts[2] / 4) / math.sqrt(1 + 1 / 4 + 1 / 16)
    torch.testing.assert_close(drawn, expected)


def spectrum(fields: Tensor) -> Tensor:
    """Mean power by distance from the zero frequency, in periods an image."""
    side = fields.shape[-1]
    power = torch.fft.fft2(fields).abs().square().mean(dim=0)
    steps = torch.fft.fftfreq(side) * side
    distance = (steps[:, None] ** 2 + steps[None] ** 2).sqrt().round().long()
    rings = torch.zeros(side).index_add(0, distance.flatten(), power.flatten())
    return rings / torch.bincount(distance.flatten(), minlength=side).clamp_min(1)


def test_simplex_noise_is_strong_where_frequencies_are_low() -> None:
    smooth = spectrum(simplex((64, 64, 64), generator(), LIKE))
    flat = spectrum(gaussian((64, 64, 64), generator(), LIKE))

    assert smooth[1:4].mean() > 10 * smooth[12:16].mean() > 20 * smooth[28:32].mean()
    assert flat[1:4].mean() == pytest.approx(flat[28:32].mean().item(), rel=0.1)


def test_neighbours_agree_in_coarse_noise() -> None:
    coarse, fine = one_octave(40, 16, 16.0), one_octave(40, 16, 2.0)

    def correlation(fields: Tensor) -> float:
        return float((fields[..., 1:] * fields[..., :-1]).mean() / fields.square().mean())

    assert correlation(coarse) > 0.95
    assert correlation(fine) < 0.4


def test_an_unknown_noise_is_named_with_those_there_are() -> None:
    assert noise_named("simplex") is simplex
    with pytest.raises(ValueError, match="noise: got 'pink'; this version knows gaussian"):
        noise_named("pink")
