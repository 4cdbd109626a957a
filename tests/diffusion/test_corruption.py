from __future__ import annotations

import math

import pytest
import torch

from napari_followup.diffusion.corruption import (
    ANOMALOUS,
    HEALTHY,
    VISIBLE,
    amounts,
    blend,
    corrupt,
    foreign_patches,
    half_corrupted,
    random_filling,
    random_shapes,
)
from napari_followup.diffusion.schedule import linear_schedule


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [(16, 16), (8, 24)])
def test_shapes_cover_between_nothing_and_all_of_a_pixel(size: tuple[int, int]) -> None:
    cover = random_shapes(torch.rand(8, 2, *size), generator())

    assert cover.shape == (8, 1, *size)
    assert cover.min() >= 0
    assert cover.max() <= 1
    assert (cover.amax(dim=(1, 2, 3)) > 0.5).any()


def test_half_of_the_shapes_lie_on_edges() -> None:
    images = torch.zeros(400, 1, 32, 32)
    images[..., 16:] = 1.0  # the only edge: between columns 15 and 16

    cover = random_shapes(images, generator()).flatten(1)
    columns = cover.argmax(dim=1) % 32
    share = ((columns - 15).abs() <= 3).float().mean().item()

    assert 0.45 < share < 0.8  # a half on the edge, and those that fall there by chance


def test_a_flat_image_has_no_edge_and_shapes_all_the_same() -> None:
    assert random_shapes(torch.zeros(4, 1, 16, 16), generator()).isfinite().all()


def test_no_share_spoils_nothing_and_the_images_stay_untouched() -> None:
    images = torch.rand(4, 1, 16, 16)
    before = images.clone()

    assert torch.equal(corrupt(images, generator(), share=0.0), before)
    corrupt(images, generator(), share=1.0)
    assert torch.equal(images, before)


def test_share_is_the_chance_of_a_first_blob() -> None:
    images = torch.rand(600, 1, 8, 8)

    changed = (corrupt(images, generator(), share=0.5) != images).flatten(1).any(dim=1)

    # untouched: 1/2 * 3/4 * 7/8 of all
    assert changed.float().mean().item() == pytest.approx(1 - 0.5 * 0.75 * 0.875, abs=0.06)


def test_corrupted_images_stay_in_range_and_follow_their_generator() -> None:
    images = torch.rand(32, 1, 16, 16)

    corrupted = corrupt(images, generator(5), share=1.0)

    assert corrupted.min() >= 0
    assert corrupted.max() <= 1
    assert torch.equal(corrupted, corrupt(images, generator(5), share=1.0))


def test_fillings_are_of_every_kind_and_in_range() -> None:
    images = torch.full((300, 1, 8, 8), 0.5)
    images[:, :, :4] = 0.25

    fillings = random_filling(images, generator())

    assert fillings.shape == images.shape
    assert fillings.min() >= 0
    assert fillings.max() <= 1
    flat = fillings.flatten(1)
    is_grey = flat.amax(dim=1) == flat.amin(dim=1)
    assert is_grey.float().mean().item() == pytest.approx(0.2, abs=0.1)  # one of five kinds
    assert (flat.std(dim=1) > 0.16).any()  # noise; the images themselves have 0.125


def test_every_second_image_is_corrupted_and_the_others_are_healthy() -> None:
    images = torch.rand(64, 1, 16, 16)

    shown, labels = half_corrupted(images, generator())

    assert torch.equal(shown[::2], images[::2])
    assert (labels[::2] == HEALTHY).all()
    assert (labels[1::2] == ANOMALOUS).float().mean() > 0.8


def test_a_label_says_whether_the_change_can_be_seen() -> None:
    images = torch.full((200, 1, 8, 8), 0.5)  # many a filling is the same grey, or nearly

    shown, labels = half_corrupted(images, generator(1))

    change = (shown - images).abs().flatten(1).amax(dim=1)
    assert torch.equal(labels == ANOMALOUS, change > VISIBLE)
    assert 0 < labels[1::2].float().mean() < 1


def test_the_value_range_is_kept() -> None:
    images = torch.rand(32, 1, 16, 16)

    signed, labels = half_corrupted(2 * images - 1, generator(2), (-1.0, 1.0))

    plain, expected = half_corrupted(images, generator(2))
    torch.testing.assert_close(signed, 2 * plain - 1, atol=1e-5, rtol=1e-5)
    assert torch.equal(labels, expected)
    assert signed.min() == pytest.approx(-1, abs=0.01)


def test_amounts_rise_from_nothing_to_nearly_all() -> None:
    table = amounts(linear_schedule(100, (1e-3, 0.2)))

    betas = [1e-3 + (0.2 - 1e-3) * n / 99 for n in range(100)]
    assert table[0] == 0
    assert (table.diff() > 0).all()
    for step in (1, 25, 100):
        expected = 1 - math.sqrt(math.prod(1 - beta for beta in betas[:step]))
        assert table[step].item() == pytest.approx(expected, rel=1e-9)
    assert table[100] > 0.99


def test_blend_is_equation_1_pixel_by_pixel() -> None:
    clean, foreign = torch.rand(2, 3, 2, 4, 5)
    mask, amount = torch.rand(3, 1, 4, 5), torch.tensor([0.0, 0.3, 1.0])

    found = blend(clean, foreign, mask, amount[:, None, None, None])

    for b in range(3):
        for c in range(2):
            for y in range(4):
                for x in range(5):
                    share = amount[b] * mask[b, 0, y, x]
                    expected = (1 - share) * clean[b, c, y, x] + share * foreign[b, c, y, x]
                    assert found[b, c, y, x].item() == pytest.approx(expected.item(), abs=1e-6)


def test_a_foreign_patch_is_another_image_of_the_batch_moved() -> None:
    images = torch.arange(5.0)[:, None, None, None] * 1000 + torch.arange(48.0).view(1, 1, 6, 8)

    patches = foreign_patches(images, generator())

    for n, patch in enumerate(patches):
        source = int(patch[0, 0, 0] // 1000)
        assert source != n
        shift = int(patch[0, 0, 0] % 1000)
        rows, columns = shift // 8, shift % 8
        assert torch.equal(patch, images[source].roll((-rows, -columns), dims=(1, 2)))


def test_all_modalities_move_together() -> None:
    plane = torch.rand(4, 1, 6, 6)

    patches = foreign_patches(torch.cat([plane, 2 * plane], dim=1), generator())

    torch.testing.assert_close(patches[:, 1], 2 * patches[:, 0])


def test_an_only_image_lends_itself_its_own_patches() -> None:
    image = torch.rand(1, 1, 4, 4)

    patch = foreign_patches(image, generator(1))

    assert torch.equal(patch.flatten().sort().values, image.flatten().sort().values)
