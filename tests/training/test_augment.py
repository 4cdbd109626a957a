from __future__ import annotations

import pytest
import torch
from torch import Tensor

from napari_followup.training.augment import augmented, augmented_with_masks, resize_masks, sharp
from napari_followup.training.plan import Augmentation


def varied(images: Tensor, seed: int = 0, **settings: object) -> Tensor:
    return augmented(images, Augmentation(**settings), torch.Generator().manual_seed(seed))


def smooth(*shape: int) -> Tensor:
    return torch.nn.functional.interpolate(torch.rand(*shape, 4, 4), size=(16, 12), mode="bicubic")


def test_nothing_is_varied_by_default() -> None:
    images = torch.rand(3, 1, 8, 8)

    assert varied(images) is images


def test_a_mirrored_image_is_the_image_or_its_mirror() -> None:
    images = torch.rand(32, 2, 4, 6)

    found = varied(images, flip=("x",))

    same = (found == images).flatten(1).all(dim=1)
    mirrored = (found == images.flip(-1)).flatten(1).all(dim=1)
    assert (same ^ mirrored).all()
    assert 5 < same.sum() < 27


@pytest.mark.parametrize(
    "settings",
    [
        {"rotation": 10.0},
        {"scale": 0.1},
        {"shift": 0.2},
        {"intensity": 0.2},
        {"bias": 0.3},
        {"flip": ("y",)},
    ],
)
def test_the_same_seed_varies_alike_and_another_one_otherwise(settings: dict[str, object]) -> None:
    images = smooth(8, 1)

    first, again, other = (varied(images, seed, **settings) for seed in (1, 1, 2))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, images)
    assert first.shape == images.shape


def test_all_visits_and_modalities_of_a_series_are_varied_alike() -> None:
    one = smooth(5, 1)
    series = one[:, None].expand(5, 4, 3, 16, 12)

    found = varied(
        series, flip=("x", "y"), rotation=20.0, scale=0.2, shift=0.1, intensity=0.2, bias=0.5
    )

    torch.testing.assert_close(found, found[:, :1, :1].expand_as(found))
    assert found.shape == series.shape
    assert not torch.allclose(found[0, 0, 0], found[1, 0, 0])


def test_volumes_are_varied_in_the_plane_only() -> None:
    volume = torch.zeros(1, 1, 5, 16, 16)
    volume[:, :, 2] = 1.0

    found = varied(volume, rotation=45.0, scale=0.3, shift=0.2)

    torch.testing.assert_close(found, volume)


def test_a_quarter_turn_is_a_quarter_turn_on_oblong_planes_too() -> None:
    """At 90 degrees either way the middle of the upper edge comes to a side."""
    images = torch.zeros(64, 1, 33, 17)
    images[:, :, 13, 8] = 1.0  # three pixels above the middle
    angles = torch.linspace(0, 1, 64)

    found = varied(images, rotation=180.0).flatten(1)

    place = found.argmax(dim=1)
    distance = ((place // 17 - 16).square() + (place % 17 - 8).square()).float().sqrt()
    torch.testing.assert_close(distance, torch.full_like(angles, 3.0), atol=0.9, rtol=0)


def test_a_shift_moves_by_its_share_of_the_side_at_most() -> None:
    images = torch.zeros(64, 1, 40, 20)
    images[:, :, 20, 10] = 1.0

    place = varied(images, shift=0.1).flatten(1).argmax(dim=1)

    down, across = (place // 20 - 20).abs(), (place % 20 - 10).abs()
    assert 2 <= down.max() <= 4
    assert 1 <= across.max() <= 2


def test_intensities_change_about_the_low_end_of_the_range() -> None:
    images = torch.full((100, 1, 4, 4), -1.0)

    found = augmented(
        images, Augmentation(intensity=0.1), torch.Generator().manual_seed(0), (-1.0, 1.0)
    )

    assert found.min() >= -1.2 - 1e-6
    assert found.max() <= -0.8 + 1e-6
    assert found.max() > -0.9


def test_masks_move_with_their_planes_and_stay_masks() -> None:
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    near = ((rows - 12) ** 2 + (columns - 20) ** 2 < 16).float()
    planes = near.expand(24, 2, -1, -1)
    settings = Augmentation(flip=("x", "y"), rotation=20.0, scale=0.2, shift=0.1)

    found, masks = augmented_with_masks(
        planes, planes[:, :1], settings, torch.Generator().manual_seed(3)
    )

    alone = augmented(planes, settings, torch.Generator().manual_seed(3))
    torch.testing.assert_close(found, alone)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    differ = (masks - (found[:, :1] > 0.5).float()).abs().flatten(1).sum(dim=1)
    assert (differ <= 4).all()
    assert (masks != planes[:, :1]).any()


def test_masks_are_not_brightened() -> None:
    planes = smooth(6, 1)
    masks = (planes > 0.5).double()
    settings = Augmentation(flip=("x",), intensity=0.3, bias=0.3)

    found, moved = augmented_with_masks(planes, masks, settings, torch.Generator().manual_seed(1))

    same = (moved == masks).flatten(1).all(dim=1)
    assert (same | (moved == masks.flip(-1)).flatten(1).all(dim=1)).all()
    assert not torch.equal(found, planes)
    kept = augmented_with_masks(planes, masks, Augmentation(), torch.Generator())
    assert kept[0] is planes
    assert kept[1] is masks


def mask(size: tuple[int, int], *squares: tuple[int, int, int]) -> torch.Tensor:
    """One plane with squares, (row, column, side) each."""
    found = torch.zeros(1, 1, *size)
    for y, x, side in squares:
        found[..., y : y + side, x : x + side] = 1.0
    return found


def test_a_mask_that_fits_comes_back_as_it_is() -> None:
    given = mask((8, 8), (2, 2, 3))

    assert resize_masks(given, (8, 8)) is given


def test_a_large_part_keeps_its_share_of_the_plane() -> None:
    found = resize_masks(mask((64, 64), (16, 8, 32)), (16, 16))

    assert torch.equal(found, mask((16, 16), (4, 2, 8)))


@pytest.mark.parametrize("size", [(8, 8), (24, 40), (64, 48), (96, 200)])
def test_a_single_pixel_never_vanishes(size: tuple[int, int]) -> None:
    for place in range(0, 64, 3):
        found = resize_masks(mask((64, 64), (place, 63 - place, 1)), size)

        assert set(found.unique().tolist()) == {0.0, 1.0}
        y, x = (found[0, 0].nonzero().double().mean(dim=0) + 0.5).tolist()
        assert y == pytest.approx((place + 0.5) / 64 * size[0], abs=1.5 + size[0] / 64)
        assert x == pytest.approx((63.5 - place) / 64 * size[1], abs=1.5 + size[1] / 64)


def test_a_small_part_is_kept_beside_a_large_one() -> None:
    found = resize_masks(mask((64, 64), (0, 0, 24), (50, 50, 2)), (8, 8))

    assert torch.equal(found, mask((8, 8), (0, 0, 3), (6, 6, 1)))


def test_nothing_stays_nothing_in_each_plane_by_itself() -> None:
    given = torch.cat([mask((32, 32)), mask((32, 32), (4, 4, 8))])

    found = resize_masks(given, (16, 16))

    assert not found[0].any()
    assert torch.equal(found[1:], mask((16, 16), (2, 2, 4)))


def test_half_of_the_most_covered_pixel_beside_is_not_enough() -> None:
    covered = torch.tensor([[[[0.0, 0.4, 1.0, 1.0, 0.51, 0.0]]]])

    assert sharp(covered).flatten().tolist() == [0, 0, 1, 1, 1, 0]
