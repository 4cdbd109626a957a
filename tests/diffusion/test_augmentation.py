from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.exposure import rescale_intensity

from napari_followup.diffusion.augmentation import augmented, variants

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
