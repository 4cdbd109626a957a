from __future__ import annotations

import math

import pytest
import torch

from napari_followup.diffusion.foreign import amounts, blend, foreign_patches
from napari_followup.diffusion.schedule import linear_schedule


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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
