from __future__ import annotations

import pytest
import torch

from napari_followup.diffusion.masking import random_tiles


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("size", "share", "tiles"), [((64, 64), 0.65, 10), ((40, 56), 0.5, 6), ((8, 8), 0.1, 1)]
)
def test_every_image_loses_the_same_share_of_its_tiles(
    size: tuple[int, int], share: float, tiles: int
) -> None:
    cover = random_tiles(torch.zeros(5, 3, *size), 16, share, generator())

    assert cover.shape == (5, 1, *size)
    assert set(cover.unique().tolist()) <= {0.0, 1.0}
    for image in cover[:, 0]:
        corners = image[::16, ::16]
        assert int(corners.sum()) == tiles
        whole = corners.repeat_interleave(16, 0).repeat_interleave(16, 1)
        assert torch.equal(image, whole[: size[0], : size[1]])


def test_tiles_differ_between_images_and_follow_the_generator() -> None:
    images = torch.zeros(3, 1, 64, 64)

    cover = random_tiles(images, 16, 0.65, generator(1))

    assert torch.equal(cover, random_tiles(images, 16, 0.65, generator(1)))
    assert not torch.equal(cover[0], cover[1])
