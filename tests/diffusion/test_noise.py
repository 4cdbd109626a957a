from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from napari_followup.diffusion import noise
from napari_followup.diffusion.noise import NOISES, gaussian, noise_named, simplex

LIKE = torch.zeros(())


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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
