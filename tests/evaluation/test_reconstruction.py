from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from napari_followup.evaluation.reconstruction import (
    compare_images,
    evaluate_reconstruction,
    usual_options,
)
from napari_followup.models.bundle import ModelBundle
from napari_followup.recipe.recipe import Recipe
from napari_followup.series.stack import VisitStack
from napari_followup.synthetic import starmen

IMAGES = torch.from_numpy(starmen(1, visits=3, seed=1)[0].images[:, :, 0])


def test_errors_and_psnr_of_a_constant_offset_are_known() -> None:
    l1, l2, psnr, _, _ = compare_images(IMAGES, IMAGES + 0.1)[0].tolist()

    assert (l1, l2) == pytest.approx((0.1, 0.01), rel=1e-4)
    assert psnr == pytest.approx(20.0, abs=1e-3)


def test_an_image_met_exactly_has_no_error() -> None:
    figures = compare_images(IMAGES, IMAGES.clone())

    np.testing.assert_allclose(figures, [[0, 0, 100, 1, 1]] * 3, atol=1e-5)


def test_the_value_range_scales_out() -> None:
    noisy = IMAGES + 0.05 * torch.randn(IMAGES.shape)

    narrow = compare_images(IMAGES, noisy)
    wide = compare_images(2 * IMAGES - 1, 2 * noisy - 1, (-1.0, 1.0))

    torch.testing.assert_close(narrow[:, 2:], wide[:, 2:], rtol=0, atol=1e-3)
    torch.testing.assert_close(2 * narrow[:, 0], wide[:, 0])


def test_ssim_is_near_that_of_skimage() -> None:
    noisy = IMAGES + 0.05 * torch.randn(IMAGES.shape)
    (ours,) = compare_images(IMAGES[:1], noisy[:1])[:, 3].tolist()
    theirs = structural_similarity(
        IMAGES[0, 0].numpy(),
        noisy[0, 0].numpy(),
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )

    assert ours == pytest.approx(theirs, abs=0.02)  # MONAI leaves out a margin of the window's size


@pytest.mark.parametrize("size", [16, 32, 64, 176])
def test_ms_ssim_is_there_for_every_size_and_falls_with_noise(size: int) -> None:
    images = torch.nn.functional.interpolate(IMAGES, size=(size, size), mode="bilinear")
    faint, strong = (
        compare_images(images, images + sd * torch.randn(images.shape)) for sd in (0.02, 0.2)
    )

    assert (faint[:, 4] > strong[:, 4]).all()
    assert (faint[:, 4] <= 1).all()


def test_every_way_to_reconstruct_is_measured_on_every_image(
    tiny_bundle: ModelBundle, tiny_series: VisitStack, tiny_recipe: Recipe
) -> None:
    options = usual_options(tiny_recipe, level=5)
    told = []

    def tell(done: int, total: int) -> None:
        told.append((done, total))

    found = evaluate_reconstruction([tiny_series] * 2, tiny_bundle, options, on_step=tell)

    assert [each.name for each in found] == list(options)
    assert [each.images for each in found] == [8, 8]
    assert told == [(1, 2), (2, 2)]
    assert all(math.isfinite(each.psnr) and each.l1 > 0 for each in found)


def test_usual_options_change_level_and_draws_only() -> None:
    recipe = Recipe(options={"noise_levels": (100, 400), "draws": 3, "sampling_steps": 2})

    assert usual_options(recipe) == {
        "level 250, one draw": {"noise_levels": (250,), "draws": 1, "sampling_steps": 2},
        "level 250, 3 draws": {"noise_levels": (250,), "draws": 3, "sampling_steps": 2},
        "recipe itself": dict(recipe.options),
    }
