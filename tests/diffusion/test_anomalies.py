from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.exposure import rescale_intensity

from napari_followup.diffusion.anomalies import (
    VISIBLE,
    augmented,
    perlin_anomalies,
    perlin_masks,
    perlin_noise,
    shape_anomalies,
    variants,
)

NAMES = {
    "posterize",
    "sharpness",
    "solarize",
    "equalize",
    "brightness",
    "colour",
    "contrast",
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_function_keeps_shape_and_range() -> None:
    images = torch.rand(12, 2, 8, 10)

    changed = variants(images, generator())

    assert set(changed) == NAMES
    for values in changed.values():
        assert values.shape == images.shape
        assert 0 <= values.min() <= values.max() <= 1


def test_posterized_images_have_few_greys() -> None:
    found = variants(torch.rand(30, 1, 16, 16), generator())["posterize"]

    counts = {len(image.unique()) for image in found}
    assert counts <= {2, 4, 8, 16}
    assert len(counts) > 2


def test_solarized_pixels_are_inverted_from_one_grey_on() -> None:
    images = torch.linspace(0, 1, 100).view(1, 1, 1, 100)  # none of them 0.5, its own inverse

    found = variants(images, generator())["solarize"].flatten()

    grey = images.flatten()
    inverted = found != grey
    assert inverted[-1]
    assert inverted.int().diff().sum() == 1  # off, then on
    torch.testing.assert_close(found[inverted], 1 - grey[inverted])


def test_equalized_greys_are_shares_of_darker_pixels() -> None:
    images = torch.tensor([0.1, 0.1, 0.4, 0.9, 0.9]).view(1, 1, 1, 5)

    found = variants(images, generator())["equalize"].flatten()

    assert found.tolist() == pytest.approx([0, 0, 0.5, 0.75, 0.75])


def test_contrast_is_stretched_as_skimage_does() -> None:
    images = 0.3 + 0.2 * torch.rand(1, 1, 6, 6)

    expected = rescale_intensity(images[0, 0].numpy(), out_range=(0, 1))
    found = variants(images, generator())["contrast"][0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_colour_leaves_single_modalities_alone_and_moves_several_about_their_mean() -> None:
    single, pair = torch.rand(4, 1, 6, 6), 0.4 + 0.2 * torch.rand(4, 2, 6, 6)

    torch.testing.assert_close(variants(single, generator())["colour"], single)
    moved = variants(pair, generator())["colour"]
    torch.testing.assert_close(moved.mean(dim=1), pair.mean(dim=1))
    assert not torch.allclose(moved, pair)


def test_images_of_a_batch_go_different_ways_and_follow_their_generator() -> None:
    images = torch.rand(1, 1, 8, 8).expand(40, -1, -1, -1)

    found = augmented(images, generator(3))

    assert torch.equal(found, augmented(images, generator(3)))
    assert len({tuple(image.flatten().tolist()) for image in found}) > 20
    assert 0 <= found.min() <= found.max() <= 1


ANY = torch.zeros(1)


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


def test_perlin_anomalies_change_nothing_outside_their_mask() -> None:
    images = torch.rand(30, 2, 16, 16)

    shown, masks = perlin_anomalies(images, generator())

    assert masks.shape == (30, 1, 16, 16)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    outside = masks.expand_as(images) == 0
    assert torch.equal(shown[outside], images[outside])
    assert (shown - images).abs()[~outside].mean() > 0.05
    assert 0 <= shown.min() <= shown.max() <= 1


def test_half_of_the_images_stay_healthy() -> None:
    _, masks = perlin_anomalies(torch.rand(600, 1, 8, 8), generator())

    assert masks.flatten(1).any(dim=1).float().mean().item() == pytest.approx(0.5, abs=0.06)


def test_opacity_weighs_the_change() -> None:
    images = torch.rand(20, 1, 16, 16)

    faint, masks = perlin_anomalies(images, generator(1), share=1.0, opacity=(0.2, 0.2))
    full, same = perlin_anomalies(images, generator(1), share=1.0, opacity=(1.0, 1.0))

    assert torch.equal(masks, same)
    torch.testing.assert_close(faint - images, 0.2 * (full - images), atol=1e-6, rtol=1e-4)


def test_shapes_are_marked_where_they_can_be_seen() -> None:
    images = torch.rand(40, 2, 16, 16)
    images[:, 1] = images[:, 0]

    shown, masks = shape_anomalies(images, generator(), share=1.0)

    change = (shown - images).abs().amax(dim=1, keepdim=True)
    assert torch.equal(masks == 1, change > VISIBLE)
    assert masks.flatten(1).any(dim=1).float().mean() > 0.9
    assert not shape_anomalies(images, generator(), share=0.0)[1].any()
