from __future__ import annotations

import math

import pytest
import torch

from napari_followup.diffusion.perlin import perlin_masks, perlin_noise

ANY = torch.zeros(1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_hand(angles: torch.Tensor, y: float, x: float) -> float:
    """Perlin's noise at one place, in units of lattice cells."""
    row = min(int(y), angles.shape[0] - 2)
    column = min(int(x), angles.shape[1] - 2)
    v, u = y - row, x - column

    def corner(j: int, i: int) -> float:
        angle = float(angles[row + j, column + i])
        return math.cos(angle) * (v - j) + math.sin(angle) * (u - i)

    def fade(t: float) -> float:
        return 6 * t**5 - 15 * t**4 + 10 * t**3

    top = corner(0, 0) + fade(u) * (corner(0, 1) - corner(0, 0))
    bottom = corner(1, 0) + fade(u) * (corner(1, 1) - corner(1, 0))
    return math.sqrt(2) * (top + fade(v) * (bottom - top))


def test_noise_is_perlins_worked_pixel_by_pixel() -> None:
    found = perlin_noise(2, (6, 9), (2, 3), generator(4), ANY)

    angles = 2 * math.pi * torch.rand(2, 3, 4, generator=generator(4))
    for n in range(2):
        for y in range(6):
            for x in range(9):
                expected = by_hand(angles[n], y * 2 / 6, x * 3 / 9)
                assert found[n, 0, y, x].item() == pytest.approx(expected, abs=1e-5)


def test_noise_is_smooth_bounded_and_zero_at_lattice_points() -> None:
    field = perlin_noise(50, (64, 64), (4, 4), generator(), ANY)

    assert field.abs().max() <= 1
    assert field[..., ::16, ::16].abs().max() < 1e-6
    assert (field[..., 1:] - field[..., :-1]).abs().max() < 0.25


@pytest.mark.parametrize("size", [(32, 32), (8, 24)])
def test_masks_hold_something_and_never_everything(size: tuple[int, int]) -> None:
    shares = torch.cat(
        [
            perlin_masks(torch.zeros(20, 2, *size), generator(seed)).float().mean(dim=(1, 2, 3))
            for seed in range(20)
        ]
    )

    assert shares.min() > 0
    assert shares.median() < 0.4
    assert shares.max() <= 0.95
    assert (shares < 0.05).any()


def test_masks_follow_their_generator() -> None:
    images = torch.zeros(4, 1, 16, 16)

    assert torch.equal(perlin_masks(images, generator(1)), perlin_masks(images, generator(1)))
