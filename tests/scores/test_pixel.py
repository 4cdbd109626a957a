from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import maximum_filter, minimum_filter

from napari_followup.scores.pixel import local_contrast, pixel_distance


def test_distance_is_the_mean_absolute_difference_over_modalities() -> None:
    images, healthy = torch.zeros(1, 2, 1, 1, 2), torch.zeros(1, 2, 1, 1, 2)
    images[0, 0, 0, 0, 1], images[0, 1, 0, 0, 1] = 0.5, -0.1

    torch.testing.assert_close(
        pixel_distance(images, healthy), torch.tensor([0.0, 0.3]).view(1, 1, 1, 2)
    )


def test_equal_images_are_no_distance_apart() -> None:
    images = torch.rand(3, 1, 2, 5, 7)

    assert not pixel_distance(images, images, tolerance=2.0).any()


def test_tolerance_counts_less_beside_edges_and_fully_where_all_is_even() -> None:
    healthy = torch.zeros(1, 1, 1, 5, 8)
    healthy[..., 4:] = 1.0

    strict = pixel_distance(healthy + 0.25, healthy)
    lenient = pixel_distance(healthy + 0.25, healthy, tolerance=1.0)

    assert (lenient[..., 3:5] < strict[..., 3:5]).all()
    assert torch.equal(lenient[..., [0, 1, 6, 7]], strict[..., [0, 1, 6, 7]])


def test_local_contrast_agrees_with_scipy() -> None:
    images = torch.rand(2, 2, 3, 5, 7)

    size = (1, 1, 1, 3, 3)
    expected = maximum_filter(images.numpy(), size) - minimum_filter(images.numpy(), size)
    np.testing.assert_allclose(local_contrast(images).numpy(), expected, atol=1e-6)
