from __future__ import annotations

import pytest
import torch

from napari_followup.diffusion.erasing import box_masks, erase, random_tiles


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("sides", [(64, 64), (16, 24, 32)])
def test_a_box_holds_between_one_and_twenty_five_percent(sides: tuple[int, ...]) -> None:
    masks = box_masks(torch.zeros(200, 2, *sides), generator())

    assert masks.shape == (200, 1, *sides)
    shares = masks.float().flatten(1).mean(dim=1)
    least, most = 1.0, 1.0  # with every side to the nearest pixel
    for side in sides:
        least *= round(side * 0.01 ** (1 / len(sides))) / side
        most *= round(side * 0.25 ** (1 / len(sides))) / side
    assert least - 1e-6 <= shares.min() < 0.03
    assert 0.22 < shares.max() <= most + 1e-6
    assert shares.mean().item() == pytest.approx(0.13, abs=0.02)


@pytest.mark.parametrize("sides", [(16, 20), (8, 12, 16)])
def test_one_box_is_a_filled_rectangle_in_the_proportions_of_the_image(
    sides: tuple[int, ...],
) -> None:
    masks = box_masks(torch.zeros(50, 1, *sides), generator(), shares=(0.2, 0.2))

    for mask in masks[:, 0]:
        places = mask.nonzero()
        extent = places.amax(dim=0) - places.amin(dim=0) + 1
        assert mask.sum() == extent.prod()
        expected = [round(side * 0.2 ** (1 / len(sides))) for side in sides]
        assert extent.tolist() == expected


def test_boxes_lie_everywhere() -> None:
    hits = box_masks(torch.zeros(600, 1, 16, 16), generator()).float().mean(dim=0)[0]

    assert hits.min() > 0.005
    assert hits[8, 8] > 0.1


def test_several_boxes_share_the_part_of_the_image() -> None:
    masks = box_masks(torch.zeros(200, 1, 64, 64), generator(), shares=(0.1, 0.1), boxes=10)

    shares = masks.float().flatten(1).mean(dim=1)
    assert shares.max() < 0.115
    assert shares.mean() > 0.08  # a little is lost where they overlap
    rows = masks[:, 0].any(dim=2).float()
    gaps = (rows[:, 1:] > rows[:, :-1]).sum(dim=1) + rows[:, 0]
    assert (gaps > 1).any()


def test_erased_pixels_are_drawn_from_the_image_itself_and_the_rest_stays() -> None:
    images = torch.randint(0, 5, (20, 1, 16, 16)) / 7.0
    images = torch.cat([images, 10 + images], dim=1)

    shown = erase(images, generator(2), chance=1.0)

    masks = box_masks(images, generator(2))
    assert torch.equal(shown.where(~masks, images), images)
    assert (shown != images).any(dim=1)[masks[:, 0]].float().mean() > 0.6  # 4 of 5 greys
    for one, image in zip(shown, images, strict=True):
        assert set(one[0].flatten().tolist()) <= set(image[0].flatten().tolist())
    torch.testing.assert_close(shown[:, 1], 10 + shown[:, 0])  # modalities of a pixel together


def test_erased_pixels_may_be_zero() -> None:
    shown = erase(torch.ones(8, 1, 8, 8, 8), generator(), chance=1.0, fill="zero")

    assert torch.equal((shown == 0).flatten(1).any(dim=1), torch.ones(8, dtype=torch.bool))
    assert set(shown.unique().tolist()) == {0.0, 1.0}


def test_half_of_the_images_stay_whole() -> None:
    images = torch.rand(600, 1, 8, 8)

    whole = (erase(images, generator()) == images).flatten(1).all(dim=1)

    assert whole.float().mean().item() == pytest.approx(0.5, abs=0.06)


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
